-- name: schema_version
-- The number of the newest applied migration.
SELECT trading.schema_version();
