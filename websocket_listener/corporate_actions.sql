-- name: pending
-- Corporate actions whose adjustment of a position is not known yet, the first of each symbol and leg.
SELECT DISTINCT ON (f.symbol, f.leg) f.symbol, f.leg, f.exec_id, f.exec_time, f.seq, f.price
FROM trading.fills f
LEFT JOIN trading.position_adjustments a USING (account_id, category, symbol, exec_id)
WHERE f.account_id = $1 AND f.category = 'linear' AND f.exec_type = 'CorporateAction' AND a.exec_id IS NULL
    AND f.exec_id <> ALL ($2::text[])
ORDER BY f.symbol, f.leg, f.exec_time DESC, f.seq DESC;

-- name: traded_since
-- What was traded of a symbol after a corporate action and up to a position.
SELECT coalesce(sum(CASE WHEN side = 'Buy' THEN qty ELSE -qty END), 0) FROM trading.fills
WHERE account_id = $1 AND category = 'linear' AND symbol = $2 AND leg = $3 AND exec_type = ANY ($4)
    AND (exec_time, seq) > ($5, $6) AND seq <= $7;

-- name: qty_before
-- The position before an action.
SELECT qty_before FROM trading.position_adjustments
WHERE account_id = $1 AND category = 'linear' AND symbol = $2 AND exec_id = $3;

-- name: add
-- Add the adjustment of a position, and recompute its ledger.
SELECT trading.add_adjustment($1, $2, $3, $4, $5, $6);
