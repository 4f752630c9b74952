-- name: is_lost
-- Whether the bot's lease ended more than $2 seconds ago, by the database's clock, which also says when it ends.
SELECT expires_at < clock_timestamp() - make_interval(secs => $2) AS lost FROM trading.bot_leases
WHERE account_id = $1;
