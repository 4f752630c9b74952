-- name: models
-- The versions of these names that are live or in shadow, the newest first.
SELECT version, name, stage, manifest::text AS manifest FROM trading.models
WHERE name = ANY($1) AND stage IN ('live', 'shadow') ORDER BY stage, stage_at DESC;

-- name: record
-- Record predictions; one that is there already stays as it is.
INSERT INTO trading.predictions (account_id, bot_id, version, symbol, closed_at, stage, features_hash, features, score, reason,
                                 latency_ms)
SELECT $1, $2, r.version, r.symbol, r.closed_at, r.stage, r.features_hash, r.features, r.score, r.reason, r.latency_ms
FROM jsonb_to_recordset($3) AS r(version text, symbol text, closed_at timestamptz, stage text, features_hash text,
                                 features real[], score float8, reason text, latency_ms real)
ON CONFLICT DO NOTHING;

-- name: ripen
-- What became of the signals that a version scored.
UPDATE trading.predictions AS p SET outcome = r.outcome
FROM jsonb_to_recordset($3) AS r(symbol text, closed_at timestamptz, outcome float8)
WHERE p.account_id = $1 AND p.version = $2 AND p.symbol = r.symbol AND p.closed_at = r.closed_at AND p.outcome IS NULL;

-- name: sent
-- The newest signals that a version was asked about, with the hash of their features.
SELECT symbol, (extract(epoch FROM closed_at) * 1000)::bigint AS closed_ms, features_hash FROM trading.predictions
WHERE account_id = $1 AND version = $2 AND features_hash <> '' ORDER BY closed_at DESC LIMIT $3;
