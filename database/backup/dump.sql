-- name: export_snapshot
-- Let pg_dump read the same snapshot.
SELECT pg_export_snapshot();

-- name: schema_version
-- The number of the newest applied migration.
SELECT trading.schema_version();
