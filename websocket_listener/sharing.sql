-- name: beat
-- This listener lives; how many others do.
WITH own AS (
    INSERT INTO trading.listener_members (name, expires_at)
    VALUES ($1, clock_timestamp() + make_interval(secs => $2))
    ON CONFLICT (name) DO UPDATE SET expires_at = excluded.expires_at RETURNING name
)
SELECT count(*) AS others FROM trading.listener_members WHERE name <> $1 AND expires_at > clock_timestamp();

-- name: leave
-- This listener ends; those that ended a day ago are forgotten with it.
DELETE FROM trading.listener_members WHERE name = $1 OR expires_at < clock_timestamp() - interval '1 day';
