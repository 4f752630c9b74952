-- name: count_fills
-- How many fills are stored.
SELECT count(*) FROM trading.fills;

-- name: stored
-- Those of these executions that are stored.
SELECT exec_id FROM trading.fills WHERE exec_id = ANY($1);
