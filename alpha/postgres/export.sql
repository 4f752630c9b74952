-- name: fills
-- The executions of a year, without funding.
SELECT f.exec_time AS time, a.environment, f.symbol, f.side, f.qty, f.price, f.price * f.qty AS value, f.fee,
    coalesce(nullif(f.fee_currency, ''), trading.settle_coin(f.symbol)) AS fee_currency, f.exec_type, f.reason, f.is_maker, f.order_id, f.exec_id
FROM trading.fills f JOIN trading.accounts a USING (account_id)
WHERE f.bot_id = $1 AND f.exec_time >= $2 AND f.exec_time < $3 AND f.exec_type <> 'Funding'
ORDER BY f.exec_time, f.seq, trading.fill_rank(f.closed_size, f.qty), f.exec_id;

-- name: round_trips
-- The positions that ended in a year.
SELECT opened_at AS opened, closed_at AS closed, environment, symbol, direction, qty, entry_price, exit_price, entry_value,
    exit_value, gross, fees, funding, net, exit_reason
FROM trading.position_summaries
WHERE bot_id = $1 AND closed_at >= $2 AND closed_at < $3
ORDER BY closed_at;

-- name: funding
-- The funding payments of a year.
SELECT f.exec_time AS time, a.environment, f.symbol, f.side AS position, f.qty, -f.fee AS received,
    coalesce(nullif(f.fee_currency, ''), trading.settle_coin(f.symbol)) AS currency, f.exec_id
FROM trading.fills f JOIN trading.accounts a USING (account_id)
WHERE f.bot_id = $1 AND f.exec_time >= $2 AND f.exec_time < $3 AND f.exec_type = 'Funding'
ORDER BY f.exec_time, f.seq, trading.fill_rank(f.closed_size, f.qty), f.exec_id;

-- name: transfers
-- The transfers of a year.
SELECT t.transferred_at AS time, a.environment, t.type, t.amount, t.currency, t.log_id
FROM trading.transfers t JOIN trading.accounts a USING (account_id)
WHERE a.bot_id = $1 AND t.transferred_at >= $2 AND t.transferred_at < $3
ORDER BY t.transferred_at, t.log_id;

-- name: is_known
-- Whether there is such a bot.
SELECT count(*) FROM trading.bots WHERE bot_id = $1;

-- name: bots
-- Every bot in the record.
SELECT bot_id FROM trading.bots ORDER BY 1;
