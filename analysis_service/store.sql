-- name: insert
-- Keep one analysis of a bar; one that is there already stays as it is.
INSERT INTO trading.analysis (symbol, "interval", closed_at, schema_hash, close, rating, averages, oscillators, "values")
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING;

-- name: newest
-- The newest analysed bar of each symbol and interval.
SELECT symbol, "interval", max(closed_at) AS closed_at FROM trading.analysis WHERE schema_hash = $1
GROUP BY 1, 2;

-- name: schema
-- Keep what the columns of a schema mean.
INSERT INTO trading.analysis_schemas (schema_hash, names, definition, first_used)
VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING;

-- name: prepare
-- Make the partitions that the coming rows need.
SELECT trading.prepare_analysis($1, $2);

-- name: prune
-- Drop the partitions that are older than is kept.
SELECT trading.prune_analysis($1);
