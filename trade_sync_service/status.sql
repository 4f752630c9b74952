-- name: status
-- One row an account of these bots: what was read, what is stored, how the last run ended, what differs.
SELECT a.bot_id AS bot, a.environment,
    c.covered_from, c.covered_to, coalesce(c.ranges - 1, 0)::int AS gaps,
    (SELECT count(*) FROM trading.completed_trades t WHERE t.account_id = a.account_id)::int AS trades,
    r.started_at AS last_run_at, r.outcome AS last_outcome, r.detail AS last_detail,
    (SELECT count(*) FROM trading.reconciliation_issues i
     WHERE i.account_id = a.account_id AND i.state = 'open')::int AS open_differences
FROM trading.accounts a
LEFT JOIN LATERAL (
    SELECT min(from_time) AS covered_from, max(to_time) AS covered_to, count(*) AS ranges
    FROM trading.sync_coverage s WHERE s.account_id = a.account_id AND s.kind = 'closed_pnl'
    HAVING count(*) > 0
) c ON true
LEFT JOIN LATERAL (
    SELECT started_at, outcome, detail FROM trading.sync_runs s
    WHERE s.account_id = a.account_id ORDER BY started_at DESC, run_id DESC LIMIT 1
) r ON true
WHERE a.bot_id = ANY ($1::text[])
ORDER BY a.bot_id, a.environment, a.account_id;
