-- Which of several guards acts, and what it may wish of a bot.

CREATE TABLE trading.guard_lease (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    holder     text NOT NULL,
    renewed_at timestamptz NOT NULL
);
COMMENT ON TABLE trading.guard_lease IS 'The one guard that patrols and takes commands. It is taken over when its holder has stopped renewing.';
COMMENT ON COLUMN trading.guard_lease.only_row IS 'Always true: there is one row.';
COMMENT ON COLUMN trading.guard_lease.holder IS 'The process: host, process id and a random part.';
COMMENT ON COLUMN trading.guard_lease.renewed_at IS 'When it was renewed last, the database''s clock.';
GRANT INSERT, UPDATE ON trading.guard_lease TO alpha_guard;

-- A bot that the guard has paused or stopped is wished so: an upgrade or a reboot must not start it again.
GRANT UPDATE (wish, wish_by, wish_at) ON trading.bots TO alpha_guard;
COMMENT ON COLUMN trading.bots.wish_by IS 'Who wished it last: an operator, or the guard and for what.';
