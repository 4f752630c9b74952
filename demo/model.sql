-- name: register
-- Register the demo's model by its manifest.
SELECT trading.register_model($1, $2, 'demo');

-- name: scored
-- The newest scored signals of a version that kept their features.
SELECT symbol, closed_at, features, features_hash FROM trading.predictions
WHERE version = $1 AND features IS NOT NULL ORDER BY closed_at DESC LIMIT 5000;
