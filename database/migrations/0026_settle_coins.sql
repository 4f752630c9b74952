-- Figures per settle coin: USDT and USDC are never added. A fee in another coin than the settle coin (MNT) is kept apart.

-- Equity per coin.
ALTER TABLE trading.equity_snapshots
    ADD COLUMN coin text COLLATE "C" NOT NULL DEFAULT 'USDT',
    DROP CONSTRAINT equity_snapshots_pkey,
    ADD PRIMARY KEY (account_id, coin, taken_at);
COMMENT ON COLUMN trading.equity_snapshots.coin IS 'The settle coin of the amounts.';
COMMENT ON TABLE trading.equity_snapshots IS 'Equity of each account and settle coin over time, in that coin.';
ALTER TABLE trading.daily_equity
    ADD COLUMN coin text COLLATE "C" NOT NULL DEFAULT 'USDT',
    DROP CONSTRAINT daily_equity_pkey,
    ADD PRIMARY KEY (account_id, coin, day);
COMMENT ON COLUMN trading.daily_equity.coin IS 'The settle coin of the amounts.';

CREATE OR REPLACE FUNCTION trading.keep_equity() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n record;
    d trading.daily_equity;
    p record;
BEGIN
    FOR n IN
        SELECT account_id, coin, (taken_at AT TIME ZONE 'UTC')::date AS day, min(taken_at) AS first_at
        FROM inserted GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    LOOP
        SELECT * INTO d FROM trading.daily_equity WHERE account_id = n.account_id AND coin = n.coin AND day = n.day FOR UPDATE;
        IF NOT FOUND OR TG_OP = 'UPDATE' OR n.first_at <= d.last_at THEN
            -- a new day, a correction or a late snapshot: the day from nothing
            d := NULL;
            d.last_at := '-infinity';
        END IF;
        FOR p IN
            SELECT taken_at, equity FROM trading.equity_snapshots
            WHERE account_id = n.account_id AND coin = n.coin AND taken_at > d.last_at
                AND taken_at >= n.day::timestamp AT TIME ZONE 'UTC' AND taken_at < (n.day + 1)::timestamp AT TIME ZONE 'UTC'
            ORDER BY taken_at
        LOOP
            IF d.first IS NULL THEN
                d := ROW(n.account_id, n.day, p.taken_at, p.taken_at, p.equity, p.equity, p.equity, p.equity, 0, 0, n.coin);
            ELSE
                d.last_at := p.taken_at;
                d.last := p.equity;
                IF p.equity > d.high THEN
                    d.high := p.equity;
                ELSIF d.high - p.equity > d.fall OR (d.high > 0 AND d.high - p.equity > d.fall_share * d.high) THEN
                    d.fall := greatest(d.fall, d.high - p.equity);
                    IF d.high > 0 THEN
                        d.fall_share := greatest(d.fall_share, trunc((d.high - p.equity) / d.high, 12));
                    END IF;
                END IF;
                d.low := least(d.low, p.equity);
            END IF;
        END LOOP;
        INSERT INTO trading.daily_equity SELECT d.*
        ON CONFLICT (account_id, coin, day) DO UPDATE SET
            first_at = excluded.first_at, last_at = excluded.last_at, first = excluded.first, last = excluded.last,
            high = excluded.high, low = excluded.low, fall = excluded.fall, fall_share = excluded.fall_share;
    END LOOP;
    RETURN NULL;
END $$;

DROP VIEW trading.symbol_performance;
DROP FUNCTION trading.account_days(smallint, date, date), trading.daily_performance(text, date, date),
    trading.exit_reasons(text, date, date), trading.symbol_results(text, date, date), trading.bot_performance(text, date, date);

