-- name: count_fills
-- How many fills are stored from a moment on.
SELECT count(*) FROM trading.fills
WHERE category = 'linear' AND exec_time >= coalesce($1, '-infinity'::timestamptz);

-- name: checkpoint
-- The newest checkpoint of a day before $5, as text: what a comparison or a recomputation begins with. Null for none.
SELECT c::text FROM trading.checkpoints c
WHERE account_id = $1 AND category = $2 AND symbol = $3 AND leg = $4 AND place_time < date_trunc('day', $5::timestamptz, 'UTC')
ORDER BY place_time DESC, place_seq DESC LIMIT 1;

-- name: export_snapshot
-- Let other connections read the same snapshot.
SELECT pg_export_snapshot();

-- name: ledgers
-- Every ledger, in an order that does not change.
SELECT * FROM trading.ledgers() ORDER BY 1, 2, 3, 4;

-- name: is_same_state
-- Whether the stored state equals the recomputed one ($5), but for how many fills came late.
SELECT to_jsonb(s) - 'late_fills' = to_jsonb($5::text::trading.position_states) - 'late_fills'
FROM trading.position_states s WHERE account_id = $1 AND category = $2 AND symbol = $3 AND leg = $4;

-- name: day_after
-- The first day that a recomputation from this state ($1, text) makes.
SELECT ((($1::text::trading.position_states).place_time) AT TIME ZONE 'UTC')::date + 1;

-- name: waits_from
-- From when on a ledger waits for its recomputation; null when it does not.
SELECT redo_time FROM trading.position_states
WHERE account_id = $1 AND category = $2 AND symbol = $3 AND leg = $4;

-- name: verify_step
-- Replay the next fills of a ledger and compare; changes nothing.
SELECT * FROM trading.verify_ledger_step($1, $2, $3, $4, $5, $6);

-- name: floor
-- The day from which an account's fills are not archived.
SELECT coalesce(trading.floor_of($1), '-infinity')::date;

-- name: exec_pnl
-- Round trips compared with Bybit's own P&L, how many differ by more than $1, and the largest difference.
SELECT count(*), count(*) FILTER (WHERE abs(c.difference) > $1), coalesce(max(abs(c.difference)), 0)
FROM trading.bots b, trading.exec_pnl_check(b.bot_id, '-infinity', 'infinity') c;

-- name: mark
-- Let a ledger be recomputed: without a moment ($5) from its first fill.
SELECT CASE WHEN $5::timestamptz IS NULL THEN trading.mark_for_recompute($1, $2, $3, $4)
    ELSE trading.mark_for_recompute($1, $2, $3, $4, $5) END;

-- name: recompute_step
-- Recompute the next fills of a ledger; how many were replayed, and whether it is done.
SELECT * FROM trading.recompute_ledger_step($1, $2, $3, $4, $5);
