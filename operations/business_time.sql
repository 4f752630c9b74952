-- name: newest_fill
-- When the bot's newest fill happened.
SELECT exec_time FROM trading.fills WHERE bot_id = $1 ORDER BY exec_time DESC LIMIT 1;
