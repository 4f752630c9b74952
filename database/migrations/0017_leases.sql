-- Leases: tokens that grow over a restore, and what a successor must know about the holder before it.

ALTER TABLE trading.bot_leases
    ADD COLUMN acquisitions   bigint NOT NULL DEFAULT 0,
    ADD COLUMN released_token bigint,
    ADD COLUMN handed_over    boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN trading.bot_leases.token IS 'Fencing token: the greater of one more than the last and the epoch in ms.';
COMMENT ON COLUMN trading.bot_leases.acquisitions IS 'How often it was taken.';
COMMENT ON COLUMN trading.bot_leases.released_token IS 'Token of the last holder that gave it back: equal to token while it is released.';
COMMENT ON COLUMN trading.bot_leases.handed_over IS 'Whether the holder before this one had given it back, so that nothing of it can still arrive.';

ALTER TABLE trading.guard_lease
    ADD COLUMN token          bigint NOT NULL DEFAULT 0,
    ADD COLUMN acquisitions   bigint NOT NULL DEFAULT 0,
    ADD COLUMN acquired_at    timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN expires_at     timestamptz NOT NULL DEFAULT '-infinity',
    ADD COLUMN released_token bigint,
    ADD COLUMN handed_over    boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN trading.guard_lease.token IS 'Fencing token: the greater of one more than the last and the epoch in ms.';
COMMENT ON COLUMN trading.guard_lease.acquisitions IS 'How often it was taken.';
COMMENT ON COLUMN trading.guard_lease.acquired_at IS 'When this holder got it, the database''s clock.';
COMMENT ON COLUMN trading.guard_lease.expires_at IS 'Until when it holds unless renewed, the database''s clock.';
COMMENT ON COLUMN trading.guard_lease.released_token IS 'Token of the last holder that gave it back: equal to token while it is released.';
COMMENT ON COLUMN trading.guard_lease.handed_over IS 'Whether the holder before this one had given it back.';

-- The row of the lease is locked: a save that was under way when the lease changed hands is refused, not overtaken.
CREATE OR REPLACE FUNCTION trading.refuse_old_lease() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    newest bigint;
BEGIN
    SELECT token INTO newest FROM trading.bot_leases WHERE account_id = NEW.account_id FOR SHARE;
    IF NEW.lease_token < newest OR (TG_OP = 'UPDATE' AND NEW.lease_token < OLD.lease_token) THEN
        RAISE EXCEPTION 'The state of account % was written under a newer lease. This process no longer owns the account.',
            NEW.account_id USING ERRCODE = 'AL002';
    END IF;
    RETURN NEW;
END $$;
DROP TRIGGER refuse_old_lease ON trading.strategy_state;
CREATE TRIGGER refuse_old_lease BEFORE INSERT OR UPDATE ON trading.strategy_state
    FOR EACH ROW EXECUTE FUNCTION trading.refuse_old_lease();
