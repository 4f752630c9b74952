-- name: forget
-- An order that Bybit does not know any more was cancelled.
UPDATE trading.orders SET status = 'Cancelled', received_at = now() WHERE account_id = $1 AND order_id = $2;
