-- Which listeners there are, so that each takes its share of the accounts (LISTENER_SHARE).

CREATE TABLE trading.listener_members (
    name       text        PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE trading.listener_members IS 'One row per listener that shares the accounts with others; one that no longer renews it counts no more.';
COMMENT ON COLUMN trading.listener_members.name IS 'Host, process and a random part.';
COMMENT ON COLUMN trading.listener_members.expires_at IS 'Until when it counts unless renewed, the database''s clock.';

GRANT SELECT, INSERT, UPDATE, DELETE ON trading.listener_members TO alpha_listener;
GRANT SELECT ON trading.listener_members TO alpha_readonly, alpha_c2, alpha_guard;

-- Services of which one instance works and others wait (ALPHA_STANDBY).
CREATE TABLE trading.service_leases (
    name           text        PRIMARY KEY,
    holder         text        NOT NULL,
    token          bigint      NOT NULL,
    acquisitions   bigint      NOT NULL DEFAULT 0,
    acquired_at    timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    released_token bigint,
    handed_over    boolean     NOT NULL DEFAULT false
);
COMMENT ON TABLE trading.service_leases IS 'Which instance of a service works; the others wait until its lease ends.';
COMMENT ON COLUMN trading.service_leases.name IS 'The service.';
COMMENT ON COLUMN trading.service_leases.holder IS 'Host, process and a random part.';
COMMENT ON COLUMN trading.service_leases.token IS 'Fencing token: the greater of one more than the last and the epoch in ms.';
COMMENT ON COLUMN trading.service_leases.acquisitions IS 'How often it was taken.';
COMMENT ON COLUMN trading.service_leases.acquired_at IS 'When this holder got it, the database''s clock.';
COMMENT ON COLUMN trading.service_leases.expires_at IS 'Until when it holds unless renewed, the database''s clock.';
COMMENT ON COLUMN trading.service_leases.released_token IS 'Token of the last holder that gave it back: equal to token while it is released.';
COMMENT ON COLUMN trading.service_leases.handed_over IS 'Whether the holder before this one had given it back.';

GRANT SELECT, INSERT, UPDATE ON trading.service_leases TO alpha_sync, alpha_c2, alpha_ticks, alpha_analysis;
GRANT USAGE ON SCHEMA trading TO alpha_ticks;
GRANT SELECT ON trading.service_leases TO alpha_readonly, alpha_guard;
