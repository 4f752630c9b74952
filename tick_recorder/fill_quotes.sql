-- name: unmeasured
-- The oldest trades in the given symbols, each from its own time on, whose quotes are not stored yet.
SELECT f.account_id, f.symbol, f.exec_id, f.exec_time
FROM trading.accounts AS a
CROSS JOIN unnest($2::text[], $3::timestamptz[], $4::timestamptz[]) AS wanted (symbol, since, until)
JOIN trading.fills AS f ON f.account_id = a.account_id AND f.category = 'linear' AND f.symbol = wanted.symbol
    AND f.exec_time >= wanted.since AND f.exec_time < wanted.until
WHERE a.environment = ANY($1::text[]) AND f.exec_type = 'Trade' AND NOT EXISTS (
    SELECT FROM trading.fill_quotes AS q
    WHERE q.account_id = f.account_id AND q.symbol = f.symbol AND q.exec_id = f.exec_id)
ORDER BY f.exec_time
LIMIT $5;

-- name: keep
-- Store the quotes around a trade; a row that is there stays.
INSERT INTO trading.fill_quotes (account_id, symbol, exec_id, mid, spread, mid_1s, mid_5s, mid_30s)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT DO NOTHING;
