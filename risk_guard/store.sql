-- name: save
-- Keep one state of the guard.
INSERT INTO trading.guard_state (account_id, name, state, updated_at)
SELECT $1, $2, $3, now()
ON CONFLICT (account_id, name) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at;

-- name: halt
-- A halt is in force once, even if two processes set it at the same time.
INSERT INTO trading.halts (account_id, bot_id, symbol, kind, reason, created_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING;

-- name: lift
-- Lift halts of a bot or of an author; a symbol that an operator has forbidden stays so and is allowed again by name.
UPDATE trading.halts SET lifted_at = now(), lifted_by = $3
WHERE lifted_at IS NULL AND kind <> 'blacklist' AND ($1::text IS NULL OR bot_id = $1) AND ($2::text IS NULL OR created_by = $2)
RETURNING halt_id;

-- name: halts_by
-- Whether a halt of this author is in force on any account at this time.
SELECT EXISTS (
    SELECT FROM trading.halts WHERE lifted_at IS NULL AND created_by = $1 AND (expires_at IS NULL OR expires_at > $2)
) AS found;

-- name: lift_symbol
-- Lift the halt of one kind on one symbol.
UPDATE trading.halts SET lifted_at = now(), lifted_by = $4
WHERE lifted_at IS NULL AND bot_id = $1 AND symbol = $2 AND kind = $3
RETURNING halt_id;

-- name: set_wish
-- What the guard wishes of a bot; one that the operator has stopped stays stopped.
UPDATE trading.bots SET wish = $2, wish_by = $3, wish_at = now()
WHERE bot_id = $1 AND wish <> $2 AND wish <> 'stopped';

-- name: take_bot_lease
-- Take the lease: whoever holds it cannot renew it, and the successor sees that it was not handed over.
UPDATE trading.bot_leases
SET holder = $2, token = greatest(token + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint),
    acquisitions = acquisitions + 1, acquired_at = clock_timestamp(), handed_over = false,
    expires_at = greatest(expires_at, clock_timestamp())
WHERE account_id = $1 RETURNING token;

-- name: register_account
-- The number of the account of this key, made at its first use.
SELECT trading.register_account($1, $2, $3) AS id;

-- name: sent
-- The ids of the last orders that the bot recorded as its own.
SELECT state -> 'sent' AS sent FROM trading.strategy_state WHERE account_id = $1 AND name = 'runtime';

-- name: positions
-- What the strategy remembers of its positions.
SELECT state FROM trading.strategy_state WHERE account_id = $1 AND name = 'positions';

-- name: load
-- One state of the guard.
SELECT state FROM trading.guard_state WHERE account_id = $1 AND name = $2;

-- name: load_all
-- The states of the guard whose names begin with this word.
SELECT state FROM trading.guard_state WHERE account_id = $1 AND split_part(name, ':', 1) = $2;

-- name: forget_closing
-- Forget a closing that is done, if it is still that of this command.
DELETE FROM trading.guard_state WHERE account_id = $1 AND name = $2 AND state ->> 'command_id' = $3;

-- name: begun
-- The commands whose closings are not finished.
SELECT state ->> 'command_id' AS id FROM trading.guard_state WHERE split_part(name, ':', 1) = 'closing';
