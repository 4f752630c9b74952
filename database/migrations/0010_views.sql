-- What users ask. Everything here answers from round trips and daily totals; nothing reads the fills, nothing asks the clock.

CREATE VIEW trading.position_summaries AS
SELECT
    t.bot_id,
    (SELECT a.environment FROM trading.accounts a WHERE a.account_id = t.account_id) AS environment,
    t.account_id,
    t.symbol,
    CASE WHEN t.is_long THEN 'long' ELSE 'short' END AS direction,
    t.opened_at,
    t.closed_at,
    t.closed_at - t.opened_at AS holding_time,
    t.fills,
    trim_scale(t.qty) AS qty,
    trim_scale(t.max_qty) AS max_qty,
    trim_scale(round(t.entry_value / t.qty, 10)) AS entry_price,
    trim_scale(round(t.exit_value / t.qty, 10)) AS exit_price,
    trim_scale(t.entry_value) AS entry_value,
    trim_scale(t.exit_value) AS exit_value,
    trim_scale(t.gross) AS gross,
    trim_scale(t.fees) AS fees,
    trim_scale(t.funding) AS funding,
    trim_scale(t.gross - t.fees + t.funding) AS net,
    round((t.gross - t.fees + t.funding) / nullif(t.entry_value, 0) * 100, 4) AS return_pct,
    t.exit_reason,
    round(t.maker_value / nullif(t.entry_value + t.exit_value, 0), 4) AS maker_share,
    t.from_opening,
    t.reversed,
    EXISTS (
        SELECT FROM trading.position_states s
        WHERE s.account_id = t.account_id AND s.category = t.category AND s.symbol = t.symbol
            AND (t.closed_at, t.closed_seq, t.closed_id) >= (s.redo_time, s.redo_seq, s.redo_id)
    ) AS provisional
FROM trading.round_trips t;
COMMENT ON VIEW trading.position_summaries IS 'One row for each position from flat to flat.';
COMMENT ON COLUMN trading.position_summaries.bot_id IS 'The bot.';
COMMENT ON COLUMN trading.position_summaries.environment IS 'live, demo, testnet or simulated.';
COMMENT ON COLUMN trading.position_summaries.account_id IS 'The account.';
COMMENT ON COLUMN trading.position_summaries.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.position_summaries.direction IS 'long or short.';
COMMENT ON COLUMN trading.position_summaries.opened_at IS 'First entry.';
COMMENT ON COLUMN trading.position_summaries.closed_at IS 'Last exit.';
COMMENT ON COLUMN trading.position_summaries.holding_time IS 'closed_at - opened_at.';
COMMENT ON COLUMN trading.position_summaries.fills IS 'Trades in it; one through zero counts in both trips.';
COMMENT ON COLUMN trading.position_summaries.qty IS 'Quantity entered, which is the quantity exited.';
COMMENT ON COLUMN trading.position_summaries.max_qty IS 'Largest quantity held at once.';
COMMENT ON COLUMN trading.position_summaries.entry_price IS 'entry_value / qty, 10 decimals.';
COMMENT ON COLUMN trading.position_summaries.exit_price IS 'exit_value / qty, 10 decimals.';
COMMENT ON COLUMN trading.position_summaries.entry_value IS 'Sum of price * qty of the entries.';
COMMENT ON COLUMN trading.position_summaries.exit_value IS 'Sum of price * qty of the exits.';
COMMENT ON COLUMN trading.position_summaries.gross IS 'exit_value - entry_value for a long, the opposite for a short.';
COMMENT ON COLUMN trading.position_summaries.fees IS 'Fees of its trades; positive is paid.';
COMMENT ON COLUMN trading.position_summaries.funding IS 'Funding while open; positive is received.';
COMMENT ON COLUMN trading.position_summaries.net IS 'gross - fees + funding.';
COMMENT ON COLUMN trading.position_summaries.return_pct IS 'net as a percentage of entry_value.';
COMMENT ON COLUMN trading.position_summaries.exit_reason IS 'Reason of the fill that ended it.';
COMMENT ON COLUMN trading.position_summaries.maker_share IS 'Share of its value that was traded as maker, 0 to 1.';
COMMENT ON COLUMN trading.position_summaries.from_opening IS 'True when part of it was held before the record begins.';
COMMENT ON COLUMN trading.position_summaries.reversed IS 'True when the fill that ended it opened the opposite position.';
COMMENT ON COLUMN trading.position_summaries.provisional IS 'True while a late fill before its end is not taken in yet.';

