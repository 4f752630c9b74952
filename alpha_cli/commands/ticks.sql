-- name: bots
-- Every bot in the record.
SELECT bot_id FROM trading.bots ORDER BY bot_id;
