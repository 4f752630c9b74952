-- name: current_accounts
-- The account that each bot uses now: the one that was read last.
SELECT DISTINCT ON (a.bot_id) a.bot_id, a.account_id, a.environment
FROM trading.accounts AS a
LEFT JOIN trading.watermarks AS w ON w.account_id = a.account_id
WHERE a.bot_id = ANY($1)
ORDER BY a.bot_id, w.updated_at DESC NULLS LAST, a.first_seen_at DESC, a.account_id DESC;
