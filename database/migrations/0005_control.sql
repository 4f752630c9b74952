-- What keeps the bots safe: durable state, one owner an account, halts.

CREATE TABLE trading.bot_leases (
    account_id  smallint PRIMARY KEY REFERENCES trading.accounts,
    bot_id      text COLLATE "C" NOT NULL,
    holder      text NOT NULL,
    token       bigint NOT NULL,
    acquired_at timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL
);
COMMENT ON TABLE trading.bot_leases IS 'Which process may trade on an account. The token grows with every new holder; what carries an older one is refused.';
COMMENT ON COLUMN trading.bot_leases.account_id IS 'The account.';
COMMENT ON COLUMN trading.bot_leases.bot_id IS 'The bot.';
COMMENT ON COLUMN trading.bot_leases.holder IS 'The process: host, process id and a random part.';
COMMENT ON COLUMN trading.bot_leases.token IS 'Fencing token: one more with every change of holder.';
COMMENT ON COLUMN trading.bot_leases.acquired_at IS 'When this holder got it, the database''s clock.';
COMMENT ON COLUMN trading.bot_leases.expires_at IS 'Until when it holds unless renewed, the database''s clock.';

CREATE TABLE trading.strategy_state (
    account_id  smallint NOT NULL REFERENCES trading.accounts,
    name        text COLLATE "C" NOT NULL,
    bot_id      text COLLATE "C" NOT NULL,
    state       jsonb NOT NULL,
    lease_token bigint NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, name)
);
COMMENT ON TABLE trading.strategy_state IS 'What a strategy and its limits must remember: bar evaluated, cooldowns, highest highs, stops, references, pauses. Written before anything is sent.';
COMMENT ON COLUMN trading.strategy_state.account_id IS 'The account.';
COMMENT ON COLUMN trading.strategy_state.name IS 'Which part of the state: strategy, limits, positions ...';
COMMENT ON COLUMN trading.strategy_state.bot_id IS 'The bot.';
COMMENT ON COLUMN trading.strategy_state.state IS 'The state. Amounts are texts.';
COMMENT ON COLUMN trading.strategy_state.lease_token IS 'Token of the lease under which it was written; an older one is refused.';
COMMENT ON COLUMN trading.strategy_state.updated_at IS 'Wall clock.';

-- A process that lost its lease cannot overwrite what its successor saved.
CREATE FUNCTION trading.refuse_old_lease() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.lease_token < OLD.lease_token
        OR NEW.lease_token < (SELECT token FROM trading.bot_leases WHERE account_id = NEW.account_id) THEN
        RAISE EXCEPTION 'The state of account % was written under a newer lease. This process no longer owns the account.',
            NEW.account_id USING ERRCODE = 'AL002';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION trading.refuse_old_lease() IS 'Fails with AL002 when the writer''s lease is older than the row''s or the account''s.';
CREATE TRIGGER refuse_old_lease BEFORE UPDATE ON trading.strategy_state
    FOR EACH ROW EXECUTE FUNCTION trading.refuse_old_lease();

CREATE TABLE trading.halts (
    halt_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id smallint REFERENCES trading.accounts,
    bot_id     text COLLATE "C",
    symbol     text COLLATE "C",
    kind       text COLLATE "C" NOT NULL,
    reason     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires_at timestamptz,
    lifted_at  timestamptz,
    lifted_by  text
);
COMMENT ON TABLE trading.halts IS 'What may not be sent now. Every send checks it first.';
COMMENT ON COLUMN trading.halts.halt_id IS 'Number of the halt.';
COMMENT ON COLUMN trading.halts.account_id IS 'The account; null for all.';
COMMENT ON COLUMN trading.halts.bot_id IS 'The bot; null for all.';
COMMENT ON COLUMN trading.halts.symbol IS 'The instrument; null for all.';
COMMENT ON COLUMN trading.halts.kind IS 'no_entries, flatten or panic.';
COMMENT ON COLUMN trading.halts.reason IS 'Why, in one sentence.';
COMMENT ON COLUMN trading.halts.created_at IS 'Wall clock.';
COMMENT ON COLUMN trading.halts.created_by IS 'Who or which limit.';
COMMENT ON COLUMN trading.halts.expires_at IS 'When it ends by itself, business time; null for never.';
COMMENT ON COLUMN trading.halts.lifted_at IS 'Wall clock; null while it is in force.';
COMMENT ON COLUMN trading.halts.lifted_by IS 'Who lifted it.';
CREATE INDEX halts_in_force ON trading.halts (account_id) WHERE lifted_at IS NULL;
COMMENT ON INDEX trading.halts_in_force IS 'What is halted now.';

CREATE TABLE trading.guard_state (
    account_id smallint NOT NULL REFERENCES trading.accounts,
    name       text COLLATE "C" NOT NULL,
    state      jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, name)
);
COMMENT ON TABLE trading.guard_state IS 'What the guard must remember: references of its limits, a flatten under way.';
COMMENT ON COLUMN trading.guard_state.account_id IS 'The account.';
COMMENT ON COLUMN trading.guard_state.name IS 'Which part of the state.';
COMMENT ON COLUMN trading.guard_state.state IS 'The state. Amounts are texts.';
COMMENT ON COLUMN trading.guard_state.updated_at IS 'Wall clock.';

GRANT INSERT, UPDATE ON trading.strategy_state TO alpha_strategy;
GRANT INSERT, UPDATE ON trading.bot_leases TO alpha_strategy;
GRANT INSERT, UPDATE ON trading.halts, trading.guard_state TO alpha_guard;
GRANT DELETE ON trading.guard_state TO alpha_guard;
