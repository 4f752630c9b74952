-- name: last_trades
-- The newest round trips of these accounts.
SELECT t.* FROM unnest($1::text[], $2::smallint[]) AS wanted (bot_id, account_id)
CROSS JOIN LATERAL (
    SELECT * FROM trading.position_summaries
    WHERE bot_id = wanted.bot_id AND account_id = wanted.account_id ORDER BY closed_at DESC LIMIT $3
) AS t
ORDER BY t.closed_at DESC LIMIT $3;

-- name: trades
-- The round trips of these accounts that closed in a period.
SELECT * FROM trading.position_summaries
WHERE bot_id = ANY($1) AND account_id = ANY($2) AND closed_at >= $3 AND closed_at < $4
ORDER BY closed_at;

-- name: snapshot_points
-- The equity curve from snapshots; it begins with each account's last snapshot before the period, if there is one.
WITH seen AS (
    SELECT a.account_id, before.eve, within.first, within.last
    FROM unnest($1::smallint[]) AS a (account_id), LATERAL (
        SELECT max(taken_at) AS eve FROM trading.equity_snapshots
        WHERE account_id = a.account_id AND coin = $5 AND taken_at < $2
    ) AS before, LATERAL (
        SELECT min(taken_at) AS first, max(taken_at) AS last FROM trading.equity_snapshots
        WHERE account_id = a.account_id AND coin = $5 AND taken_at >= $2 AND taken_at < $3
    ) AS within
), bounds AS (
    SELECT min(CASE WHEN eve IS NULL THEN first ELSE $2 END) AS first, max(last) AS last FROM seen
), places AS (
    SELECT n AS place, first + greatest(last - first, interval '1 ms') * n / $4::int AS until
    FROM bounds, generate_series(0, $4::int) AS n WHERE last IS NOT NULL
)
SELECT p.place, a.account_id, greatest(s.taken_at, $2) AS taken_at, s.equity
FROM places AS p CROSS JOIN seen AS a, LATERAL (
    SELECT taken_at, equity FROM trading.equity_snapshots
    WHERE account_id = a.account_id AND coin = $5 AND taken_at >= coalesce(a.eve, $2)
        AND taken_at <= CASE WHEN p.place = 0 THEN coalesce(a.eve, p.until) ELSE p.until END
    ORDER BY taken_at DESC LIMIT 1
) AS s
ORDER BY p.place, s.taken_at;

-- name: daily_points
-- The equity curve from daily rows, each $5th day counted back from the last one; it begins with each account's last snapshot
-- before the period, if there is one.
SELECT day - DATE '1970-01-01' AS place, account_id, last_at AS taken_at, last AS equity
FROM trading.daily_equity
WHERE account_id = ANY($1::smallint[]) AND coin = $4 AND day >= $2 AND day < $3 AND ($3::date - 1 - day) % $5::int = 0
UNION ALL
SELECT s.place, a.account_id, s.taken_at, s.equity
FROM unnest($1::smallint[]) AS a (account_id), LATERAL (
    (
        SELECT $2::date - 1 - DATE '1970-01-01' AS place, $2::date::timestamp AT TIME ZONE 'UTC' AS taken_at, last AS equity
        FROM trading.daily_equity WHERE account_id = a.account_id AND coin = $4 AND day < $2 ORDER BY day DESC LIMIT 1
    ) UNION ALL (
        SELECT day - 1 - DATE '1970-01-01', first_at, first
        FROM trading.daily_equity WHERE account_id = a.account_id AND coin = $4 AND day >= $2 AND day < $3 ORDER BY day LIMIT 1
    ) ORDER BY place LIMIT 1
) AS s
ORDER BY place, taken_at;

-- name: first_day_of_equity
-- The first day within a period of which these accounts have equity.
SELECT min(f.day) FROM unnest($1::smallint[]) AS a (account_id), LATERAL (
    SELECT day FROM trading.daily_equity WHERE account_id = a.account_id AND coin = $4 AND day >= $2 AND day < $3
    ORDER BY day LIMIT 1
) AS f;

-- name: by_period
-- Totals of each bot by day, week or month.
SELECT wanted.bot_id, date_trunc($5, d.day::timestamp)::date AS start, sum(d.fills)::bigint AS fills,
       sum(d.round_trips)::bigint AS trips, sum(d.wins)::bigint AS wins, sum(d.losses)::bigint AS losses,
       trim_scale(sum(d.volume)) AS volume, trim_scale(sum(d.gross)) AS gross, trim_scale(sum(d.fees)) AS fees,
       trim_scale(sum(d.funding)) AS funding, trim_scale(sum(d.net)) AS net, d.settle_coin AS coin
FROM unnest($1::text[], $2::smallint[]) AS wanted (bot_id, account_id)
CROSS JOIN LATERAL trading.account_days(wanted.account_id, $3, $4) AS d
GROUP BY wanted.bot_id, start, coin;

-- name: day_nets
-- The net of all these accounts together, by day and settle coin.
SELECT d.day AS start, d.settle_coin AS coin, trim_scale(sum(d.gross) - sum(d.fees) + sum(d.funding)) AS net
FROM trading.daily_totals AS d
WHERE d.account_id = ANY($1::smallint[]) AND d.day >= $2 AND d.day < $3
GROUP BY d.day, d.settle_coin ORDER BY d.day, d.settle_coin DESC;
