-- name: manifest
-- The manifest of a version.
SELECT manifest FROM trading.models WHERE version = $1;

-- name: scored
-- The newest scored signals of a version that kept their features.
SELECT symbol, closed_at, features, features_hash FROM trading.predictions
WHERE version = $1 AND features IS NOT NULL ORDER BY closed_at DESC LIMIT $2;

-- name: slippage
-- How many market orders have a slippage, and its mean in basis points.
SELECT count(slippage_bps) AS orders, avg(slippage_bps)::float8 AS mean
FROM trading.order_intent_results WHERE order_kind = 'market';
