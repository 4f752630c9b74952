-- name: fills
-- The newest executions of these accounts.
SELECT f.* FROM unnest($1::text[], $2::smallint[]) AS wanted (bot_id, account_id)
CROSS JOIN LATERAL (
    SELECT bot_id, exec_time, symbol, side, exec_type, reason, qty, price, value, fee, fee_currency, is_maker, exec_id, seq,
        closed_size
    FROM trading.fills WHERE bot_id = wanted.bot_id AND account_id = wanted.account_id
    ORDER BY exec_time DESC LIMIT $3
) AS f
ORDER BY f.exec_time DESC, f.seq DESC, trading.fill_rank(f.closed_size, f.qty) DESC, f.exec_id DESC LIMIT $3;

-- name: account_days
-- The days of these accounts.
SELECT wanted.account_id AS wanted_id, found.* FROM unnest($1::smallint[]) AS wanted (account_id)
CROSS JOIN LATERAL trading.account_days(wanted.account_id, $2, $3) AS found;

-- name: wishes
-- What the operator wishes of each bot.
SELECT bot_id, wish FROM trading.bots WHERE active;

-- name: wish
-- What the operator wishes of a bot, since when and at whose word.
SELECT wish, coalesce(wish_by, '') AS by, wish_at FROM trading.bots WHERE bot_id = $1;

-- name: set_wish
-- Change what is wished of a bot; gives what was wished before.
UPDATE trading.bots AS b SET wish = $2, wish_by = $3, wish_at = now() FROM trading.bots AS before
WHERE b.bot_id = $1 AND before.bot_id = b.bot_id RETURNING before.wish;

-- name: halts
-- Halts in force for these bots or for all.
SELECT bot_id, symbol, kind, reason, created_at FROM trading.halts
WHERE lifted_at IS NULL AND (bot_id IS NULL OR bot_id = ANY($1)) ORDER BY created_at;

-- name: account_settings
-- The settings of an account at Bybit that the listener has seen.
SELECT name, value FROM trading.account_settings WHERE account_id = $1;

-- name: issues
-- Open differences of these bots, and figures that other products explain; newest first.
SELECT issue_id, bot_id, kind, symbol, subject, ours::text, theirs::text, explanation, first_seen_at
FROM trading.reconciliation_issues
WHERE (state = 'open' OR (state = 'explained' AND kind = 'outside_figures')) AND bot_id = ANY($1)
ORDER BY first_seen_at DESC LIMIT $2;

-- name: sync_runs
-- The last run of each kind for each account, and how far its history was read.
SELECT DISTINCT ON (a.account_id, r.kind) a.bot_id, r.kind, r.started_at, r.finished_at,
       coalesce(r.outcome, 'running') AS outcome, r.rows_new, coalesce(r.detail, '') AS detail,
       c.covered_from, c.covered_to
FROM trading.accounts AS a
JOIN trading.sync_runs AS r ON r.account_id = a.account_id
LEFT JOIN LATERAL (
    SELECT min(from_time) AS covered_from, max(to_time) AS covered_to
    FROM trading.sync_coverage WHERE account_id = a.account_id AND kind = r.kind
) AS c ON true
WHERE a.bot_id = ANY($1) AND r.started_at > now() - interval '30 days'
ORDER BY a.account_id, r.kind, r.started_at DESC;

-- name: alerts
-- The newest alerts.
SELECT stream_id, raised_at, level, bot_id, source, code, message, remedy FROM audit.alerts
ORDER BY raised_at DESC LIMIT $1;

-- name: commands
-- The newest attempts of commands.
SELECT issued_at, source, issuer, issuer_role, name, bot_id, outcome, answer, arguments
FROM audit.commands ORDER BY issued_at DESC LIMIT $1;

-- name: drift
-- What Bybit sent and we do not know, newest first.
SELECT kind, place, name, first_seen, service, example FROM audit.venue_drift
WHERE $2::timestamptz IS NULL OR first_seen >= $2 ORDER BY first_seen DESC, kind, place, name
LIMIT $1;