CREATE VIEW trading.open_positions AS
SELECT
    s.bot_id,
    a.environment,
    s.account_id,
    s.symbol,
    CASE WHEN s.is_long THEN 'long' ELSE 'short' END AS direction,
    trim_scale(s.held) AS qty,
    trim_scale(round(s.cost / s.held, 10)) AS entry_price,
    trim_scale(s.cost) AS entry_value,
    s.opened_at,
    s.fills,
    trim_scale(s.exited_qty) AS exited_qty,
    trim_scale(s.gross) AS realised_gross,
    trim_scale(s.fees) AS fees,
    trim_scale(s.funding) AS funding,
    s.from_opening,
    s.redo_time IS NOT NULL AS provisional,
    s.place_time AS last_fill_at
FROM trading.position_states s
JOIN trading.accounts a USING (account_id)
WHERE s.held > 0;
COMMENT ON VIEW trading.open_positions IS 'Every open position by our own books. Marks and unrealised P&L are live state and are in Redis.';
COMMENT ON COLUMN trading.open_positions.bot_id IS 'The bot.';
COMMENT ON COLUMN trading.open_positions.environment IS 'live, demo, testnet or simulated.';
COMMENT ON COLUMN trading.open_positions.account_id IS 'The account.';
COMMENT ON COLUMN trading.open_positions.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.open_positions.direction IS 'long or short.';
COMMENT ON COLUMN trading.open_positions.qty IS 'Quantity held.';
COMMENT ON COLUMN trading.open_positions.entry_price IS 'Average price of what is held, 10 decimals.';
COMMENT ON COLUMN trading.open_positions.entry_value IS 'Entry value of what is held.';
COMMENT ON COLUMN trading.open_positions.opened_at IS 'First entry.';
COMMENT ON COLUMN trading.open_positions.fills IS 'Trades so far.';
COMMENT ON COLUMN trading.open_positions.exited_qty IS 'Quantity already closed in this trip.';
COMMENT ON COLUMN trading.open_positions.realised_gross IS 'P&L of what was closed, before fees and funding.';
COMMENT ON COLUMN trading.open_positions.fees IS 'Fees so far.';
COMMENT ON COLUMN trading.open_positions.funding IS 'Funding so far; positive is received.';
COMMENT ON COLUMN trading.open_positions.from_opening IS 'True when part of it was held before the record begins.';
COMMENT ON COLUMN trading.open_positions.provisional IS 'True while a late fill is not taken in yet.';
COMMENT ON COLUMN trading.open_positions.last_fill_at IS 'Time of the last fill taken in.';

-- The days of one account within [p_from, p_to): totals and the trips that ended.
CREATE FUNCTION trading.account_days(p_account smallint, p_from date, p_to date)
RETURNS TABLE (
    day date, fills bigint, volume numeric, maker_volume numeric, round_trips bigint, wins bigint, losses bigint,
    gross numeric, fees numeric, funding numeric, net numeric, trip_net numeric, won numeric, lost numeric,
    best numeric, worst numeric
) LANGUAGE sql STABLE ROWS 400 AS $$
    SELECT t.day, t.fills, t.volume, t.maker_volume, coalesce(e.trips, 0), coalesce(e.wins, 0), coalesce(e.losses, 0),
        t.gross, t.fees, t.funding, t.gross - t.fees + t.funding, coalesce(e.net, 0), coalesce(e.won, 0), coalesce(e.lost, 0),
        e.best, e.worst
    FROM (
        SELECT d.day, sum(d.fills) AS fills, sum(d.volume) AS volume, sum(d.maker_volume) AS maker_volume,
            sum(d.gross) AS gross, sum(d.fees) AS fees, sum(d.funding) AS funding
        FROM trading.daily_totals d
        WHERE d.account_id = p_account AND d.day >= p_from AND d.day < p_to
        GROUP BY d.day
    ) t
    LEFT JOIN (
        SELECT d.day, sum(d.trips) AS trips, sum(d.wins) AS wins, sum(d.losses) AS losses,
            sum(d.won) + sum(d.lost) AS net, sum(d.won) AS won, sum(d.lost) AS lost,
            max(d.best) AS best, min(d.worst) AS worst
        FROM trading.daily_exits d
        WHERE d.account_id = p_account AND d.day >= p_from AND d.day < p_to
        GROUP BY d.day
    ) e ON e.day = t.day
    ORDER BY t.day
