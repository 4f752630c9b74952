-- name: lock
-- Serialise the runs; false while another one has the lock.
SELECT pg_try_advisory_lock($1);

-- name: applied
-- The migrations that this database has.
SELECT number, name, checksum FROM public.schema_migrations ORDER BY number;

-- name: unlock
-- Let the next run begin.
SELECT pg_advisory_unlock($1);

-- name: record
-- Note a migration as applied.
INSERT INTO public.schema_migrations (number, name, checksum) VALUES ($1, $2, $3);

-- name: deactivate_bots
-- Bots that the file no longer lists are inactive.
UPDATE trading.bots SET active = false WHERE bot_id <> ALL($1);

-- name: register_bot
-- A listed bot is active, with the values of the file; what the operator wishes of it is kept.
INSERT INTO trading.bots (bot_id, name, strategy, tag, redis_db, container)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (bot_id) DO UPDATE SET name = excluded.name, strategy = excluded.strategy, tag = excluded.tag,
    redis_db = excluded.redis_db, container = excluded.container, active = true;

-- name: newest
-- The newest migration that was applied.
SELECT number, name FROM public.schema_migrations ORDER BY number DESC LIMIT 1;

-- name: database_exists
-- Whether the database exists.
SELECT count(*) FROM pg_database WHERE datname = $1;

-- name: is_empty
-- Whether there is no table of ours yet.
SELECT to_regclass('trading.accounts') IS NULL;

-- name: other_accounts
-- Accounts that are not simulated, by environment.
SELECT environment, count(*) AS number FROM trading.accounts WHERE environment <> 'simulated'
GROUP BY environment ORDER BY environment;
