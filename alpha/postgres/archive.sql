-- name: unfinished
-- Archivings that were begun and not finished.
SELECT account_id, floor, folder, phase, fills FROM trading.fill_archives WHERE phase <> 'done' ORDER BY 1, 2;

-- name: accounts
-- Accounts with fills before $1, and their newest fill.
SELECT a.account_id, n.newest FROM trading.accounts a, LATERAL (
    SELECT max(f.exec_time) AS newest, min(f.exec_time) AS oldest FROM trading.fills f
    WHERE f.bot_id = a.bot_id AND f.account_id = a.account_id
) n WHERE n.oldest < $1 ORDER BY 1;

-- name: highest_floor
-- The highest floor of any account, or $1 if that is higher.
SELECT greatest(max(floor), $1) FROM trading.fill_archives;

-- name: raise_floor
-- Refuse fills of this account that are older than the floor from now on.
SELECT trading.raise_floor($1, $2, $3);

-- name: written
-- The files hold everything; what is left is to remove it from the table.
UPDATE trading.fill_archives SET phase = 'removing', fills = $3, first_at = $4
WHERE account_id = $1 AND floor = $2;

-- name: removed
-- The archiving is finished.
UPDATE trading.fill_archives SET phase = 'done' WHERE account_id = $1 AND floor = $2;

-- name: bounds
-- The first fill of an account before the floor, and how many there are.
SELECT min(exec_time) AS first, count(*) AS number FROM trading.fills
WHERE bot_id = (SELECT bot_id FROM trading.accounts WHERE account_id = $1) AND account_id = $1 AND exec_time < $2;

-- name: month
-- An account's fills of one month as they are archived.
SELECT f.*, f.extra_fees::text AS extra_fees_text, a.environment, a.user_id FROM trading.fills f JOIN trading.accounts a USING (account_id)
WHERE f.bot_id = a.bot_id AND f.account_id = $1 AND f.exec_time >= $2 AND f.exec_time < $3
ORDER BY f.exec_time, f.seq, f.category, f.symbol, f.exec_id;

-- name: ledgers
-- The ledgers that have fills before the floor.
SELECT DISTINCT category, symbol FROM trading.fills
WHERE bot_id = (SELECT bot_id FROM trading.accounts WHERE account_id = $1) AND account_id = $1 AND exec_time < $2;

-- name: quotes
-- The quotes around an account's fills of one month, as they are archived.
SELECT f.exec_time, q.* FROM trading.fill_quotes q
JOIN trading.fills f ON f.account_id = q.account_id AND f.category = 'linear' AND f.symbol = q.symbol AND f.exec_id = q.exec_id
WHERE f.bot_id = (SELECT bot_id FROM trading.accounts WHERE account_id = $1)
    AND f.account_id = $1 AND f.exec_time >= $2 AND f.exec_time < $3
ORDER BY f.exec_time, q.symbol, q.exec_id;

-- name: remove
-- Remove the oldest archived fills of one ledger, at most $5 of them, and the quotes around them; how many fills.
WITH gone AS (
    DELETE FROM trading.fills WHERE (account_id, category, symbol, exec_id) IN (
        SELECT account_id, category, symbol, exec_id FROM trading.fills
        WHERE account_id = $1 AND category = $2 AND symbol = $3 AND exec_time < $4 ORDER BY exec_time, seq LIMIT $5
    )
    RETURNING account_id, category, symbol, exec_id
), quotes AS (
    DELETE FROM trading.fill_quotes q USING gone
    WHERE gone.category = 'linear' AND q.account_id = gone.account_id AND q.symbol = gone.symbol AND q.exec_id = gone.exec_id
)
SELECT count(*) FROM gone;

-- name: folders
-- The folders that hold fills of an account in a span.
SELECT folder FROM trading.fill_archives
WHERE account_id = $1 AND fills > 0 AND floor > $2 AND first_at < $3 ORDER BY floor;

-- name: notices
-- How far the fills of a bot's accounts are archived, where a report from $2 on would miss them.
SELECT f.account_id, max(f.floor) AS floor, string_agg(DISTINCT f.folder, ', ') AS folders
FROM trading.fill_archives f JOIN trading.accounts a USING (account_id)
WHERE a.bot_id = $1 AND f.fills > 0 GROUP BY 1 HAVING max(f.floor) > $2 ORDER BY 1;
