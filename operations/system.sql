-- name: schema_version
-- The number of the newest applied migration.
SELECT trading.schema_version();

-- name: last_jobs
-- The last job of each kind, good or not; of copies only that of the newest backup: who copies no longer is not at fault.
SELECT DISTINCT ON (kind) kind, started_at, ok, bytes, detail FROM audit.backups
WHERE kind <> 'copy' OR started_at >= (SELECT max(started_at) FROM audit.backups WHERE kind = 'backup')
ORDER BY kind, started_at DESC;

-- name: database
-- The size of the database, its clock, and an estimate of the number of fills.
SELECT pg_database_size(current_database()) AS bytes, clock_timestamp() AS now,
    (SELECT reltuples::bigint FROM pg_class WHERE oid = 'trading.fills'::regclass) AS fills;

-- name: last_good_jobs
-- The last good job of each kind.
SELECT DISTINCT ON (kind) kind, started_at, bytes, detail FROM audit.backups WHERE ok
ORDER BY kind, started_at DESC;