-- The days of one account within [p_from, p_to), per settle coin: totals and the trips that ended.
CREATE FUNCTION trading.account_days(p_account smallint, p_from date, p_to date)
RETURNS TABLE (
    day date, fills bigint, volume numeric, maker_volume numeric, round_trips bigint, wins bigint, losses bigint,
    gross numeric, fees numeric, funding numeric, net numeric, trip_net numeric, won numeric, lost numeric,
    best numeric, worst numeric, settle_coin text
) LANGUAGE sql STABLE ROWS 400 AS $$
    SELECT t.day, t.fills, t.volume, t.maker_volume, coalesce(e.trips, 0), coalesce(e.wins, 0), coalesce(e.losses, 0),
        t.gross, t.fees, t.funding, t.gross - t.fees + t.funding, coalesce(e.net, 0), coalesce(e.won, 0), coalesce(e.lost, 0),
        e.best, e.worst, t.settle_coin
    FROM (
        SELECT d.day, d.settle_coin, sum(d.fills) AS fills, sum(d.volume) AS volume, sum(d.maker_volume) AS maker_volume,
            sum(d.gross) AS gross, sum(d.fees) AS fees, sum(d.funding) AS funding
        FROM trading.daily_totals d
        WHERE d.account_id = p_account AND d.day >= p_from AND d.day < p_to
        GROUP BY d.day, d.settle_coin
    ) t
    LEFT JOIN (
        SELECT d.day, d.settle_coin, sum(d.trips) AS trips, sum(d.wins) AS wins, sum(d.losses) AS losses,
            sum(d.won) + sum(d.lost) AS net, sum(d.won) AS won, sum(d.lost) AS lost,
            max(d.best) AS best, min(d.worst) AS worst
        FROM trading.daily_exits d
        WHERE d.account_id = p_account AND d.day >= p_from AND d.day < p_to
        GROUP BY d.day, d.settle_coin
    ) e ON e.day = t.day AND e.settle_coin = t.settle_coin
    ORDER BY t.day, t.settle_coin DESC
$$;
COMMENT ON FUNCTION trading.account_days(smallint, date, date) IS 'The days of one account per settle coin, from the first day up to, not including, the last.';

-- Days of a bot in a period, [p_from, p_to); cumulative figures begin with the period.
CREATE FUNCTION trading.daily_performance(p_bot text, p_from date, p_to date)
RETURNS TABLE (
    bot_id text, environment text, account_id smallint, day date, fills bigint, volume numeric, round_trips bigint, wins bigint,
    losses bigint, gross numeric, fees numeric, funding numeric, net numeric, cumulative_net numeric, drawdown numeric,
    best numeric, worst numeric, provisional boolean, settle_coin text
) LANGUAGE sql STABLE ROWS 400 AS $$
    SELECT c.bot_id, c.environment, c.account_id, c.day, c.fills, trim_scale(c.volume), c.round_trips, c.wins, c.losses,
        trim_scale(c.gross), trim_scale(c.fees), trim_scale(c.funding), trim_scale(c.net), trim_scale(c.cumulative),
        trim_scale(c.cumulative - greatest(0, max(c.cumulative) OVER (PARTITION BY c.account_id, c.settle_coin ORDER BY c.day))),
        trim_scale(c.best), trim_scale(c.worst), coalesce(c.day >= c.redo, false), c.settle_coin
    FROM (
        SELECT a.bot_id, a.environment, a.redo, a.account_id, d.*,
            sum(d.net) OVER (PARTITION BY a.account_id, d.settle_coin ORDER BY d.day) AS cumulative
        FROM (
            SELECT x.*, (SELECT (min(s.redo_time) AT TIME ZONE 'UTC')::date FROM trading.position_states s
                         WHERE s.account_id = x.account_id) AS redo
            FROM trading.accounts x WHERE x.bot_id = p_bot
            OFFSET 0
        ) a, LATERAL trading.account_days(a.account_id, p_from, p_to) d
    ) c
    ORDER BY c.account_id, c.day, c.settle_coin DESC
$$;
COMMENT ON FUNCTION trading.daily_performance(text, date, date) IS 'trading.bot_daily_performance of one bot from the first day up to, not including, the last; cumulative figures begin with the period.';

-- Looks up the trips of the days it shows only; a condition on the bot or account reaches the tables below.
CREATE OR REPLACE VIEW trading.bot_daily_performance AS
SELECT p.bot_id, p.environment, p.account_id, p.day, p.fills, trim_scale(p.volume) AS volume, coalesce(e.trips, 0) AS round_trips,
    coalesce(e.wins, 0) AS wins, coalesce(e.losses, 0) AS losses, trim_scale(p.gross) AS gross, trim_scale(p.fees) AS fees,
    trim_scale(p.funding) AS funding, trim_scale(p.net) AS net, trim_scale(p.cumulative) AS cumulative_net,
    trim_scale(p.cumulative - greatest(0, p.peak)) AS drawdown, trim_scale(e.best) AS best, trim_scale(e.worst) AS worst,
    coalesce(p.day >= p.redo, false) AS provisional, p.settle_coin
