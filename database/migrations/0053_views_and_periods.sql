-- Each view that has a function for a period is that function over all time: one body says what a figure means.

-- Looks up the trips of the days it shows only. Cumulative figures begin with the period.
CREATE OR REPLACE FUNCTION trading.daily_performance(p_bot text, p_from date, p_to date)
RETURNS TABLE (
    bot_id text, environment text, account_id smallint, day date, fills bigint, volume numeric, round_trips bigint, wins bigint,
    losses bigint, gross numeric, fees numeric, funding numeric, net numeric, cumulative_net numeric, drawdown numeric,
    best numeric, worst numeric, provisional boolean, settle_coin text
) LANGUAGE sql STABLE ROWS 400 AS $$
    SELECT p.bot_id, p.environment, p.account_id, p.day, p.fills, trim_scale(p.volume), coalesce(e.trips, 0), coalesce(e.wins, 0),
        coalesce(e.losses, 0), trim_scale(p.gross), trim_scale(p.fees), trim_scale(p.funding), trim_scale(p.net),
        trim_scale(p.cumulative), trim_scale(p.cumulative - greatest(0, p.peak)), trim_scale(e.best), trim_scale(e.worst),
        coalesce(p.day >= p.redo, false), p.settle_coin
    FROM (
        SELECT c.*, max(c.cumulative) OVER (PARTITION BY c.bot_id, c.environment, c.account_id, c.settle_coin ORDER BY c.day) AS peak
        FROM (
            SELECT a.bot_id, a.environment, a.account_id, a.redo, d.*,
                sum(d.net) OVER (PARTITION BY a.bot_id, a.environment, a.account_id, d.settle_coin ORDER BY d.day) AS cumulative
            FROM (
                SELECT x.bot_id, x.environment, x.account_id,
                    (SELECT (min(s.redo_time) AT TIME ZONE 'UTC')::date FROM trading.position_states s
                     WHERE s.account_id = x.account_id) AS redo
                FROM trading.accounts x WHERE x.bot_id = p_bot
                OFFSET 0
            ) a, LATERAL (
                SELECT t.day, t.settle_coin, sum(t.fills) AS fills, sum(t.volume) AS volume, sum(t.gross) AS gross,
                    sum(t.fees) AS fees, sum(t.funding) AS funding, sum(t.gross - t.fees + t.funding) AS net
                FROM trading.daily_totals t
                WHERE t.account_id = a.account_id AND t.day >= p_from AND t.day < p_to
                GROUP BY t.day, t.settle_coin
            ) d
        ) c
    ) p
    LEFT JOIN LATERAL (
        SELECT sum(t.trips) AS trips, sum(t.wins) AS wins, sum(t.losses) AS losses, max(t.best) AS best, min(t.worst) AS worst
        FROM trading.daily_exits t WHERE t.account_id = p.account_id AND t.day = p.day AND t.settle_coin = p.settle_coin
    ) e ON true
    ORDER BY p.account_id, p.day, p.settle_coin DESC
$$;

-- Collations as they were: those of a view's columns cannot be changed.
CREATE OR REPLACE VIEW trading.bot_daily_performance AS
SELECT b.bot AS bot_id, r.environment COLLATE "C" AS environment, r.account_id, r.day, r.fills, r.volume, r.round_trips, r.wins, r.losses,
    r.gross, r.fees, r.funding, r.net, r.cumulative_net, r.drawdown, r.best, r.worst, r.provisional,
    r.settle_coin COLLATE "C" AS settle_coin
FROM (SELECT DISTINCT a.bot_id FROM trading.accounts a) AS b (bot),
    LATERAL trading.daily_performance(b.bot, '-infinity', 'infinity') AS r;

CREATE OR REPLACE VIEW trading.exit_reason_analysis AS
SELECT b.bot AS bot_id, r.environment COLLATE "C" AS environment, r.account_id, r.exit_reason COLLATE "C" AS exit_reason, r.round_trips,
    r.share, r.win_rate, r.average_net, r.total_net, r.average_holding, r.profit_factor, r.settle_coin COLLATE "C" AS settle_coin
FROM (SELECT DISTINCT a.bot_id FROM trading.accounts a) AS b (bot),
    LATERAL trading.exit_reasons(b.bot, '-infinity', 'infinity') AS r;
