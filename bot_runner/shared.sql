-- name: wishes
-- What the operator wishes of these bots.
SELECT bot_id, wish FROM trading.bots WHERE bot_id = ANY($1);
