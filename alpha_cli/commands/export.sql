-- name: newest_fill
-- When the bot's newest fill happened.
SELECT max(exec_time) FROM trading.fills WHERE bot_id = $1;
