-- Rows that Bybit sends without a side (the settlement of a session of USDC contracts) are kept as they are.
-- NOT VALID: every row that is there has satisfied the stricter rule.

ALTER TABLE trading.fills DROP CONSTRAINT fills_side_check,
    ADD CONSTRAINT fills_side_check CHECK (side IN ('Buy', 'Sell', '')) NOT VALID;
COMMENT ON COLUMN trading.fills.side IS 'Buy or Sell; empty on a settlement without one. On a Funding row the side of the position.';
COMMENT ON COLUMN trading.completed_trades.side IS 'The side of the CLOSING order: Sell closed a long. A settlement, which closes nothing and comes without a side, has the side that would have closed, as far as its P&L tells it.';

-- What was last seen of an account's settings, so that a change can be told.
CREATE TABLE trading.account_settings (
    account_id smallint NOT NULL REFERENCES trading.accounts,
    name       text COLLATE "C" NOT NULL,
    value      text NOT NULL,
    since      timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, name)
);
COMMENT ON TABLE trading.account_settings IS 'Settings of an account on the exchange that change what its figures mean, as last seen: fees_in_mnt, margin_mode.';
COMMENT ON COLUMN trading.account_settings.account_id IS 'The account.';
COMMENT ON COLUMN trading.account_settings.name IS 'fees_in_mnt or margin_mode.';
COMMENT ON COLUMN trading.account_settings.value IS 'on or off; Bybit''s marginMode.';
COMMENT ON COLUMN trading.account_settings.since IS 'Since when this value has been seen, wall clock.';
COMMENT ON COLUMN trading.account_settings.seen_at IS 'When it was last read, wall clock.';
GRANT INSERT, UPDATE ON trading.account_settings TO alpha_listener;
