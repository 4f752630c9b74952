-- name: register_account
-- The number of the account of this key, made at its first use.
SELECT trading.register_account($1, $2, $3);

-- name: lock_account
-- One run at a time for an account, whatever process it is in; freed with the session.
SELECT pg_try_advisory_lock(415725002, $1);

-- name: unlock_account
-- Let the next run begin.
SELECT pg_advisory_unlock(415725002, $1);

-- name: coverage
-- The ranges of one kind of history that were read to their end.
SELECT from_time, to_time FROM trading.sync_coverage WHERE account_id = $1 AND kind = $2 ORDER BY from_time;

-- name: cover
-- A range was read to its end: it and the ranges that it overlaps or touches become one.
WITH touching AS (
    DELETE FROM trading.sync_coverage WHERE account_id = $1 AND kind = $2 AND from_time <= $4 AND to_time >= $3
    RETURNING from_time, to_time
)
INSERT INTO trading.sync_coverage (account_id, kind, from_time, to_time, read_at)
SELECT $1, $2, least($3, min(from_time)), greatest($4, max(to_time)), $5 FROM touching;

-- name: trades_of_orders
-- What is stored of these closing orders.
SELECT order_id, updated_at, closed_size, exit_value, ordinal, symbol, side, exec_type, order_type, order_price, qty,
    entry_value, entry_price, exit_price, fill_count, leverage, gross, open_fee, close_fee, funding, closed_pnl, created_at
FROM trading.completed_trades WHERE account_id = $1 AND order_id = ANY ($2::text[]);

-- name: trades_of_window
-- What is stored of the closing orders made in a range.
SELECT order_id, updated_at, closed_size, exit_value, ordinal, symbol, side, exec_type, order_type, order_price, qty,
    entry_value, entry_price, exit_price, fill_count, leverage, gross, open_fee, close_fee, funding, closed_pnl, created_at
FROM trading.completed_trades
WHERE account_id = $1 AND created_at >= $2 AND created_at < $3 AND ($4::text IS NULL OR symbol = $4);

-- name: insert_trades
-- Trades that were not there.
INSERT INTO trading.completed_trades (
    account_id, bot_id, category, order_id, updated_at, closed_size, exit_value, ordinal, symbol, side, exec_type,
    order_type, order_price, qty, entry_value, entry_price, exit_price, fill_count, leverage, gross, open_fee, close_fee,
    funding, closed_pnl, created_at
)
SELECT $1, $2, 'linear', * FROM unnest(
    $3::text[], $4::timestamptz[], $5::numeric[], $6::numeric[], $7::int2[], $8::text[], $9::text[], $10::text[],
    $11::text[], $12::numeric[], $13::numeric[], $14::numeric[], $15::numeric[], $16::numeric[], $17::int4[],
    $18::numeric[], $19::numeric[], $20::numeric[], $21::numeric[], $22::numeric[], $23::numeric[], $24::timestamptz[]
);

-- name: confirm_trades
-- Trades that Bybit has shown again, unchanged.
UPDATE trading.completed_trades t SET last_seen_at = $7
FROM unnest($2::text[], $3::timestamptz[], $4::numeric[], $5::numeric[], $6::int2[])
    AS k (order_id, updated_at, closed_size, exit_value, ordinal)
WHERE t.account_id = $1 AND (t.order_id, t.updated_at, t.closed_size, t.exit_value, t.ordinal)
    = (k.order_id, k.updated_at, k.closed_size, k.exit_value, k.ordinal);

-- name: correct_trade
-- A trade that Bybit tells differently now; what was joined from our fills is joined again.
UPDATE trading.completed_trades SET
    order_id = $7, updated_at = $8, closed_size = $9, exit_value = $10, ordinal = $11, symbol = $12, side = $13,
    exec_type = $14, order_type = $15, order_price = $16, qty = $17, entry_value = $18, entry_price = $19,
    exit_price = $20, fill_count = $21, leverage = $22, gross = $23, open_fee = $24, close_fee = $25, funding = $26,
    closed_pnl = $27, created_at = $28, entry_time = NULL, exit_reason = NULL, order_link_id = NULL, last_seen_at = now()
WHERE account_id = $1 AND order_id = $2 AND updated_at = $3 AND closed_size = $4 AND exit_value = $5 AND ordinal = $6;

-- name: note_correction
-- What a trade was before it was corrected, and what it is now.
INSERT INTO trading.reconciliation_issues (
    account_id, bot_id, kind, subject, symbol, ours, theirs, explanation, state, first_seen_at, last_seen_at, resolved_at
)
VALUES (
    $1, $2, 'closed_pnl_corrected', $3, $4, $5, $6, 'Bybit told it differently later; the trade was corrected.',
    'resolved', $7, $7, $7
)
ON CONFLICT (account_id, kind, subject) DO UPDATE SET
    ours = excluded.ours, theirs = excluded.theirs, last_seen_at = excluded.last_seen_at, resolved_at = excluded.resolved_at;