FROM (
    SELECT c.*, max(c.cumulative) OVER (PARTITION BY c.bot_id, c.environment, c.account_id, c.settle_coin ORDER BY c.day) AS peak
    FROM (
        SELECT a.bot_id, a.environment, a.account_id, a.redo, d.*,
            sum(d.net) OVER (PARTITION BY a.bot_id, a.environment, a.account_id, d.settle_coin ORDER BY d.day) AS cumulative
        FROM (
            SELECT x.bot_id, x.environment, x.account_id,
                (SELECT (min(s.redo_time) AT TIME ZONE 'UTC')::date FROM trading.position_states s
                 WHERE s.account_id = x.account_id) AS redo
            FROM trading.accounts x
            OFFSET 0
        ) a, LATERAL (
            SELECT t.day, t.settle_coin, sum(t.fills) AS fills, sum(t.volume) AS volume, sum(t.gross) AS gross, sum(t.fees) AS fees,
                sum(t.funding) AS funding, sum(t.gross - t.fees + t.funding) AS net
            FROM trading.daily_totals t WHERE t.account_id = a.account_id GROUP BY t.day, t.settle_coin
        ) d
    ) c
) p
LEFT JOIN LATERAL (
    SELECT sum(t.trips) AS trips, sum(t.wins) AS wins, sum(t.losses) AS losses, max(t.best) AS best, min(t.worst) AS worst
    FROM trading.daily_exits t WHERE t.account_id = p.account_id AND t.day = p.day AND t.settle_coin = p.settle_coin
) e ON true;
COMMENT ON VIEW trading.bot_daily_performance IS 'One row for each bot, account, settle coin and UTC day with a fill, on cash basis: what happened that day.';
COMMENT ON COLUMN trading.bot_daily_performance.settle_coin IS 'The coin of every amount in the row.';

-- Exits of a bot in a period, [p_from, p_to), by reason.
CREATE FUNCTION trading.exit_reasons(p_bot text, p_from date, p_to date)
RETURNS TABLE (
    bot_id text, environment text, account_id smallint, exit_reason text, round_trips bigint, share numeric, win_rate numeric,
    average_net numeric, total_net numeric, average_holding interval, profit_factor numeric,
    settle_coin text
) LANGUAGE sql STABLE ROWS 10 AS $$
    SELECT a.bot_id, a.environment, a.account_id, e.exit_reason, e.trips::bigint,
        round(e.trips / sum(e.trips) OVER (PARTITION BY a.account_id, e.settle_coin), 4), round(e.wins / e.trips, 4),
        round(e.net / e.trips, 8), trim_scale(e.net), make_interval(secs => round(e.held_ms / e.trips) / 1000.0),
        round(e.won / nullif(-e.lost, 0), 4), e.settle_coin
    FROM trading.accounts a, LATERAL (
        SELECT d.exit_reason, d.settle_coin, sum(d.trips)::numeric AS trips, sum(d.wins)::numeric AS wins,
            sum(d.won) + sum(d.lost) AS net, sum(d.won) AS won, sum(d.lost) AS lost, sum(d.held_ms) AS held_ms
        FROM trading.daily_exits d
        WHERE d.account_id = a.account_id AND d.day >= p_from AND d.day < p_to
        GROUP BY d.exit_reason, d.settle_coin
        OFFSET 0
    ) e
    WHERE a.bot_id = p_bot
    ORDER BY a.account_id, e.settle_coin DESC, e.trips DESC, e.exit_reason
$$;
COMMENT ON FUNCTION trading.exit_reasons(text, date, date) IS 'trading.exit_reason_analysis of one bot from the first day up to, not including, the last.';

