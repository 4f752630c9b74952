-- Any number of bots: Redis databases to 4095, and the guard may take the lease of a bot in a shared container.

ALTER TABLE trading.bots DROP CONSTRAINT bots_redis_db_check;
ALTER TABLE trading.bots ADD CONSTRAINT bots_redis_db_check CHECK (redis_db BETWEEN 0 AND 4095 AND redis_db <> 15);
COMMENT ON COLUMN trading.bots.redis_db IS 'Its own Redis database; 15 is shared by all.';
COMMENT ON COLUMN trading.bots.container IS 'Its container, and its process in the demo. Several bots may share one.';

-- The guard never stops a container that runs other bots too: it takes the lease of the one bot that does not answer.
GRANT INSERT, UPDATE ON trading.bot_leases TO alpha_guard;
