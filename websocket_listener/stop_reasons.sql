-- name: positions
-- What the strategy remembers of its positions.
SELECT state FROM trading.strategy_state WHERE account_id = $1 AND name = 'positions';