CREATE OR REPLACE VIEW trading.exit_reason_analysis AS
SELECT a.bot_id, a.environment, a.account_id, e.exit_reason, e.trips::bigint AS round_trips,
    round(e.trips / sum(e.trips) OVER (PARTITION BY a.bot_id, a.environment, a.account_id, e.settle_coin), 4)
        AS share,
    round(e.wins / e.trips, 4) AS win_rate, round(e.net / e.trips, 8) AS average_net, trim_scale(e.net) AS total_net,
    make_interval(secs => (round(e.held_ms / e.trips) / 1000.0)::double precision) AS average_holding,
    round(e.won / nullif(-e.lost, 0), 4) AS profit_factor, e.settle_coin
FROM trading.accounts a, LATERAL (
    SELECT d.exit_reason, d.settle_coin, sum(d.trips)::numeric AS trips, sum(d.wins)::numeric AS wins,
        sum(d.won) + sum(d.lost) AS net, sum(d.won) AS won, sum(d.lost) AS lost, sum(d.held_ms) AS held_ms
    FROM trading.daily_exits d
    WHERE d.account_id = a.account_id
    GROUP BY d.exit_reason, d.settle_coin
    OFFSET 0
) e
ORDER BY a.account_id, e.settle_coin DESC, e.trips DESC, e.exit_reason;
COMMENT ON COLUMN trading.exit_reason_analysis.settle_coin IS 'The coin of every amount in the row.';

-- Results of a bot in a period, [p_from, p_to), by symbol. P&L on cash basis; counts of the trips that ended.
CREATE FUNCTION trading.symbol_results(p_bot text, p_from date, p_to date)
RETURNS TABLE (
    bot_id text, environment text, account_id smallint, symbol text, fills bigint, volume numeric, maker_share numeric,
    round_trips bigint, win_rate numeric, profit_factor numeric, gross numeric, fees numeric, funding numeric, net numeric,
    best numeric, worst numeric, settle_coin text
) LANGUAGE sql STABLE ROWS 20 AS $$
    SELECT a.bot_id, a.environment, a.account_id, r.symbol, r.fills, trim_scale(r.volume),
        round(r.maker_volume / nullif(r.volume, 0), 4), coalesce(r.trips, 0), round(r.wins::numeric / nullif(r.trips, 0), 4),
        round(r.won / nullif(-r.lost, 0), 4), trim_scale(r.gross), trim_scale(r.fees), trim_scale(r.funding),
        trim_scale(r.gross - r.fees + r.funding), trim_scale(r.best), trim_scale(r.worst),
        trading.settle_coin(r.symbol)
    FROM trading.accounts a, LATERAL (
        SELECT t.*, e.trips, e.wins, e.won, e.lost, e.best, e.worst
        FROM (
            SELECT d.symbol, sum(d.fills) AS fills, sum(d.volume) AS volume, sum(d.maker_volume) AS maker_volume,
                sum(d.gross) AS gross, sum(d.fees) AS fees, sum(d.funding) AS funding
            FROM trading.daily_totals d
            WHERE d.account_id = a.account_id AND d.day >= p_from AND d.day < p_to
            GROUP BY d.symbol
        ) t
        LEFT JOIN (
            SELECT d.symbol, sum(d.trips) AS trips, sum(d.wins) AS wins, sum(d.won) AS won, sum(d.lost) AS lost,
                max(d.best) AS best, min(d.worst) AS worst
            FROM trading.daily_exits d
            WHERE d.account_id = a.account_id AND d.day >= p_from AND d.day < p_to
            GROUP BY d.symbol
        ) e ON e.symbol = t.symbol
        OFFSET 0
    ) r
    WHERE a.bot_id = p_bot
    ORDER BY a.account_id, r.symbol
$$;
COMMENT ON FUNCTION trading.symbol_results(text, date, date) IS 'trading.symbol_performance of one bot from the first day up to, not including, the last.';

CREATE VIEW trading.symbol_performance AS
SELECT r.* FROM (SELECT DISTINCT a.bot_id FROM trading.accounts a) AS b (bot),
    LATERAL trading.symbol_results(b.bot, '-infinity', 'infinity') AS r
