-- name: market_costs
-- What fills cost against the quotes around them, weighted by value: by bot, symbol and kind of order, by hour, by size, and
-- of takers and makers in all; what a row is not grouped by is null.
SELECT bot_id, symbol, kind, hour, size, is_maker,
    count(*) AS fills, count(mid) AS measured, coalesce(sum(value) FILTER (WHERE mid IS NOT NULL), 0) AS value,
    sum(slippage_bps * value) / 10000 AS cost,
    sum(spread_bps * value) / nullif(sum(value) FILTER (WHERE spread_bps IS NOT NULL), 0) AS spread_bps,
    sum(slippage_bps * value) / nullif(sum(value) FILTER (WHERE slippage_bps IS NOT NULL), 0) AS slippage_bps,
    sum(delay_bps * value) / nullif(sum(value) FILTER (WHERE delay_bps IS NOT NULL), 0) AS delay_bps,
    sum(after_1s_bps * value) / nullif(sum(value) FILTER (WHERE after_1s_bps IS NOT NULL), 0) AS after_1s_bps,
    sum(after_5s_bps * value) / nullif(sum(value) FILTER (WHERE after_5s_bps IS NOT NULL), 0) AS after_5s_bps,
    sum(after_30s_bps * value) / nullif(sum(value) FILTER (WHERE after_30s_bps IS NOT NULL), 0) AS after_30s_bps
FROM (
    SELECT c.*, to_char(exec_time AT TIME ZONE 'UTC', 'HH24:00') AS hour,
        coalesce(order_kind, CASE WHEN is_maker THEN 'maker' ELSE 'taker' END) AS kind,
        CASE WHEN value < 100 THEN 'below 100' WHEN value < 1000 THEN '100 to 1,000'
             WHEN value < 10000 THEN '1,000 to 10,000' ELSE 'above 10,000' END AS size
    FROM trading.fill_costs AS c
    WHERE account_id = ANY($1) AND exec_time >= $2 AND exec_time < $3
) AS rows
GROUP BY GROUPING SETS ((bot_id, symbol, kind), (hour), (size), (is_maker))
HAVING count(mid) > 0
ORDER BY cost DESC, bot_id, symbol, kind, hour, size;
