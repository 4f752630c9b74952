-- What the market was around each of our fills, from the recorded quotes, and what the fill cost by it.

CREATE TABLE trading.fill_quotes (
    account_id  smallint NOT NULL,
    symbol      text COLLATE "C" NOT NULL,
    exec_id     text COLLATE "C" NOT NULL,
    mid         numeric,
    spread      numeric,
    mid_1s      numeric,
    mid_5s      numeric,
    mid_30s     numeric,
    measured_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, symbol, exec_id)
);
COMMENT ON TABLE trading.fill_quotes IS 'The quotes around each trade of trading.fills (category linear), once. Written by the tick recorder alone, half a minute of exchange time after the fill or later. A quote is null where none was recorded.';
COMMENT ON COLUMN trading.fill_quotes.account_id IS 'The account.';
COMMENT ON COLUMN trading.fill_quotes.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.fill_quotes.exec_id IS 'Bybit''s id of the execution, as in trading.fills.';
COMMENT ON COLUMN trading.fill_quotes.mid IS 'The mid price in USDT at the last quote before the fill''s millisecond.';
COMMENT ON COLUMN trading.fill_quotes.spread IS 'Best offer less best bid of that quote, in USDT.';
COMMENT ON COLUMN trading.fill_quotes.mid_1s IS 'The mid price in USDT one second after the fill.';
COMMENT ON COLUMN trading.fill_quotes.mid_5s IS 'The mid price in USDT five seconds after the fill.';
COMMENT ON COLUMN trading.fill_quotes.mid_30s IS 'The mid price in USDT thirty seconds after the fill.';
COMMENT ON COLUMN trading.fill_quotes.measured_at IS 'When this row was written, wall clock.';

CREATE VIEW trading.fill_costs AS
SELECT f.account_id, f.bot_id, f.symbol, f.exec_id, f.exec_time, f.side, f.price, f.qty, f.value, f.is_maker, f.reason,
       i.order_kind, i.decision_price, q.mid, q.spread,
       q.spread / q.mid * 10000 AS spread_bps,
       s.sign * (f.price - q.mid) / q.mid * 10000 AS slippage_bps,
       s.sign * (q.mid - i.decision_price) / nullif(i.decision_price, 0) * 10000 AS delay_bps,
       s.sign * (q.mid_1s - q.mid) / q.mid * 10000 AS after_1s_bps,
       s.sign * (q.mid_5s - q.mid) / q.mid * 10000 AS after_5s_bps,
       s.sign * (q.mid_30s - q.mid) / q.mid * 10000 AS after_30s_bps
FROM trading.fills AS f
CROSS JOIN LATERAL (SELECT CASE f.side WHEN 'Buy' THEN 1 ELSE -1 END AS sign) AS s
LEFT JOIN trading.order_intents AS i ON i.account_id = f.account_id AND i.order_link_id = f.order_link_id
LEFT JOIN trading.fill_quotes AS q ON q.account_id = f.account_id AND q.symbol = f.symbol AND q.exec_id = f.exec_id
WHERE f.exec_type = 'Trade' AND f.category = 'linear';
COMMENT ON VIEW trading.fill_costs IS 'What each trade cost against the quotes around it, in basis points: null while the tick recorder has not measured it, or without quotes.';
COMMENT ON COLUMN trading.fill_costs.account_id IS 'The account.';
COMMENT ON COLUMN trading.fill_costs.bot_id IS 'The bot.';
COMMENT ON COLUMN trading.fill_costs.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.fill_costs.exec_id IS 'Bybit''s id of the execution.';
COMMENT ON COLUMN trading.fill_costs.exec_time IS 'When the exchange executed it.';
COMMENT ON COLUMN trading.fill_costs.side IS 'Buy or Sell.';
COMMENT ON COLUMN trading.fill_costs.price IS 'Execution price in USDT.';
COMMENT ON COLUMN trading.fill_costs.qty IS 'Executed quantity in base coin.';
COMMENT ON COLUMN trading.fill_costs.value IS 'Its value in USDT.';
COMMENT ON COLUMN trading.fill_costs.is_maker IS 'True when our order was resting in the book.';
COMMENT ON COLUMN trading.fill_costs.reason IS 'Why, as on the fill.';
COMMENT ON COLUMN trading.fill_costs.order_kind IS 'market, limit or trigger; null where no intent was recorded.';
COMMENT ON COLUMN trading.fill_costs.decision_price IS 'The close at which the order was decided, in USDT; null where none was recorded.';
COMMENT ON COLUMN trading.fill_costs.mid IS 'The mid price in USDT at the last quote before the fill.';
COMMENT ON COLUMN trading.fill_costs.spread IS 'Best offer less best bid of that quote, in USDT.';
COMMENT ON COLUMN trading.fill_costs.spread_bps IS 'The spread against the mid price.';
COMMENT ON COLUMN trading.fill_costs.slippage_bps IS 'The fill against the mid price; above zero is a cost.';
COMMENT ON COLUMN trading.fill_costs.delay_bps IS 'How far the mid price moved against us from the decision to the fill.';
COMMENT ON COLUMN trading.fill_costs.after_1s_bps IS 'How far the mid price moved in our favour within one second of the fill.';
COMMENT ON COLUMN trading.fill_costs.after_5s_bps IS 'The same within five seconds.';
COMMENT ON COLUMN trading.fill_costs.after_30s_bps IS 'The same within thirty seconds.';

GRANT USAGE ON SCHEMA trading TO alpha_ticks;
GRANT SELECT (account_id, environment) ON trading.accounts TO alpha_ticks;
GRANT SELECT (account_id, category, symbol, exec_id, exec_type, exec_time) ON trading.fills TO alpha_ticks;
GRANT SELECT, INSERT ON trading.fill_quotes TO alpha_ticks;
