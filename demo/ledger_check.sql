-- name: fills
-- Every execution of a bot.
SELECT exec_id, symbol, side, exec_type, qty, price, fee FROM trading.fills WHERE bot_id = $1;
