-- name: is_long_stopped
-- Whether the operator has stopped the bot for longer than it takes to end.
SELECT wish = 'stopped' AND wish_at < now() - interval '10 s' FROM trading.bots WHERE bot_id = $1;

-- name: wish
-- What the operator wishes of the bot.
SELECT wish FROM trading.bots WHERE bot_id = $1;

-- name: peak
-- The highest equity of an account in 90 days up to its newest.
SELECT max(high) FROM trading.daily_equity WHERE account_id = $1 AND coin = $2
    AND day > (SELECT max(day) FROM trading.daily_equity WHERE account_id = $1 AND coin = $2) - 90;

-- name: last_backup
-- When the newest good backup ended, and since when there has been anything to back up.
SELECT max(finished_at) FILTER (WHERE ok AND kind = 'backup') AS good,
    (SELECT min(first_seen_at) FROM trading.accounts) AS since
FROM audit.backups;
