-- name: wish
-- What the operator wishes of a bot.
SELECT wish FROM trading.bots WHERE bot_id = $1;

-- name: acquisitions
-- How often the account's lease has been taken.
SELECT acquisitions FROM trading.bot_leases WHERE account_id = $1;
