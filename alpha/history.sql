-- name: fills
-- A bot's executions of a span, funding included, in the exchange's order.
SELECT f.exec_time AS time, a.environment, f.symbol, f.side, f.qty, f.price, f.price * f.qty AS value, f.fee, f.exec_type,
    f.reason, f.is_maker, f.closed_size, f.order_link_id
FROM trading.fills f JOIN trading.accounts a USING (account_id)
WHERE f.bot_id = $1 AND f.exec_time >= $2 AND f.exec_time < $3
ORDER BY f.exec_time, f.seq, trading.fill_rank(f.closed_size, f.qty), f.exec_id;

-- name: round_trips
-- A bot's positions that ended in a span.
SELECT symbol, direction, qty AS size, opened_at AS entry_time, entry_price, closed_at AS exit_time, exit_price,
    exit_reason AS reason, gross, fees, funding, net, environment
FROM trading.position_summaries
WHERE bot_id = $1 AND closed_at >= $2 AND closed_at < $3
ORDER BY closed_at, opened_at, symbol;

-- name: equity
-- The recorded equity of a bot's account in a span, in USDT.
SELECT s.taken_at AS time, a.environment, s.equity, s.wallet_balance
FROM trading.equity_snapshots s JOIN trading.accounts a USING (account_id)
WHERE a.bot_id = $1 AND s.coin = 'USDT' AND s.taken_at >= $2 AND s.taken_at < $3
ORDER BY s.taken_at;
