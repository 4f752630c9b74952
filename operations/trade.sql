-- name: by_id
-- The round trip of this number.
SELECT * FROM trading.position_summaries WHERE trade_id = $1 LIMIT 1;

-- name: fills
-- The fills of a round trip.
SELECT * FROM trading.fills
WHERE account_id = ANY($1) AND category = 'linear' AND symbol = $2 AND exec_time >= $3 AND exec_time <= $4
ORDER BY exec_time, seq, trading.fill_rank(closed_size, qty), exec_id LIMIT $5;

-- name: intents
-- Why the orders of a round trip were sent, with what became of them.
SELECT r.* FROM trading.order_intent_results AS r WHERE r.account_id = ANY($1)
    AND r.order_link_id IN (SELECT order_link_id FROM trading.fills WHERE account_id = ANY($1) AND category = 'linear'
    AND symbol = $2 AND exec_time >= $3 AND exec_time <= $4 AND order_link_id IS NOT NULL)
ORDER BY r.decided_at LIMIT $5;

-- name: stops
-- Stop orders that rested while a round trip was open.
SELECT created_at, updated_at, coalesce(stop_order_type, order_type) AS kind, status, side, trigger_price, qty, reason
FROM trading.orders
WHERE account_id = ANY($1) AND symbol = $2 AND trigger_price > 0 AND created_at <= $4 AND updated_at >= $3
ORDER BY created_at LIMIT 100;

-- name: stop_levels
-- The levels at which those orders waited, up to the end of the round trip.
SELECT l.order_id, l.since, coalesce(o.stop_order_type, o.order_type) AS kind, l.trigger_price, l.reason,
    least(o.updated_at, $4) AS until
FROM trading.orders AS o JOIN trading.stop_levels AS l USING (account_id, order_id)
WHERE o.account_id = ANY($1) AND o.symbol = $2 AND o.trigger_price > 0 AND o.created_at <= $4 AND o.updated_at >= $3
    AND l.since <= $4
ORDER BY l.since, l.order_id LIMIT $5;

-- name: may_read_commands
-- Whether this role may read the attempts of commands.
SELECT has_table_privilege('audit.commands', 'SELECT');

-- name: business_span
-- The span of a round trip in wall time: on a simulated exchange, when its fills were received.
SELECT min(CASE WHEN a.environment = 'simulated' THEN f.received_at ELSE f.exec_time END) AS first,
    max(CASE WHEN a.environment = 'simulated' THEN f.received_at ELSE f.exec_time END) AS last
FROM trading.fills AS f JOIN trading.accounts AS a USING (account_id)
WHERE f.account_id = ANY($1) AND f.category = 'linear' AND f.symbol = $2 AND f.exec_time >= $3 AND f.exec_time <= $4;

-- name: commands
-- Commands for a bot within a span.
SELECT issued_at, source, issuer, issuer_role, name, bot_id, outcome, answer, arguments
FROM audit.commands WHERE bot_id = $1 AND issued_at >= $2 AND issued_at <= $3 ORDER BY issued_at
LIMIT 100;
