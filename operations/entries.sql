-- name: costs
-- What filled orders cost against their decision price, by bot, symbol and kind; dearest first.
SELECT bot_id, symbol, order_kind, count(*) AS orders, sum(filled_qty * decision_price) AS value,
    sum(slippage_bps * filled_qty * decision_price) / sum(filled_qty * decision_price) AS average_bps,
    round(percentile_cont(0.5) WITHIN GROUP (ORDER BY slippage_bps)::numeric, 4) AS median_bps,
    max(slippage_bps) AS worst_bps, sum(slippage_bps * filled_qty * decision_price) / 10000 AS cost
FROM trading.order_intent_results
WHERE account_id = ANY($1) AND decided_at >= $2 AND decided_at < $3 AND slippage_bps IS NOT NULL
GROUP BY 1, 2, 3 ORDER BY cost DESC, 1, 2, 3;
