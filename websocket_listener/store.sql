-- name: moved_stops
-- Those of these orders whose reason is one of a moved stop.
SELECT order_id, reason FROM trading.orders WHERE account_id = $1 AND order_id = ANY($2) AND reason = ANY($3);

-- name: register_account
-- The number of the account of this key, made at its first use.
SELECT trading.register_account($1, $2, $3);

-- name: read_to
-- How far the executions of a category have been read.
SELECT read_to FROM trading.watermarks WHERE account_id = $1 AND category = $2;

-- name: move_watermark
-- Executions have been read further; a watermark never goes back.
INSERT INTO trading.watermarks AS known (account_id, category, read_to) VALUES ($1, $2, $3)
ON CONFLICT (account_id, category) DO UPDATE SET read_to = excluded.read_to, updated_at = now()
WHERE excluded.read_to > known.read_to;

-- name: stored_fills
-- The fills of a category in the order in which positions follow from them.
SELECT symbol, leg, side, qty, price, exec_time, seq, order_id FROM trading.fills
WHERE account_id = $1 AND category = $2 AND exec_type = ANY($3) ORDER BY exec_time, seq, trading.fill_rank(closed_size, qty), exec_id;

-- name: delivered
-- The newest fill of each symbol; of one instant the delivery is the last.
SELECT DISTINCT ON (symbol) symbol, exec_type FROM trading.fills
WHERE account_id = $1 AND symbol = ANY($2) AND exec_type = ANY($3)
ORDER BY symbol, exec_time DESC, seq DESC, exec_type IN ('Delivery', 'Settle') DESC;

-- name: insert_opening
-- A position that existed before the first fill that is known.
INSERT INTO trading.opening_positions (account_id, category, symbol, leg, side, qty, entry_price, as_of)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING;
