-- name: events
-- Every movement of money of an account in a span: closed trades, fees, funding payments, transfers.
SELECT updated_at AS time, 'pnl' AS kind, symbol, gross AS amount, trading.settle_coin(symbol) AS currency, order_id AS id, '' AS detail
FROM trading.completed_trades WHERE account_id = $1 AND updated_at >= $2 AND updated_at < $3
UNION ALL
SELECT exec_time, CASE WHEN exec_type = 'Funding' THEN 'funding' ELSE 'fee' END, symbol, -fee,
    coalesce(nullif(fee_currency, ''), trading.settle_coin(symbol)), exec_id, exec_type
FROM trading.fills WHERE account_id = $1 AND category = 'linear' AND fee <> 0 AND exec_time >= $2 AND exec_time < $3
UNION ALL
SELECT transferred_at, 'transfer', '', amount, currency, log_id, type
FROM trading.transfers WHERE account_id = $1 AND transferred_at >= $2 AND transferred_at < $3
ORDER BY 1, 2, 6;

-- name: stated_balance
-- A balance in USDT that Bybit itself has stated: the newest before a time, else the oldest from then on.
SELECT time, balance, source FROM (
    SELECT transferred_at AS time, balance_after AS balance, 'transaction log' AS source FROM trading.transfers
    WHERE account_id = $1 AND currency = 'USDT' AND balance_after IS NOT NULL
    UNION ALL
    SELECT taken_at, wallet_balance, 'wallet' FROM trading.equity_snapshots WHERE account_id = $1
) stated ORDER BY time < $2 DESC, CASE WHEN time < $2 THEN $2 - time ELSE time - $2 END LIMIT 1;

-- name: accounts
-- The accounts of a bot.
SELECT account_id, environment, user_id FROM trading.accounts WHERE bot_id = $1 ORDER BY 1;

-- name: bots
-- The bots that have accounts.
SELECT DISTINCT bot_id FROM trading.accounts ORDER BY 1;
