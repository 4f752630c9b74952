-- name: keep
-- Keep a setting of the account, and since when it has this value; gives the value before.
WITH before AS (SELECT value FROM trading.account_settings WHERE account_id = $1 AND name = $2)
INSERT INTO trading.account_settings AS s (account_id, name, value) VALUES ($1, $2, $3)
ON CONFLICT (account_id, name) DO UPDATE SET
    value = excluded.value, seen_at = now(), since = CASE WHEN s.value = excluded.value THEN s.since ELSE now() END
RETURNING (SELECT value FROM before);
