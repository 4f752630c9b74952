-- name: models
-- Versions of one name or of all, those that trade first, with how long each was a shadow and how many scores it gave.
SELECT m.name, m.version, m.stage, m.is_null, m.shadow_days, m.stage_by, m.stage_at, m.manifest->>'why' AS why,
       (m.manifest->'metrics'->>'attempts')::integer AS attempts, (m.manifest->>'trained_to_ms')::bigint AS trained_to_ms,
       s.shadow, s.scores, s.newest
FROM trading.models AS m
CROSS JOIN LATERAL (
    SELECT coalesce(max(p.closed_at) FILTER (WHERE p.stage = 'shadow' AND p.score IS NOT NULL)
                    - min(p.closed_at) FILTER (WHERE p.stage = 'shadow' AND p.score IS NOT NULL), interval '0') AS shadow,
           count(p.score) AS scores, max(p.closed_at) AS newest
    FROM trading.predictions AS p WHERE p.version = m.version
) AS s
WHERE $1::text IS NULL OR m.name = $1
ORDER BY m.name, array_position(ARRAY['live', 'shadow', 'retired'], m.stage), m.stage_at DESC;

-- name: manifest
-- The manifest of a version.
SELECT manifest FROM trading.models WHERE version = $1;

-- name: predictions
-- The newest predictions of a version.
SELECT symbol, score, outcome, reason, latency_ms, features FROM trading.predictions
WHERE version = $1 ORDER BY closed_at DESC, symbol LIMIT $2;

-- name: last_check
-- The last check of a version.
SELECT checked_at, rows, differing, text FROM trading.model_checks WHERE version = $1
ORDER BY checked_at DESC LIMIT 1;

-- name: promote
-- Let a shadow trade; gives the version that this retires.
SELECT trading.promote_model($1, $2);

-- name: retire
-- Take a version out of shadow and trading; whether that changed anything.
SELECT trading.retire_model($1, $2);

-- name: register
-- Register a version by its manifest.
SELECT trading.register_model($1, $2, $3);

-- name: record_check
-- Keep the result of a check of a version.
INSERT INTO trading.model_checks (version, rows, differing, text) VALUES ($1, $2, $3, $4);