$$;
COMMENT ON FUNCTION trading.account_days(smallint, date, date) IS 'The days of one account, from the first day up to, not including, the last.';

-- Days of a bot in a period, [p_from, p_to); cumulative figures begin with the period.
CREATE FUNCTION trading.daily_performance(p_bot text, p_from date, p_to date)
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
COMMENT ON FUNCTION trading.daily_performance(text, date, date) IS 'trading.bot_daily_performance of one bot from the first day up to, not including, the last; cumulative figures begin with the period.';

-- Looks up the trips of the days it shows only; a condition on the bot or account reaches the tables below.
CREATE VIEW trading.bot_daily_performance AS
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
            SELECT x.bot_id, x.environment, x.account_id,
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
COMMENT ON VIEW trading.bot_daily_performance IS 'One row for each bot, account and UTC day with a fill, on cash basis: what happened that day.';
COMMENT ON COLUMN trading.bot_daily_performance.bot_id IS 'The bot.';
COMMENT ON COLUMN trading.bot_daily_performance.environment IS 'live, demo, testnet or simulated.';
COMMENT ON COLUMN trading.bot_daily_performance.account_id IS 'The account.';
COMMENT ON COLUMN trading.bot_daily_performance.day IS 'UTC day.';
COMMENT ON COLUMN trading.bot_daily_performance.fills IS 'Trades.';
COMMENT ON COLUMN trading.bot_daily_performance.volume IS 'Sum of price * qty.';
COMMENT ON COLUMN trading.bot_daily_performance.round_trips IS 'Round trips that ended.';
COMMENT ON COLUMN trading.bot_daily_performance.wins IS 'Those with a net above 0.';
COMMENT ON COLUMN trading.bot_daily_performance.losses IS 'Those with a net below 0.';
COMMENT ON COLUMN trading.bot_daily_performance.gross IS 'P&L of the exits of that day, before fees and funding.';
COMMENT ON COLUMN trading.bot_daily_performance.fees IS 'Fees of that day; positive is paid.';
COMMENT ON COLUMN trading.bot_daily_performance.funding IS 'Funding of that day; positive is received.';
COMMENT ON COLUMN trading.bot_daily_performance.net IS 'gross - fees + funding.';
COMMENT ON COLUMN trading.bot_daily_performance.cumulative_net IS 'Sum of net since the account''s first day.';
COMMENT ON COLUMN trading.bot_daily_performance.drawdown IS 'cumulative_net less its highest value so far (at least 0); 0 or negative.';
COMMENT ON COLUMN trading.bot_daily_performance.best IS 'Net of the best round trip that ended; null when none.';
COMMENT ON COLUMN trading.bot_daily_performance.worst IS 'Net of the worst one; null when none.';
COMMENT ON COLUMN trading.bot_daily_performance.provisional IS 'True while a late fill of that day or before is not taken in yet.';

