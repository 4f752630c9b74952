-- name: renew_many
-- Renew leases that are still this holder's; gives their names.
UPDATE trading.listener_leases AS l SET expires_at = clock_timestamp() + make_interval(secs => $2)
FROM unnest($3::text[], $4::bigint[]) AS due(name, token)
WHERE l.holder = $1 AND l.name = due.name AND l.token = due.token RETURNING l.name;

-- name: newest
-- The newest token of an account's lease, which does not change hands until the transaction ends.
SELECT token FROM trading.listener_leases WHERE name = $1 FOR SHARE;
