-- name: measured
-- The mean over value: a large order counts for what it is. The end is the newest order: business time, which on a simulated
-- exchange is not the wall clock's.
SELECT symbol, round(sum(slippage_bps * filled_qty * avg_price) / sum(filled_qty * avg_price), 2) AS bps, count(*) AS orders
FROM trading.order_intent_results
WHERE bot_id = $1 AND order_kind = 'market' AND slippage_bps IS NOT NULL AND decided_at >= (
    SELECT max(decided_at) FROM trading.order_intent_results
    WHERE bot_id = $1 AND order_kind = 'market' AND slippage_bps IS NOT NULL) - make_interval(days => $2)
GROUP BY symbol ORDER BY symbol;

-- name: bots
-- Every bot in the record.
SELECT bot_id FROM trading.bots ORDER BY bot_id;