WHERE r.bot_id = b.bot;
COMMENT ON VIEW trading.symbol_performance IS 'What each bot earned with each symbol.';
COMMENT ON COLUMN trading.symbol_performance.bot_id IS 'The bot.';
COMMENT ON COLUMN trading.symbol_performance.environment IS 'live, demo, testnet or simulated.';
COMMENT ON COLUMN trading.symbol_performance.account_id IS 'The account.';
COMMENT ON COLUMN trading.symbol_performance.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.symbol_performance.fills IS 'Trades.';
COMMENT ON COLUMN trading.symbol_performance.volume IS 'Sum of price * qty.';
COMMENT ON COLUMN trading.symbol_performance.maker_share IS 'Share of the volume traded as maker.';
COMMENT ON COLUMN trading.symbol_performance.round_trips IS 'Round trips that ended.';
COMMENT ON COLUMN trading.symbol_performance.win_rate IS 'Share with a net above 0.';
COMMENT ON COLUMN trading.symbol_performance.profit_factor IS 'Sum of winning nets / sum of losing nets; null without losses.';
COMMENT ON COLUMN trading.symbol_performance.gross IS 'P&L of the exits before fees and funding.';
COMMENT ON COLUMN trading.symbol_performance.fees IS 'Fees; positive is paid.';
COMMENT ON COLUMN trading.symbol_performance.funding IS 'Funding; positive is received.';
COMMENT ON COLUMN trading.symbol_performance.net IS 'gross - fees + funding.';
COMMENT ON COLUMN trading.symbol_performance.best IS 'Net of the best round trip.';
COMMENT ON COLUMN trading.symbol_performance.worst IS 'Net of the worst round trip.';
COMMENT ON COLUMN trading.symbol_performance.settle_coin IS 'The coin of every amount in the row.';

