-- name: newest_fill
-- When the newest fill of these bots happened.
SELECT max(f.exec_time) FROM unnest($1::text[]) AS wanted (bot_id)
CROSS JOIN LATERAL (
    SELECT exec_time FROM trading.fills WHERE bot_id = wanted.bot_id ORDER BY exec_time DESC LIMIT 1
) AS f;