-- name: join_fills
-- Entry time, exit reason and our order id of the trades since $2 that lack them, or whose round trip may have changed
-- since $3: from the last closing fill of the order, and from the round trip (or the open position) that fill belongs to.
UPDATE trading.completed_trades t SET
    entry_time = found.entry_time, exit_reason = found.reason, order_link_id = found.order_link_id
FROM (
    SELECT c.order_id, c.updated_at, c.closed_size, c.exit_value, c.ordinal, f.reason, f.order_link_id,
        CASE
            WHEN trip.closed_at IS NOT NULL THEN CASE WHEN NOT trip.from_opening THEN trip.opened_at END
            WHEN s.opened_at <= f.exec_time AND s.is_long = (f.side = 'Sell') AND NOT s.from_opening THEN s.opened_at
        END AS entry_time
    FROM trading.completed_trades c
    JOIN LATERAL (
        SELECT * FROM trading.fills
        WHERE account_id = $1 AND category = c.category AND symbol = c.symbol AND order_id = c.order_id
            AND exec_time BETWEEN c.created_at - interval '1 minute' AND c.updated_at + interval '1 minute'
            AND exec_type <> 'Funding' AND (closed_size IS NULL OR closed_size > 0)
        ORDER BY exec_time DESC, seq DESC, trading.fill_rank(closed_size, qty) DESC, exec_id DESC LIMIT 1
    ) f ON true
    LEFT JOIN LATERAL (
        SELECT r.opened_at, r.closed_at, r.from_opening FROM trading.round_trips r
        WHERE r.account_id = $1 AND r.category = c.category AND r.symbol = c.symbol
            AND r.leg = f.leg AND r.is_long = (f.side = 'Sell')
            AND (r.closed_at, r.closed_seq) >= (f.exec_time, f.seq)
            AND r.opened_at <= f.exec_time
        ORDER BY r.closed_at, r.closed_seq LIMIT 1
    ) trip ON true
    LEFT JOIN trading.position_states s ON s.account_id = $1 AND s.category = c.category AND s.symbol = c.symbol
        AND s.leg = f.leg
    WHERE c.account_id = $1 AND c.bot_id = $4 AND c.updated_at >= $2
        AND (c.exit_reason IS NULL OR c.entry_time IS NULL OR c.updated_at >= $3)
) found
WHERE t.account_id = $1 AND (t.order_id, t.updated_at, t.closed_size, t.exit_value, t.ordinal)
    = (found.order_id, found.updated_at, found.closed_size, found.exit_value, found.ordinal)
    AND (t.entry_time, t.exit_reason, t.order_link_id) IS DISTINCT FROM (found.entry_time, found.reason, found.order_link_id);

-- name: closes_without_trade
-- Closing orders of our fills in a range whose closed quantity is not all in the closed trades.
SELECT f.order_id, f.symbol, max(f.exec_time) AS exec_time, sum(f.closed_size) AS closed_size,
    (SELECT o.created_at FROM trading.orders o WHERE o.account_id = $1 AND o.order_id = f.order_id) AS created_at
FROM trading.fills f
WHERE f.account_id = $1 AND f.bot_id = $2 AND f.exec_time >= $3 AND f.exec_time < $4 AND f.category = 'linear'
    AND f.closed_size > 0 AND f.exec_type <> 'Funding'
GROUP BY f.order_id, f.symbol
HAVING sum(f.closed_size) > coalesce((
    SELECT sum(t.closed_size) FROM trading.completed_trades t WHERE t.account_id = $1 AND t.order_id = f.order_id
), 0)
ORDER BY exec_time;

-- name: insert_transfers
-- Money that moved without a trade.
INSERT INTO trading.transfers (account_id, log_id, trade_id, type, currency, amount, balance_after, transferred_at)
SELECT $1, * FROM unnest(
    $2::text[], $3::text[], $4::text[], $5::text[], $6::numeric[], $7::numeric[], $8::timestamptz[]
)
ON CONFLICT DO NOTHING;

-- name: reject_message
-- A row that could not be read, whole.
INSERT INTO audit.rejected_messages (source, account_id, bot_id, topic, fault, message)
VALUES ('trade_sync_service', $1, $2, $3, $4, $5);

-- name: begin_run
-- A run begins.
INSERT INTO trading.sync_runs (account_id, kind) VALUES ($1, $2) RETURNING run_id;

-- name: end_run
-- How a run ended.
UPDATE trading.sync_runs SET finished_at = now(), rows_read = $2, rows_new = $3, outcome = $4, detail = $5
WHERE run_id = $1;

-- name: end_killed_runs
-- Runs of this account that never ended: whoever holds the lock knows that they were killed.
UPDATE trading.sync_runs SET outcome = 'interrupted', detail = 'The process ended before the run did.'
WHERE account_id = $1 AND outcome IS NULL;

-- name: roll_up_equity
-- Thin snapshots of equity that are older than a week to four an hour; the second value bounds how far back to look.
SELECT trading.roll_up_equity($1, p_back => $2);