-- Exits of a bot in a period, [p_from, p_to), by reason.
CREATE FUNCTION trading.exit_reasons(p_bot text, p_from date, p_to date)
RETURNS TABLE (
    bot_id text, environment text, account_id smallint, exit_reason text, round_trips bigint, share numeric, win_rate numeric,
    average_net numeric, total_net numeric, average_holding interval, profit_factor numeric
) LANGUAGE sql STABLE ROWS 10 AS $$
    SELECT a.bot_id, a.environment, a.account_id, e.exit_reason, e.trips::bigint,
        round(e.trips / sum(e.trips) OVER (PARTITION BY a.account_id), 4), round(e.wins / e.trips, 4),
        round(e.net / e.trips, 8), trim_scale(e.net), make_interval(secs => round(e.held_ms / e.trips) / 1000.0),
        round(e.won / nullif(-e.lost, 0), 4)
    FROM trading.accounts a, LATERAL (
        SELECT d.exit_reason, sum(d.trips)::numeric AS trips, sum(d.wins)::numeric AS wins,
            sum(d.won) + sum(d.lost) AS net, sum(d.won) AS won, sum(d.lost) AS lost, sum(d.held_ms) AS held_ms
        FROM trading.daily_exits d
        WHERE d.account_id = a.account_id AND d.day >= p_from AND d.day < p_to
        GROUP BY d.exit_reason
        OFFSET 0
    ) e
    WHERE a.bot_id = p_bot
    ORDER BY a.account_id, e.trips DESC, e.exit_reason
$$;
COMMENT ON FUNCTION trading.exit_reasons(text, date, date) IS 'trading.exit_reason_analysis of one bot from the first day up to, not including, the last.';

CREATE VIEW trading.exit_reason_analysis AS
SELECT a.bot_id, a.environment, a.account_id, e.exit_reason, e.trips::bigint AS round_trips,
    round(e.trips / sum(e.trips) OVER (PARTITION BY a.bot_id, a.environment, a.account_id), 4)
        AS share,
    round(e.wins / e.trips, 4) AS win_rate, round(e.net / e.trips, 8) AS average_net, trim_scale(e.net) AS total_net,
    make_interval(secs => (round(e.held_ms / e.trips) / 1000.0)::double precision) AS average_holding,
    round(e.won / nullif(-e.lost, 0), 4) AS profit_factor
FROM trading.accounts a, LATERAL (
    SELECT d.exit_reason, sum(d.trips)::numeric AS trips, sum(d.wins)::numeric AS wins,
        sum(d.won) + sum(d.lost) AS net, sum(d.won) AS won, sum(d.lost) AS lost, sum(d.held_ms) AS held_ms
    FROM trading.daily_exits d
    WHERE d.account_id = a.account_id
    GROUP BY d.exit_reason
    OFFSET 0
) e
ORDER BY a.account_id, e.trips DESC, e.exit_reason;
COMMENT ON VIEW trading.exit_reason_analysis IS 'How the round trips of each bot ended, by reason.';
COMMENT ON COLUMN trading.exit_reason_analysis.bot_id IS 'The bot.';
COMMENT ON COLUMN trading.exit_reason_analysis.environment IS 'live, demo, testnet or simulated.';
COMMENT ON COLUMN trading.exit_reason_analysis.account_id IS 'The account.';
COMMENT ON COLUMN trading.exit_reason_analysis.exit_reason IS 'Reason of the last exit.';
COMMENT ON COLUMN trading.exit_reason_analysis.round_trips IS 'How many.';
COMMENT ON COLUMN trading.exit_reason_analysis.share IS 'Share of all of the account''s round trips, 0 to 1.';
COMMENT ON COLUMN trading.exit_reason_analysis.win_rate IS 'Share with a net above 0.';
COMMENT ON COLUMN trading.exit_reason_analysis.average_net IS 'total_net / round_trips.';
COMMENT ON COLUMN trading.exit_reason_analysis.total_net IS 'Sum of gross - fees + funding.';
COMMENT ON COLUMN trading.exit_reason_analysis.average_holding IS 'Average holding time.';
COMMENT ON COLUMN trading.exit_reason_analysis.profit_factor IS 'Sum of winning nets / sum of losing nets; null without losses.';

