-- name: fills_between
-- Our fills of a range.
SELECT symbol, exec_id, order_id, coalesce(order_link_id, ''), side, exec_type, price, qty, value, fee, closed_size,
    is_maker, exec_time, leg
FROM trading.fills
WHERE account_id = $1 AND bot_id = $2 AND category = 'linear' AND exec_time >= $3 AND exec_time < $4;

-- name: fills_of
-- Those of some executions that are ours by now.
SELECT symbol, exec_id FROM trading.fills
WHERE account_id = $1 AND category = 'linear'
    AND (symbol, exec_id) IN (SELECT * FROM unnest($2::text[], $3::text[]));

-- name: record_begins
-- When our record of an account begins: its first fill, or the opening that was recorded before it; where older fills are
-- archived, at the floor.
SELECT greatest(trading.floor_of($1), least(
    (SELECT min(exec_time) FROM trading.fills WHERE account_id = $1 AND bot_id = $2),
    (SELECT min(as_of) FROM trading.opening_positions WHERE account_id = $1)
));

-- name: trades_closed_between
-- Closed trades by when they were closed, as stored.
SELECT order_id, updated_at, closed_size, exit_value, ordinal, symbol, side, exec_type, order_type, order_price, qty,
    entry_value, entry_price, exit_price, fill_count, leverage, gross, open_fee, close_fee, funding, closed_pnl, created_at
FROM trading.completed_trades
WHERE account_id = $1 AND bot_id = $2 AND updated_at >= $3 AND updated_at < $4;

-- name: trips_between
-- Round trips that ended in a range and are final.
SELECT r.symbol, r.opened_at, r.closed_at, r.closed_id, r.is_long, r.from_opening, r.gross - r.fees + r.funding AS net
FROM trading.round_trips r
LEFT JOIN trading.position_states s USING (account_id, category, symbol, leg)
WHERE r.account_id = $1 AND r.category = 'linear' AND r.closed_at >= $2 AND r.closed_at < $3
    AND (s.redo_time IS NULL OR r.closed_at < s.redo_time);

-- name: transfers_between
-- Transfers of a range.
SELECT log_id, trade_id, type, currency, amount, transferred_at FROM trading.transfers
WHERE account_id = $1 AND transferred_at >= $2 AND transferred_at < $3;

-- name: positions
-- The signed size that our books hold of each symbol and leg.
SELECT symbol, leg, CASE WHEN is_long THEN held ELSE -held END AS signed_size
FROM trading.position_states WHERE account_id = $1 AND category = 'linear';

-- name: hedged_symbols
-- Symbols with a ledger per leg.
SELECT DISTINCT symbol FROM trading.position_states WHERE account_id = $1 AND category = 'linear' AND leg <> 'both';

-- name: put_issue
-- A difference, once; true when it is new or has come back.
INSERT INTO trading.reconciliation_issues AS i (
    account_id, bot_id, kind, subject, symbol, ours, theirs, explanation, state, first_seen_at, last_seen_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
ON CONFLICT (account_id, kind, subject) DO UPDATE SET
    ours = excluded.ours, theirs = excluded.theirs, explanation = coalesce(excluded.explanation, i.explanation),
    state = CASE WHEN i.state = 'explained' THEN i.state ELSE excluded.state END,
    last_seen_at = excluded.last_seen_at, resolved_at = NULL
RETURNING (first_seen_at = last_seen_at) OR EXISTS (
    SELECT FROM trading.reconciliation_issues o WHERE o.issue_id = i.issue_id AND o.state = 'resolved'
);

-- name: issues_not_resolved
-- Differences that were found before and are not settled.
SELECT issue_id, kind, subject, coalesce(theirs ->> 'time_ms', ours ->> 'time_ms')::bigint AS time_ms
FROM trading.reconciliation_issues WHERE account_id = $1 AND state IN ('open', 'explained');

-- name: resolve_issues
-- Differences that are gone.
UPDATE trading.reconciliation_issues SET state = 'resolved', resolved_at = $2, last_seen_at = $2
WHERE issue_id = ANY ($1::bigint[]);

-- name: count_open
-- How many differences are open.
SELECT count(*) FROM trading.reconciliation_issues WHERE account_id = $1 AND state = 'open';
