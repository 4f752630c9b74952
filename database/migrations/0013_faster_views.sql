-- Figures of a few days must not read those of all days: the day moves to the front of the keys, and the daily view looks
-- up the trips of the days it shows only. A condition on the bot or account reaches the tables below.

ALTER TABLE trading.daily_totals DROP CONSTRAINT daily_totals_pkey, ADD PRIMARY KEY (account_id, day, category, symbol);
ALTER TABLE trading.daily_exits DROP CONSTRAINT daily_exits_pkey, ADD PRIMARY KEY (account_id, day, category, symbol, exit_reason);

CREATE OR REPLACE VIEW trading.bot_daily_performance AS
SELECT p.bot_id, p.environment, p.account_id, p.day, p.fills, trim_scale(p.volume) AS volume, coalesce(e.trips, 0) AS round_trips,
    coalesce(e.wins, 0) AS wins, coalesce(e.losses, 0) AS losses, trim_scale(p.gross) AS gross, trim_scale(p.fees) AS fees,
    trim_scale(p.funding) AS funding, trim_scale(p.net) AS net, trim_scale(p.cumulative) AS cumulative_net,
    trim_scale(p.cumulative - greatest(0, p.peak)) AS drawdown, trim_scale(e.best) AS best, trim_scale(e.worst) AS worst,
    coalesce(p.day >= p.redo, false) AS provisional
FROM (
    SELECT c.*, max(c.cumulative) OVER (PARTITION BY c.bot_id, c.environment, c.account_id ORDER BY c.day) AS peak
    FROM (
        SELECT a.bot_id, a.environment, a.account_id, a.redo, d.*,
            sum(d.net) OVER (PARTITION BY a.bot_id, a.environment, a.account_id ORDER BY d.day) AS cumulative
        FROM (
            SELECT x.bot_id COLLATE "default" AS bot_id, x.environment COLLATE "default" AS environment, x.account_id,
                (SELECT (min(s.redo_time) AT TIME ZONE 'UTC')::date FROM trading.position_states s
                 WHERE s.account_id = x.account_id) AS redo
            FROM trading.accounts x
            OFFSET 0
        ) a, LATERAL (
            SELECT t.day, sum(t.fills) AS fills, sum(t.volume) AS volume, sum(t.gross) AS gross, sum(t.fees) AS fees,
                sum(t.funding) AS funding, sum(t.gross - t.fees + t.funding) AS net
            FROM trading.daily_totals t WHERE t.account_id = a.account_id GROUP BY t.day
        ) d
    ) c
) p
LEFT JOIN LATERAL (
    SELECT sum(t.trips) AS trips, sum(t.wins) AS wins, sum(t.losses) AS losses, max(t.best) AS best, min(t.worst) AS worst
    FROM trading.daily_exits t WHERE t.account_id = p.account_id AND t.day = p.day
) e ON true;

CREATE OR REPLACE FUNCTION trading.daily_performance(p_bot text, p_from date, p_to date)
RETURNS TABLE (
    bot_id text, environment text, account_id smallint, day date, fills bigint, volume numeric, round_trips bigint, wins bigint,
    losses bigint, gross numeric, fees numeric, funding numeric, net numeric, cumulative_net numeric, drawdown numeric,
    best numeric, worst numeric, provisional boolean
) LANGUAGE sql STABLE ROWS 400 AS $$
    SELECT c.bot_id, c.environment, c.account_id, c.day, c.fills, trim_scale(c.volume), c.round_trips, c.wins, c.losses,
        trim_scale(c.gross), trim_scale(c.fees), trim_scale(c.funding), trim_scale(c.net), trim_scale(c.cumulative),
        trim_scale(c.cumulative - greatest(0, max(c.cumulative) OVER (PARTITION BY c.account_id ORDER BY c.day))),
        trim_scale(c.best), trim_scale(c.worst), coalesce(c.day >= c.redo, false)
    FROM (
        SELECT a.bot_id, a.environment, a.redo, a.account_id, d.*,
            sum(d.net) OVER (PARTITION BY a.account_id ORDER BY d.day) AS cumulative
        FROM (
            SELECT x.*, (SELECT (min(s.redo_time) AT TIME ZONE 'UTC')::date FROM trading.position_states s
                         WHERE s.account_id = x.account_id) AS redo
            FROM trading.accounts x WHERE x.bot_id = p_bot
            OFFSET 0
        ) a, LATERAL trading.account_days(a.account_id, p_from, p_to) d
    ) c
    ORDER BY c.account_id, c.day
$$;

CREATE OR REPLACE VIEW trading.exit_reason_analysis AS
SELECT a.bot_id COLLATE "default" AS bot_id, a.environment COLLATE "default" AS environment, a.account_id,
    e.exit_reason COLLATE "default" AS exit_reason, e.trips::bigint AS round_trips,
    round(e.trips / sum(e.trips) OVER (PARTITION BY a.bot_id COLLATE "default", a.environment COLLATE "default", a.account_id), 4)
        AS share,
    round(e.wins / e.trips, 4) AS win_rate, round(e.net / e.trips, 8) AS average_net, trim_scale(e.net) AS total_net,
    make_interval(secs => (round(e.held_ms / e.trips) / 1000.0)::double precision) AS average_holding,
    round(e.won / nullif(-e.lost, 0), 4) AS profit_factor
FROM trading.accounts a, LATERAL (
    SELECT d.exit_reason, sum(d.trips)::numeric AS trips, sum(d.wins)::numeric AS wins,
        sum(d.gross - d.fees + d.funding) AS net, sum(d.won) AS won, sum(d.lost) AS lost, sum(d.held_ms) AS held_ms
    FROM trading.daily_exits d
    WHERE d.account_id = a.account_id
    GROUP BY d.exit_reason
    OFFSET 0
) e
ORDER BY a.account_id, e.trips DESC, e.exit_reason;
