-- name: legs
-- The legs of these orders.
SELECT order_id, leg FROM trading.orders WHERE account_id = $1 AND order_id = ANY($2);

-- name: correct
-- Give a fill its right leg, and recompute both ledgers.
SELECT trading.correct_leg($1, $2, $3, $4, $5, $6);
