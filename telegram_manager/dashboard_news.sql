-- name: now
-- The database's clock.
SELECT now();

-- name: commands
-- Commands that the dashboard finished since a moment, with who gave them.
SELECT c.issuer, c.name, c.arguments, c.outcome, coalesce(c.answer, '') AS answer, c.finished_at,
    coalesce((SELECT s.name FROM audit.dashboard_sessions AS s WHERE s.person::text = c.issuer ORDER BY s.created_at DESC LIMIT 1), c.issuer) AS who
FROM audit.commands AS c
WHERE c.source = 'dashboard' AND c.finished_at > $1 AND c.outcome IN ('done', 'failed')
ORDER BY c.finished_at LIMIT $2;
