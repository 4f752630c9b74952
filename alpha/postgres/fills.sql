-- name: recompute_step
-- Recompute one step of what late fills changed; null when nothing waits.
SELECT done FROM trading.recompute_step();
