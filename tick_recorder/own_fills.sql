-- name: has_intents
-- Whether this schema records why orders were sent.
SELECT to_regclass('trading.order_intents') IS NOT NULL;

-- name: costs
-- The trades of a bot, or of all, in the days up to the newest, with what they cost against the quotes around them.
SELECT exec_id, bot_id, symbol, exec_time, side, price, qty, value, is_maker, reason, order_kind, decision_price,
    mid::float8, spread_bps::float8, slippage_bps::float8, delay_bps::float8, after_1s_bps::float8, after_5s_bps::float8,
    after_30s_bps::float8
FROM trading.fill_costs
WHERE ($1::text IS NULL OR bot_id = $1)
    AND exec_time > (SELECT max(exec_time) FROM trading.fill_costs WHERE $1::text IS NULL OR bot_id = $1)
        - make_interval(days => $2)
ORDER BY exec_time;