-- One row per account of the bot and settle coin: the figures of a period, [p_from, p_to). Money is exact; returns and ratios, of which four
-- decimals are shown, are computed as double precision: a numeric logarithm a day takes longer than all else.
CREATE FUNCTION trading.bot_performance(p_bot text, p_from date, p_to date)
RETURNS TABLE (
    bot_id text, environment text, account_id smallint, first_day date, last_day date, fills bigint, volume numeric,
    round_trips bigint, wins bigint, losses bigint, gross numeric, fees numeric, funding numeric, net numeric,
    win_rate numeric, profit_factor numeric, expectancy numeric, best numeric, worst numeric, start_equity numeric,
    end_equity numeric, transfers numeric, return_pct numeric, sharpe numeric, sortino numeric, max_drawdown numeric,
    max_drawdown_pct numeric, settle_coin text
) LANGUAGE sql STABLE ROWS 2 AS $$
    SELECT a.bot_id, a.environment, a.account_id, p.first_day, p.last_day, coalesce(p.fills, 0)::bigint,
        trim_scale(coalesce(p.volume, 0)), coalesce(p.trips, 0)::bigint, coalesce(p.wins, 0)::bigint, coalesce(p.losses, 0)::bigint,
        trim_scale(coalesce(p.gross, 0)), trim_scale(coalesce(p.fees, 0)), trim_scale(coalesce(p.funding, 0)),
        trim_scale(coalesce(p.net, 0)), round(p.wins / nullif(p.trips, 0), 4), round(p.won / nullif(-p.lost, 0), 4),
        round(p.trip_net / nullif(p.trips, 0), 8), trim_scale(p.best), trim_scale(p.worst),
        e.start_equity, e.end_equity, coalesce(e.moved, 0),
        round((e.total_return * 100)::numeric, 4),
        CASE WHEN e.days > 1 AND e.deviation > 1e-12 THEN round((e.average / e.deviation * sqrt(365))::numeric, 4) END,
        CASE WHEN e.days > 1 AND e.downside > 1e-24 THEN round((e.average / sqrt(e.downside) * sqrt(365))::numeric, 4) END,
        trim_scale(e.fall), round((e.fall_share * 100)::numeric, 4), c.settle_coin
    FROM trading.accounts a
    JOIN LATERAL (
        SELECT v.coin AS settle_coin FROM (VALUES ('USDT'), ('USDC')) AS v (coin)
        WHERE EXISTS (SELECT FROM trading.position_states s WHERE s.account_id = a.account_id AND s.settle_coin = v.coin)
            OR EXISTS (SELECT FROM trading.daily_equity q WHERE q.account_id = a.account_id AND q.coin = v.coin)
            OR (v.coin = 'USDT' AND NOT EXISTS (
                SELECT FROM trading.position_states s WHERE s.account_id = a.account_id
            ) AND NOT EXISTS (SELECT FROM trading.daily_equity q WHERE q.account_id = a.account_id))
    ) c ON true
    LEFT JOIN LATERAL (
        SELECT t.*, x.*
        FROM (
            SELECT min(d.day) AS first_day, max(d.day) AS last_day, sum(d.fills) AS fills, sum(d.volume) AS volume,
                sum(d.gross) AS gross, sum(d.fees) AS fees, sum(d.funding) AS funding,
                sum(d.gross) - sum(d.fees) + sum(d.funding) AS net
            FROM trading.daily_totals d
            WHERE d.account_id = a.account_id AND d.settle_coin = c.settle_coin AND d.day >= p_from AND d.day < p_to
        ) t, (
            SELECT sum(d.trips)::numeric AS trips, sum(d.wins)::numeric AS wins, sum(d.losses)::numeric AS losses,
                sum(d.won) + sum(d.lost) AS trip_net, sum(d.won) AS won, sum(d.lost) AS lost, max(d.best) AS best,
                min(d.worst) AS worst
            FROM trading.daily_exits d
            WHERE d.account_id = a.account_id AND d.settle_coin = c.settle_coin AND d.day >= p_from AND d.day < p_to
        ) x
    ) p ON true
    LEFT JOIN LATERAL (
        WITH eve AS (
            SELECT q.last, q.last_at FROM trading.daily_equity q
            WHERE q.account_id = a.account_id AND q.coin = c.settle_coin AND q.day < p_from ORDER BY q.day DESC LIMIT 1
        ), days AS (
            SELECT q.day, q.first_at, q.last_at, q.last, q.high, q.low, q.fall, q.fall_share,
                coalesce(lag(q.last) OVER w, (SELECT last FROM eve), q.first) AS before,
                coalesce(lag(q.last_at) OVER w, (SELECT last_at FROM eve), q.first_at) AS before_at
            FROM trading.daily_equity q
            WHERE q.account_id = a.account_id AND q.coin = c.settle_coin AND q.day >= p_from AND q.day < p_to
            WINDOW w AS (ORDER BY q.day)
        ), steps AS (
            -- a transfer belongs between the two snapshots around it: one before the first snapshot is in that already
            SELECT d.*, m.moved, m.within, sum(m.moved) OVER (ORDER BY d.day) AS moved_so_far,
                (d.last - d.before - m.moved)::double precision AS gain,
                nullif(greatest(d.before + CASE WHEN m.within THEN greatest(m.moved, 0) ELSE m.moved END, 0), 0)::double precision
                    AS base
            FROM days d, LATERAL (
                SELECT coalesce(sum(t.amount), 0) AS moved, coalesce(bool_or(t.transferred_at > d.first_at), false) AS within
                FROM trading.transfers t
                WHERE t.account_id = a.account_id AND t.currency = c.settle_coin
                    AND t.transferred_at > d.before_at AND t.transferred_at <= d.last_at
            ) m
        ), returns AS (
            -- the growth of one unit, so that a deposit is no gain; of a day with a transfer between its snapshots only the
            -- end counts
            SELECT s.*, s.gain / s.base AS daily_return, ln(greatest(1 + s.gain / s.base, 1e-12)) AS growth,
                CASE WHEN s.within THEN s.last ELSE s.low END - s.moved_so_far AS bottom,
                CASE WHEN s.within THEN s.last ELSE s.high END - s.moved_so_far AS top
            FROM steps s
        ), units AS (
            -- within what a double holds, whatever happened
            SELECT r.*, exp(greatest(-700, least(700, coalesce(sum(r.growth) OVER (ORDER BY r.day), 0)))) AS unit,
                exp(greatest(-700, least(700, coalesce(
                    sum(r.growth) OVER (ORDER BY r.day ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)))) AS unit_before
            FROM returns r
        ), peaks AS (
            SELECT u.*, coalesce(CASE WHEN u.within THEN u.unit ELSE u.unit_before * u.low::double precision / u.base END, u.unit)
                    AS unit_low,
                greatest(max(u.top) OVER past, first_value(u.before) OVER (ORDER BY u.day)) AS peak,
                greatest(max(CASE WHEN u.within THEN u.unit ELSE u.unit_before * u.high::double precision / u.base END) OVER past, 1)
                    AS unit_peak
            FROM units u
            WINDOW past AS (ORDER BY u.day ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        )
        SELECT count(*) AS days, (array_agg(k.before ORDER BY k.day))[1] AS start_equity,
            (array_agg(k.last ORDER BY k.day DESC))[1] AS end_equity, sum(k.moved) AS moved,
            CASE WHEN count(k.growth) > 0 THEN exp(greatest(-700, least(700, sum(k.growth)))) - 1 END AS total_return,
            avg(k.daily_return) AS average, stddev_samp(k.daily_return) AS deviation,
            avg(least(k.daily_return, 0) * least(k.daily_return, 0)) AS downside,
            greatest(max(k.peak - k.bottom), max(k.fall) FILTER (WHERE NOT k.within), 0) AS fall,
            greatest(max(1 - k.unit_low / k.unit_peak), max(k.fall_share) FILTER (WHERE NOT k.within)::double precision, 0)
                AS fall_share
        FROM peaks k
        HAVING count(*) > 0
    ) e ON true
    WHERE a.bot_id = p_bot
    ORDER BY a.account_id, c.settle_coin DESC
$$;
COMMENT ON FUNCTION trading.bot_performance(text, date, date) IS
    'Figures of one bot per settle coin from the first day up to, not including, the last: P&L on cash basis; win rate, profit factor and expectancy of the round trips that ended; return, Sharpe and Sortino (daily, times the root of 365) and the largest fall of equity from the snapshots, without transfers.';

GRANT EXECUTE ON FUNCTION
    trading.account_days(smallint, date, date), trading.daily_performance(text, date, date), trading.exit_reasons(text, date, date),
    trading.symbol_results(text, date, date), trading.bot_performance(text, date, date)
    TO alpha_readonly, alpha_listener, alpha_sync, alpha_guard, alpha_c2, alpha_strategy;

-- A fee in another coin than the settle coin: booked in its coin, valued in USDT at the price of that moment.
ALTER TABLE trading.fills ADD COLUMN fee_price numeric;
COMMENT ON COLUMN trading.fills.fee_price IS 'Price of one unit of fee_currency in USDT when the fill happened, from the public market; null for a fee in the settle coin, and until it is known.';

CREATE TABLE trading.daily_other_fees (
    account_id  smallint NOT NULL,
    day         date NOT NULL,
    symbol      text COLLATE "C" NOT NULL,
    currency    text COLLATE "C" NOT NULL,
    settle_coin text COLLATE "C" NOT NULL,
    amount      numeric NOT NULL,
    value       numeric NOT NULL,
    unvalued    numeric NOT NULL,
    PRIMARY KEY (account_id, day, symbol, currency)
) WITH (fillfactor = 80);
COMMENT ON TABLE trading.daily_other_fees IS 'Fees of linear trades in another coin than the settle coin (MNT), per day. Not in fees and net of the other figures, which are in the settle coin alone.';
COMMENT ON COLUMN trading.daily_other_fees.day IS 'UTC day.';
COMMENT ON COLUMN trading.daily_other_fees.account_id IS 'The account.';
COMMENT ON COLUMN trading.daily_other_fees.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.daily_other_fees.currency IS 'The coin of the fee.';
COMMENT ON COLUMN trading.daily_other_fees.settle_coin IS 'The settle coin of the symbol.';
COMMENT ON COLUMN trading.daily_other_fees.amount IS 'Paid, in currency.';
COMMENT ON COLUMN trading.daily_other_fees.value IS 'What of it has a price, in USDT at the price of each fill.';
COMMENT ON COLUMN trading.daily_other_fees.unvalued IS 'What of amount has no price yet, in currency.';

CREATE FUNCTION trading.add_other_fees() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO trading.daily_other_fees AS d
    SELECT account_id, (exec_time AT TIME ZONE 'UTC')::date, symbol, fee_currency, trading.settle_coin(symbol), sum(fee),
        coalesce(sum(fee * fee_price), 0), coalesce(sum(fee) FILTER (WHERE fee_price IS NULL), 0)
    FROM inserted
    WHERE fee_currency NOT IN ('', 'USDT', 'USDC') AND category = 'linear' AND exec_type <> 'Funding'
    GROUP BY 1, 2, 3, 4
    ON CONFLICT (account_id, day, symbol, currency) DO UPDATE SET
        amount = d.amount + excluded.amount, value = d.value + excluded.value, unvalued = d.unvalued + excluded.unvalued;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION trading.add_other_fees() IS 'Adds the fees in other coins of the fills just written to trading.daily_other_fees.';
CREATE TRIGGER add_other_fees AFTER INSERT ON trading.fills
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION trading.add_other_fees();

-- What became known later of a fill's fee: its currency, or its price.
CREATE FUNCTION trading.revise_other_fees() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO trading.daily_other_fees AS d
    SELECT n.account_id, (n.exec_time AT TIME ZONE 'UTC')::date, n.symbol, n.fee_currency, trading.settle_coin(n.symbol),
        coalesce(sum(n.fee) FILTER (WHERE o.fee_currency IS NULL), 0),
        coalesce(sum(n.fee * n.fee_price) FILTER (WHERE o.fee_price IS NULL), 0),
        sum(CASE WHEN n.fee_price IS NULL THEN n.fee ELSE 0 END
            - CASE WHEN o.fee_currency IS NOT NULL AND o.fee_price IS NULL THEN n.fee ELSE 0 END)
    FROM after n JOIN before o
        ON n.account_id = o.account_id AND n.category = o.category AND n.symbol = o.symbol AND n.exec_id = o.exec_id
    WHERE n.fee_currency NOT IN ('', 'USDT', 'USDC') AND n.category = 'linear' AND n.exec_type <> 'Funding'
        AND (o.fee_currency IS NULL OR o.fee_price IS DISTINCT FROM n.fee_price)
    GROUP BY 1, 2, 3, 4
    ON CONFLICT (account_id, day, symbol, currency) DO UPDATE SET
        amount = d.amount + excluded.amount, value = d.value + excluded.value, unvalued = d.unvalued + excluded.unvalued;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION trading.revise_other_fees() IS 'Adds to trading.daily_other_fees what became known later of a fee.';
CREATE TRIGGER revise_other_fees AFTER UPDATE ON trading.fills
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION trading.revise_other_fees();
GRANT UPDATE (fee_price) ON trading.fills TO alpha_listener;
CREATE INDEX fills_fees_without_price ON trading.fills (account_id, exec_time)
    WHERE fee_price IS NULL AND fee_currency NOT IN ('', 'USDT', 'USDC');
COMMENT ON INDEX trading.fills_fees_without_price IS 'Fees in other coins whose price is not known yet; small.';

-- Fees in other coins of a bot in a period, [p_from, p_to).
CREATE FUNCTION trading.other_fees(p_bot text, p_from date, p_to date)
RETURNS TABLE (
    bot_id text, environment text, account_id smallint, settle_coin text, currency text, amount numeric, value numeric,
    unvalued numeric
) LANGUAGE sql STABLE ROWS 4 AS $$
    SELECT a.bot_id, a.environment, a.account_id, d.settle_coin, d.currency, trim_scale(sum(d.amount)), trim_scale(sum(d.value)),
        trim_scale(sum(d.unvalued))
    FROM trading.accounts a JOIN trading.daily_other_fees d USING (account_id)
    WHERE a.bot_id = p_bot AND d.day >= p_from AND d.day < p_to
    GROUP BY 1, 2, 3, 4, 5 ORDER BY a.account_id, d.settle_coin DESC, d.currency
$$;
COMMENT ON FUNCTION trading.other_fees(text, date, date) IS 'What one bot paid of its fees in another coin than the settle coin, and its value at the time of each fill.';
GRANT EXECUTE ON FUNCTION trading.other_fees(text, date, date)
    TO alpha_readonly, alpha_listener, alpha_sync, alpha_guard, alpha_c2, alpha_strategy;
