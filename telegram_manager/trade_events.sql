-- name: funding
-- The newest funding payments after a moment.
SELECT exec_time, symbol, fee FROM trading.fills
WHERE bot_id = $1 AND account_id = $2 AND exec_type = 'Funding' AND exec_time > $3
ORDER BY exec_time DESC LIMIT $4;

-- name: newest_fill
-- When the newest fill of an account happened.
SELECT max(exec_time) FROM trading.fills WHERE bot_id = $1 AND account_id = $2;

-- name: closed
-- The positions that ended from a moment on.
SELECT * FROM trading.position_summaries WHERE bot_id = $1 AND account_id = $2 AND closed_at >= $3
ORDER BY closed_at LIMIT $4;

-- name: opened
-- The positions that were opened from a moment on.
SELECT * FROM trading.open_positions WHERE account_id = $1 AND opened_at >= $2 AND NOT from_opening;

-- name: day
-- The results of a day.
SELECT * FROM trading.daily_performance($1, $2::date, $2::date + 1) WHERE account_id = ANY($3);