-- Results of a bot in a period, [p_from, p_to), by symbol. P&L on cash basis; counts of the trips that ended.
CREATE FUNCTION trading.symbol_results(p_bot text, p_from date, p_to date)
RETURNS TABLE (
    bot_id text, environment text, account_id smallint, symbol text, fills bigint, volume numeric, maker_share numeric,
    round_trips bigint, win_rate numeric, profit_factor numeric, gross numeric, fees numeric, funding numeric, net numeric,
    best numeric, worst numeric
) LANGUAGE sql STABLE ROWS 20 AS $$
    SELECT a.bot_id, a.environment, a.account_id, r.symbol, r.fills, trim_scale(r.volume),
        round(r.maker_volume / nullif(r.volume, 0), 4), coalesce(r.trips, 0), round(r.wins::numeric / nullif(r.trips, 0), 4),
        round(r.won / nullif(-r.lost, 0), 4), trim_scale(r.gross), trim_scale(r.fees), trim_scale(r.funding),
        trim_scale(r.gross - r.fees + r.funding), trim_scale(r.best), trim_scale(r.worst)
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

-- One row an account of the bot: the figures of a period, [p_from, p_to). Money is exact; returns and ratios, of which four
-- decimals are shown, are computed as double precision: a numeric logarithm a day takes longer than all else.
CREATE FUNCTION trading.bot_performance(p_bot text, p_from date, p_to date)
RETURNS TABLE (
    bot_id text, environment text, account_id smallint, first_day date, last_day date, fills bigint, volume numeric,
    round_trips bigint, wins bigint, losses bigint, gross numeric, fees numeric, funding numeric, net numeric,
    win_rate numeric, profit_factor numeric, expectancy numeric, best numeric, worst numeric, start_equity numeric,
    end_equity numeric, transfers numeric, return_pct numeric, sharpe numeric, sortino numeric, max_drawdown numeric,
    max_drawdown_pct numeric
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
        trim_scale(e.fall), round((e.fall_share * 100)::numeric, 4)
    FROM trading.accounts a
    LEFT JOIN LATERAL (
        SELECT t.*, x.*
        FROM (
            SELECT min(d.day) AS first_day, max(d.day) AS last_day, sum(d.fills) AS fills, sum(d.volume) AS volume,
                sum(d.gross) AS gross, sum(d.fees) AS fees, sum(d.funding) AS funding,
                sum(d.gross) - sum(d.fees) + sum(d.funding) AS net
            FROM trading.daily_totals d
            WHERE d.account_id = a.account_id AND d.day >= p_from AND d.day < p_to
        ) t, (
            SELECT sum(d.trips)::numeric AS trips, sum(d.wins)::numeric AS wins, sum(d.losses)::numeric AS losses,
                sum(d.won) + sum(d.lost) AS trip_net, sum(d.won) AS won, sum(d.lost) AS lost, max(d.best) AS best,
                min(d.worst) AS worst
            FROM trading.daily_exits d
            WHERE d.account_id = a.account_id AND d.day >= p_from AND d.day < p_to
        ) x
    ) p ON true
    LEFT JOIN LATERAL (
        WITH eve AS (
            SELECT q.last, q.last_at FROM trading.daily_equity q
            WHERE q.account_id = a.account_id AND q.day < p_from ORDER BY q.day DESC LIMIT 1
        ), days AS (
            SELECT q.day, q.first_at, q.last_at, q.last, q.high, q.low, q.fall, q.fall_share,
                coalesce(lag(q.last) OVER w, (SELECT last FROM eve), q.first) AS before,
                coalesce(lag(q.last_at) OVER w, (SELECT last_at FROM eve), q.first_at) AS before_at
            FROM trading.daily_equity q
            WHERE q.account_id = a.account_id AND q.day >= p_from AND q.day < p_to
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
                WHERE t.account_id = a.account_id AND t.currency = 'USDT'
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
    ORDER BY a.account_id
$$;
COMMENT ON FUNCTION trading.bot_performance(text, date, date) IS
    'Figures of one bot from the first day up to, not including, the last: P&L on cash basis; win rate, profit factor and expectancy of the round trips that ended; return, Sharpe and Sortino (daily, times the root of 365) and the largest fall of equity from the snapshots, without transfers.';

-- Days and trips must agree in total; what they do not share is funding paid while our books were flat.
CREATE VIEW trading.books_balance AS
SELECT a.bot_id, a.environment, d.account_id, d.category, d.symbol, trim_scale(d.net) AS days_net,
    trim_scale(coalesce(e.net, 0)) AS trips_net, trim_scale(coalesce(s.gross - s.fees + s.funding, 0)) AS open_net,
    trim_scale(d.net - coalesce(e.net, 0) - coalesce(s.gross - s.fees + s.funding, 0)) AS loose_funding
FROM (
    SELECT account_id, category, symbol, sum(gross - fees + funding) AS net FROM trading.daily_totals GROUP BY 1, 2, 3
) d
LEFT JOIN (
    SELECT account_id, category, symbol, sum(won + lost) AS net FROM trading.daily_exits GROUP BY 1, 2, 3
) e USING (account_id, category, symbol)
LEFT JOIN trading.position_states s USING (account_id, category, symbol)
JOIN trading.accounts a USING (account_id);
COMMENT ON VIEW trading.books_balance IS 'For each account and symbol: the net of all days, of all round trips, of the open one, and the rest.';
COMMENT ON COLUMN trading.books_balance.bot_id IS 'The bot.';
COMMENT ON COLUMN trading.books_balance.environment IS 'live, demo, testnet or simulated.';
COMMENT ON COLUMN trading.books_balance.account_id IS 'The account.';
COMMENT ON COLUMN trading.books_balance.category IS 'linear.';
COMMENT ON COLUMN trading.books_balance.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.books_balance.days_net IS 'Net of all days.';
COMMENT ON COLUMN trading.books_balance.trips_net IS 'Net of all round trips.';
COMMENT ON COLUMN trading.books_balance.open_net IS 'Net of the open one so far.';
COMMENT ON COLUMN trading.books_balance.loose_funding IS 'days_net - trips_net - open_net: funding of instants at which our books held nothing; 0 when the record is whole.';

-- Where Bybit gave the P&L of every exit of a trip, lay it beside ours.
CREATE FUNCTION trading.exec_pnl_check(p_bot text, p_from timestamptz, p_to timestamptz)
RETURNS TABLE (bot_id text, account_id smallint, symbol text, opened_at timestamptz, closed_at timestamptz, ours numeric,
               theirs numeric, difference numeric)
LANGUAGE sql STABLE AS $$
    SELECT t.bot_id, t.account_id, t.symbol, t.opened_at, t.closed_at, trim_scale(t.gross), trim_scale(x.pnl),
        trim_scale(t.gross - x.pnl)
    FROM trading.round_trips t, LATERAL (
        SELECT sum(f.exec_pnl) AS pnl, bool_and(f.exec_pnl IS NOT NULL) AS known
        FROM trading.fills f
        WHERE f.account_id = t.account_id AND f.category = t.category AND f.symbol = t.symbol
            AND (f.exec_time, f.seq, f.exec_id) > (t.opened_at, t.opened_seq, t.opened_id)
            AND (f.exec_time, f.seq, f.exec_id) <= (t.closed_at, t.closed_seq, t.closed_id)
            AND (f.side = 'Sell') = t.is_long AND f.exec_type <> 'Funding'
    ) x
    WHERE t.bot_id = p_bot AND t.closed_at >= p_from AND t.closed_at < p_to AND NOT t.from_opening AND x.known
    ORDER BY t.closed_at
$$;
COMMENT ON FUNCTION trading.exec_pnl_check(text, timestamptz, timestamptz) IS 'For each round trip whose exits all carry Bybit''s execPnl: our gross, theirs, and the difference.';

GRANT EXECUTE ON FUNCTION
    trading.account_days(smallint, date, date), trading.daily_performance(text, date, date), trading.exit_reasons(text, date, date),
    trading.symbol_results(text, date, date), trading.bot_performance(text, date, date),
    trading.exec_pnl_check(text, timestamptz, timestamptz)
    TO alpha_readonly, alpha_listener, alpha_sync, alpha_guard, alpha_c2, alpha_strategy;
