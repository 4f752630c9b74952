-- name: intents
-- What a bot decided in a span and what became of its orders.
SELECT i.symbol, i.bar_start, i.intent, coalesce(o.status, '') AS status, i.why
FROM trading.order_intents i LEFT JOIN trading.orders o ON o.account_id = i.account_id AND o.order_link_id = i.order_link_id
WHERE i.bot_id = $1 AND i.bar_start >= $2 AND i.bar_start < $3
ORDER BY i.bar_start, i.symbol;
