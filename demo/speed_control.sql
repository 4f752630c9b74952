-- name: last_bars
-- The last bar that each bot has decided on.
SELECT bot_id, (state ->> 'last_bar_ms')::bigint AS last_bar_ms FROM trading.strategy_state
WHERE name = 'core';
