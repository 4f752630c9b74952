-- Which listener records which account: a lease with a deadline and a fencing token, one row per account and one for what
-- belongs to all (prices and candles).

CREATE TABLE trading.listener_leases (
    name           text        PRIMARY KEY CHECK (name = 'public' OR name ~ '^account:[0-9]+$'),
    holder         text        NOT NULL,
    token          bigint      NOT NULL,
    acquisitions   bigint      NOT NULL DEFAULT 0,
    acquired_at    timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    released_token bigint,
    handed_over    boolean     NOT NULL DEFAULT false
);
COMMENT ON TABLE trading.listener_leases IS 'Which listener records what; only the holder writes live state and moves watermarks.';
COMMENT ON COLUMN trading.listener_leases.name IS 'account:<account_id>, or public for prices and candles.';
COMMENT ON COLUMN trading.listener_leases.holder IS 'Host, process and a random part.';
COMMENT ON COLUMN trading.listener_leases.token IS 'Fencing token: the greater of one more than the last and the epoch in ms.';
COMMENT ON COLUMN trading.listener_leases.acquisitions IS 'How often it was taken.';
COMMENT ON COLUMN trading.listener_leases.acquired_at IS 'When this holder got it, the database''s clock.';
COMMENT ON COLUMN trading.listener_leases.expires_at IS 'Until when it holds unless renewed, the database''s clock.';
COMMENT ON COLUMN trading.listener_leases.released_token IS 'Token of the last holder that gave it back: equal to token while it is released.';
COMMENT ON COLUMN trading.listener_leases.handed_over IS 'Whether the holder before this one had given it back.';

GRANT SELECT, INSERT, UPDATE ON trading.listener_leases TO alpha_listener;
GRANT SELECT ON trading.listener_leases TO alpha_readonly, alpha_c2, alpha_guard;
