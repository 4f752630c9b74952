-- Fills of one match are one unit, and a ledger is one leg.
--
-- A ledger is (account, category, symbol, leg): leg is 'both' in one-way mode, 'long' or 'short' in hedge mode.
-- All fills of a ledger that share exec_time and seq come from one match and are one unit: nothing begins or ends inside
-- it, neither a page of a replay nor a checkpoint nor what a late fill recomputes. Within a unit the order is
-- trading.fill_rank (pure closes, the fill through zero, unknown, pure opens), then exec_id; the next fill is always the
-- first one whose closed_size fits the position, and the first one when none fits.
--
-- Names: replay_fills was walk, update_rollups was keep_books, apply_late_fills was take_late, save_states was put_states.

DROP TRIGGER keep_books ON trading.fills;
DROP TRIGGER take_opening ON trading.opening_positions;
DROP FUNCTION trading.keep_books(), trading.take_opening(), trading.settle(),
    trading.rebuild_start(smallint, text, text), trading.rebuild_step(smallint, text, text, bigint),
    trading.books(), trading.verify_step(smallint, text, text, text, bigint),
    trading.take_late(trading.position_states, text[], timestamptz, bigint, text, timestamptz, bigint, text),
    trading.advance(trading.position_states[], bigint), trading.put_states(trading.position_states[]),
    trading.lock_state(smallint, text, text, text), trading.add_days(trading.daily_totals[]),
    trading.add_exits(trading.round_trips[]), trading.sum_exits(trading.round_trips[]),
    trading.walk(trading.position_states[], bigint, timestamptz, bigint, text, text[], timestamptz, bigint, text),
    trading.first_state(smallint, text, text, text);

-- Everything computed is computed anew at the end of 0016.
TRUNCATE trading.position_states, trading.round_trips, trading.daily_totals, trading.daily_exits;

ALTER TABLE trading.fills ADD COLUMN leg text COLLATE "C" NOT NULL DEFAULT 'both' CHECK (leg IN ('both', 'long', 'short'));
COMMENT ON COLUMN trading.fills.leg IS 'The position it belongs to: both in one-way mode, long or short in hedge mode.';
COMMENT ON TABLE trading.fills IS 'Every execution of every account, once. Written by the listener alone. The order within an account is exec_time, seq; fills that share both are one unit (trading.replay_fills).';
DROP INDEX trading.fills_by_symbol;
CREATE INDEX fills_by_symbol ON trading.fills (account_id, category, symbol, exec_time, seq, leg);
COMMENT ON INDEX trading.fills_by_symbol IS 'The order of units within an account and symbol: replays, one symbol''s history.';

ALTER TABLE trading.orders ADD COLUMN leg text COLLATE "C" NOT NULL DEFAULT 'both' CHECK (leg IN ('both', 'long', 'short'));
COMMENT ON COLUMN trading.orders.leg IS 'The position it belongs to, as in trading.fills.';

ALTER TABLE trading.opening_positions
    ADD COLUMN leg text COLLATE "C" NOT NULL DEFAULT 'both' CHECK (leg IN ('both', 'long', 'short')),
    DROP CONSTRAINT opening_positions_pkey,
    ADD PRIMARY KEY (account_id, category, symbol, leg);
COMMENT ON COLUMN trading.opening_positions.leg IS 'Which position, as in trading.fills.';

ALTER TABLE trading.position_states
    ADD COLUMN leg text COLLATE "C" NOT NULL,
    ADD COLUMN settle_coin text COLLATE "C" NOT NULL,
    ADD COLUMN late_fills integer NOT NULL,
    DROP CONSTRAINT position_states_pkey,
    ADD PRIMARY KEY (account_id, category, symbol, leg);
COMMENT ON TABLE trading.position_states IS 'Where each ledger stands after its last unit of fills: the open position and the sums of its trip so far.';
COMMENT ON COLUMN trading.position_states.leg IS 'Which position, as in trading.fills.';
COMMENT ON COLUMN trading.position_states.settle_coin IS 'The coin of every amount here.';
COMMENT ON COLUMN trading.position_states.late_fills IS 'How often late fills were put off; tells a recomputation that another one came meanwhile.';
COMMENT ON COLUMN trading.position_states.place_id IS 'exec_id of the last fill of that unit.';
COMMENT ON COLUMN trading.position_states.redo_time IS 'exec_time of the earliest unit that waits for its recomputation; null when none does. Trips from there on are provisional.';
COMMENT ON COLUMN trading.position_states.redo_seq IS 'seq of that unit.';
COMMENT ON COLUMN trading.position_states.redo_id IS 'Empty or an exec_id of that unit; of no meaning.';

ALTER TABLE trading.round_trips
    ADD COLUMN leg text COLLATE "C" NOT NULL,
    ADD COLUMN settle_coin text COLLATE "C" NOT NULL,
    ADD COLUMN ends_flat boolean NOT NULL;
COMMENT ON COLUMN trading.round_trips.leg IS 'Which position, as in trading.fills.';
COMMENT ON COLUMN trading.round_trips.settle_coin IS 'The coin of every amount here.';
COMMENT ON COLUMN trading.round_trips.ends_flat IS 'True when nothing was held after the unit that ended it: a recomputation may begin there.';

ALTER TABLE trading.daily_totals
    ADD COLUMN leg text COLLATE "C" NOT NULL,
    ADD COLUMN settle_coin text COLLATE "C" NOT NULL,
    DROP CONSTRAINT daily_totals_pkey,
    ADD PRIMARY KEY (account_id, day, category, symbol, leg);
COMMENT ON COLUMN trading.daily_totals.leg IS 'Which position, as in trading.fills.';
COMMENT ON COLUMN trading.daily_totals.settle_coin IS 'The coin of every amount here.';

ALTER TABLE trading.daily_exits
    ADD COLUMN leg text COLLATE "C" NOT NULL,
    ADD COLUMN settle_coin text COLLATE "C" NOT NULL,
    DROP CONSTRAINT daily_exits_pkey,
    ADD PRIMARY KEY (account_id, day, category, symbol, leg, exit_reason);
COMMENT ON COLUMN trading.daily_exits.leg IS 'Which position, as in trading.fills.';
COMMENT ON COLUMN trading.daily_exits.settle_coin IS 'The coin of every amount here.';

-- A migration that adds a column to trading.position_states adds it here, too: rows are copied between them whole.
CREATE TABLE trading.checkpoints (
    LIKE trading.position_states INCLUDING COMMENTS,
    PRIMARY KEY (account_id, category, symbol, leg, place_time, place_seq)
);
COMMENT ON TABLE trading.checkpoints IS 'The state of each ledger after the last unit of each UTC day that has a later fill: where a recomputation may begin.';

CREATE FUNCTION trading.settle_coin(p_symbol text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_symbol LIKE '%USDT' OR p_symbol LIKE '%USDT-%' THEN 'USDT' ELSE 'USDC' END
$$;
COMMENT ON FUNCTION trading.settle_coin(text) IS 'The coin in which a linear contract settles, by Bybit''s names: BTCUSDT and BTCUSDT-27MAR26 in USDT; BTCPERP and BTC-27MAR26 in USDC.';

CREATE FUNCTION trading.fill_rank(p_closed_size numeric, p_qty numeric) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_closed_size IS NULL THEN 2 WHEN p_closed_size = 0 THEN 3 WHEN p_closed_size = p_qty THEN 0 ELSE 1 END
$$;
COMMENT ON FUNCTION trading.fill_rank(numeric, numeric) IS 'Where a fill stands within its unit: 0 closes only, 1 closes and opens, 2 is not known, 3 opens only. Order by exec_time, seq, this, exec_id.';
GRANT EXECUTE ON FUNCTION trading.settle_coin(text), trading.fill_rank(numeric, numeric)
    TO alpha_readonly, alpha_listener, alpha_sync, alpha_guard, alpha_c2, alpha_strategy;

CREATE FUNCTION trading.first_state(p_account smallint, p_category text, p_symbol text, p_leg text, p_bot text)
RETURNS trading.position_states LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT p_account, p_category, p_symbol, p_bot, '-infinity'::timestamptz, -1, '', NULL::timestamptz, NULL::bigint, NULL,
        coalesce(o.side = 'Buy', true), coalesce(o.qty, 0), coalesce(o.qty * o.entry_price, 0),
        o.as_of, CASE WHEN o.as_of IS NOT NULL THEN -1 END, CASE WHEN o.as_of IS NOT NULL THEN '' END,
        o.as_of IS NOT NULL, 0, 0, coalesce(o.qty, 0), 0, 0, 0, 0, 0, p_leg, trading.settle_coin(p_symbol), 0
    FROM (SELECT) AS one
    LEFT JOIN trading.opening_positions o
        ON o.account_id = p_account AND o.category = p_category AND o.symbol = p_symbol AND o.leg = p_leg
$$;
COMMENT ON FUNCTION trading.first_state(smallint, text, text, text, text) IS 'The state before the first fill: flat, or the opening position. An opening comes before every fill, whatever its as_of.';

-- One fill of a unit of several, while its unit is put in order: the row of replay_fills' query.
CREATE TYPE trading.unit_fill AS (
    ord bigint, exec_time timestamptz, seq bigint, exec_id text, bot_id text, buy boolean, reason text, is_maker boolean,
    qty numeric, price numeric, value numeric, fee numeric, kind text, closed_size numeric, exec_pnl numeric, unit_size bigint
);
-- A fill of which Bybit's own P&L is not what the ledger says; unit names the fills of its match.
CREATE TYPE trading.pnl_difference AS (
    account_id smallint, bot_id text, category text, symbol text, leg text, exec_time timestamptz, seq bigint, exec_id text,
    ours numeric, theirs numeric, unit text
);

-- Replay fills onward from each of the given states; the heart of the record. Reads trading.fills, changes nothing.
--   p_states  where to start, one per ledger
--   p_limit   so many fills per state, and the rest of the last one's unit; null for all
--   p_until   stop after this unit (time, seq); null for the end
--   p_skip    exec_ids to leave out; null for none
--   p_meet    stop after the first unit, this one or later, after which nothing is held here and in the stored trips; null for never
-- Gives the states afterwards, the trips that ended, the daily totals to add, the states at the end of each day, where
-- Bybit's execPnl differs, how many fills were replayed, and whether it met.
CREATE FUNCTION trading.replay_fills(
    p_states trading.position_states[], p_limit bigint, p_until_time timestamptz, p_until_seq bigint,
    p_skip text[], p_meet_time timestamptz, p_meet_seq bigint,
    OUT states trading.position_states[], OUT trips trading.round_trips[], OUT days trading.daily_totals[],
    OUT checkpoints trading.position_states[], OUT pnl_differences trading.pnl_difference[],
    OUT replayed bigint, OUT met boolean
) LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    f           record;
    at          integer := 0;
    s           trading.position_states;
    day         date;
    day_start   timestamptz;
    day_end     timestamptz := '-infinity';
    -- the unit
    part_of     trading.unit_fill;
    unit        trading.unit_fill[] := '{}';
    taken       boolean[];
    first       integer;
    pick        integer;
    ended       boolean;   -- a trip ended in it
    -- the last fill
    last_time   timestamptz;
    last_seq    bigint;
    last_id     text;
    last_bot    text;
    -- the open position
    is_long     boolean;
    qty         numeric;
    cost        numeric;
    peak        numeric;
    exited_qty  numeric;
    exited_cost numeric;
    -- what happened since the last border (of a day, a trip, a ledger)
    n           integer := 0;
    volume      numeric := 0;
    maker       numeric := 0;
    gross       numeric := 0;
    fees        numeric := 0;
    funding     numeric := 0;
    unattributed numeric := 0;   -- funding while flat: the day's, but no trip's
    -- the day so far, without what happened since the last border
    d_fills     integer := 0;
    d_volume    numeric := 0;
    d_maker     numeric := 0;
    d_gross     numeric := 0;
    d_fees      numeric := 0;
    d_funding   numeric := 0;
    part        numeric;
    part_fee    numeric;
    over        numeric;
    earned      numeric;
    unsure      boolean;
BEGIN
    states := p_states;
    trips := '{}';
    days := '{}';
    checkpoints := '{}';
    pnl_differences := '{}';
    replayed := 0;
    met := false;
    FOR f IN
        SELECT o.ordinality AS ord, r.exec_time, r.seq, r.exec_id, r.bot_id, r.buy, r.reason, r.is_maker, r.qty, r.price,
            r.price * r.qty AS value, r.fee, r.kind, r.closed_size, r.exec_pnl, count(*) OVER unit AS unit_size
        FROM unnest(p_states) WITH ORDINALITY AS o, LATERAL (
            SELECT exec_time, seq, exec_id, bot_id, side = 'Buy' AS buy, reason, is_maker, fills.qty, price, fee, closed_size,
                exec_pnl,
                CASE WHEN exec_type = 'Trade' THEN 'trade'
                    WHEN exec_type = 'Funding' THEN 'funding'
                    WHEN exec_type IN ('BustTrade', 'AdlTrade', 'Delivery', 'Settle', 'BlockTrade', 'MovePosition',
                                       'FutureSpread', 'CorporateAction') THEN 'trade'
                END AS kind
            FROM trading.fills
            WHERE account_id = o.account_id AND category = o.category AND symbol = o.symbol AND leg = o.leg
                AND (exec_time, seq) > (o.place_time, o.place_seq)
                AND (p_until_time IS NULL OR (exec_time, seq) <= (p_until_time, p_until_seq))
                AND (p_skip IS NULL OR exec_id <> ALL (p_skip))
            ORDER BY exec_time, seq
            FETCH FIRST coalesce(p_limit, 9223372036854775807) ROWS WITH TIES
        ) r
        WINDOW unit AS (
            PARTITION BY o.ordinality, r.exec_time, r.seq ORDER BY trading.fill_rank(r.closed_size, r.qty), r.exec_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        )
    LOOP
        replayed := replayed + 1;
        IF f.unit_size > 1 THEN
            part_of := f;
            unit := unit || part_of;
            CONTINUE WHEN cardinality(unit) < f.unit_size;
            taken := array_fill(false, ARRAY[f.unit_size::integer]);
            first := 1;
        END IF;
        IF f.exec_time >= day_end OR f.ord <> at THEN
            IF at > 0 THEN
                -- border: the day's sums, and the trip's
                s.fills := s.fills + n;
                s.maker_value := s.maker_value + maker;
                s.gross := s.gross + gross;
                s.fees := s.fees + fees;
                s.funding := s.funding + funding;
                d_fills := d_fills + n;
                d_volume := d_volume + volume;
                d_maker := d_maker + maker;
                d_gross := d_gross + gross;
                d_fees := d_fees + fees;
                d_funding := d_funding + funding + unattributed;
                days := days || ROW(s.account_id, s.category, s.symbol, day, d_fills, d_volume, d_maker, d_gross, d_fees,
                                    d_funding, s.leg, s.settle_coin)::trading.daily_totals;
                n := 0; volume := 0; maker := 0; gross := 0; fees := 0; funding := 0; unattributed := 0;
                d_fills := 0; d_volume := 0; d_maker := 0; d_gross := 0; d_fees := 0; d_funding := 0;
                s.bot_id := last_bot; s.place_time := last_time; s.place_seq := last_seq; s.place_id := last_id;
                s.is_long := is_long; s.held := qty; s.cost := cost; s.max_qty := greatest(peak, qty);
                s.exited_qty := exited_qty; s.exited_cost := exited_cost;
            END IF;
            day := (f.exec_time AT TIME ZONE 'UTC')::date;
            day_start := day::timestamp AT TIME ZONE 'UTC';
            day_end := (day + 1)::timestamp AT TIME ZONE 'UTC';
            IF f.ord <> at THEN
                IF at > 0 THEN
                    states[at] := s;
                END IF;
                at := f.ord;
                s := p_states[at];
                is_long := s.is_long; qty := s.held; cost := s.cost; peak := s.max_qty;
                exited_qty := s.exited_qty; exited_cost := s.exited_cost;
            END IF;
            IF s.place_time < day_start AND s.place_time > '-infinity' THEN
                checkpoints := checkpoints || s;
            END IF;
        END IF;

        ended := false;
        FOR number IN 1..f.unit_size LOOP
            IF f.unit_size > 1 THEN
                -- the first that fits the position, else the first
                pick := 0;
                FOR candidate IN first..f.unit_size LOOP
                    CONTINUE WHEN taken[candidate];
                    part_of := unit[candidate];
                    IF pick = 0 THEN
                        first := candidate;
                        pick := candidate;
                    END IF;
                    IF part_of.closed_size IS NULL OR part_of.kind IS DISTINCT FROM 'trade' OR part_of.closed_size =
                        (CASE WHEN qty > 0 AND part_of.buy <> is_long THEN least(part_of.qty, qty) ELSE 0 END)
                    THEN
                        pick := candidate;
                        EXIT;
                    END IF;
                END LOOP;
                taken[pick] := true;
                f := unit[pick];
            END IF;

            IF f.kind = 'trade' AND f.qty > 0 THEN
                n := n + 1;
                volume := volume + f.value;
                fees := fees + f.fee;
                earned := 0;
                unsure := false;
                IF f.is_maker THEN
                    maker := maker + f.value;
                END IF;
                IF qty = 0 THEN
                    is_long := f.buy;
                    qty := f.qty;
                    cost := f.value;
                    s.opened_at := f.exec_time; s.opened_seq := f.seq; s.opened_id := f.exec_id;
                    IF ended THEN
                        trips[cardinality(trips)].ends_flat := false;
                    END IF;
                ELSIF f.buy = is_long THEN
                    qty := qty + f.qty;
                    cost := cost + f.value;
                ELSE
                    unsure := s.from_opening;
                    IF qty > peak THEN
                        peak := qty;
                    END IF;
                    IF f.qty < qty THEN
                        part := div(cost * f.qty * 1000000000000, qty) * 0.000000000001;
                        IF is_long THEN
                            earned := f.value - part;
                        ELSE
                            earned := part - f.value;
                        END IF;
                        gross := gross + earned;
                        cost := cost - part;
                        qty := qty - f.qty;
                        exited_qty := exited_qty + f.qty;
                        exited_cost := exited_cost + part;
                    ELSE
                        over := f.qty - qty;
                        IF over > 0 THEN
                            part_fee := div(f.fee * qty * 1000000000000, f.qty) * 0.000000000001;
                            part := qty * f.price;
                            volume := volume - f.value + part;
                            fees := fees - f.fee + part_fee;
                            IF f.is_maker THEN
                                maker := maker - f.value + part;
                            END IF;
                        ELSE
                            part := f.value;
                        END IF;
                        IF is_long THEN
                            earned := part - cost;
                        ELSE
                            earned := cost - part;
                        END IF;
                        gross := gross + earned;
                        -- border: the trip ends
                        s.fills := s.fills + n;
                        s.maker_value := s.maker_value + maker;
                        s.gross := s.gross + gross;
                        s.fees := s.fees + fees;
                        s.funding := s.funding + funding;
                        exited_cost := exited_cost + cost;
                        trips := trips || ROW(
                            s.account_id, s.category, s.symbol, f.bot_id, s.opened_at, s.opened_seq, s.opened_id, f.exec_time,
                            f.seq, f.exec_id, is_long, s.from_opening, over > 0, s.fills, f.reason, exited_qty + qty, peak,
                            exited_cost, CASE WHEN is_long THEN exited_cost + s.gross ELSE exited_cost - s.gross END,
                            s.gross, s.fees, s.funding, s.maker_value, s.leg, s.settle_coin, over = 0
                        )::trading.round_trips;
                        ended := true;
                        d_fills := d_fills + n;
                        d_volume := d_volume + volume;
                        d_maker := d_maker + maker;
                        d_gross := d_gross + gross;
                        d_fees := d_fees + fees;
                        d_funding := d_funding + funding + unattributed;
                        n := 0; gross := 0; funding := 0; unattributed := 0;
                        peak := 0; exited_qty := 0; exited_cost := 0;
                        s.from_opening := false; s.fills := 0; s.gross := 0; s.fees := 0; s.funding := 0; s.maker_value := 0;
                        IF over > 0 THEN
                            -- the rest of this fill opens the other side; it is one more fill of the new trip, not of the day
                            s.fills := 1;
                            volume := over * f.price;
                            fees := f.fee - part_fee;
                            maker := CASE WHEN f.is_maker THEN volume ELSE 0 END;
                            is_long := f.buy;
                            qty := over;
                            cost := volume;
                            s.opened_at := f.exec_time; s.opened_seq := f.seq; s.opened_id := f.exec_id;
                        ELSE
                            volume := 0; fees := 0; maker := 0;
                            qty := 0;
                            cost := 0;
                            s.opened_at := NULL; s.opened_seq := NULL; s.opened_id := NULL;
                        END IF;
                    END IF;
                END IF;
                -- Bybit rounds its average entry price
                IF f.exec_pnl IS NOT NULL AND abs(f.exec_pnl - earned) > 0.000001 + f.value * 0.00000001 AND NOT unsure THEN
                    pnl_differences := pnl_differences || ROW(
                        s.account_id, f.bot_id, s.category, s.symbol, s.leg, f.exec_time, f.seq, f.exec_id, earned, f.exec_pnl,
                        CASE WHEN f.unit_size = 1 THEN f.exec_id
                            ELSE (SELECT string_agg(u.exec_id, ' ' ORDER BY u.exec_id) FROM unnest(unit) AS u) END
                    )::trading.pnl_difference;
                END IF;
            ELSIF f.kind = 'funding' THEN
                IF qty = 0 THEN
                    unattributed := unattributed - f.fee;
                ELSE
                    funding := funding - f.fee;
                END IF;
            END IF;
        END LOOP;
        last_time := f.exec_time; last_seq := f.seq; last_id := f.exec_id; last_bot := f.bot_id;
        IF f.unit_size > 1 THEN
            unit := '{}';
        END IF;
        IF ended AND p_meet_time IS NOT NULL AND qty = 0 AND (f.exec_time, f.seq) >= (p_meet_time, p_meet_seq) THEN
            met := EXISTS (
                SELECT FROM trading.round_trips t
                WHERE t.account_id = s.account_id AND t.category = s.category AND t.symbol = s.symbol AND t.leg = s.leg
                    AND t.closed_at = f.exec_time AND t.closed_seq = f.seq AND t.ends_flat
            );
            EXIT WHEN met;
        END IF;
    END LOOP;
    IF at > 0 THEN
        s.fills := s.fills + n;
        s.maker_value := s.maker_value + maker;
        s.gross := s.gross + gross;
        s.fees := s.fees + fees;
        s.funding := s.funding + funding;
        s.bot_id := last_bot; s.place_time := last_time; s.place_seq := last_seq; s.place_id := last_id;
        s.is_long := is_long; s.held := qty; s.cost := cost; s.max_qty := greatest(peak, qty);
        s.exited_qty := exited_qty; s.exited_cost := exited_cost;
        states[at] := s;
        d_fills := d_fills + n;
        d_funding := d_funding + funding + unattributed;
        days := days || ROW(s.account_id, s.category, s.symbol, day, d_fills, d_volume + volume, d_maker + maker,
                            d_gross + gross, d_fees + fees, d_funding, s.leg, s.settle_coin)::trading.daily_totals;
    END IF;
END $$;
COMMENT ON FUNCTION trading.replay_fills(trading.position_states[], bigint, timestamptz, bigint, text[], timestamptz, bigint) IS
    'Replays fills onward from the given states: the states afterwards, the trips that ended, the daily totals to add.';

-- The views with the leg and its coin as their last columns.
CREATE OR REPLACE VIEW trading.position_summaries AS
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
        WHERE s.account_id = t.account_id AND s.category = t.category AND s.symbol = t.symbol AND s.leg = t.leg
            AND (t.closed_at, t.closed_seq) >= (s.redo_time, s.redo_seq)
    ) AS provisional,
    t.leg,
    t.settle_coin
FROM trading.round_trips t;
COMMENT ON COLUMN trading.position_summaries.leg IS 'both in one-way mode, long or short in hedge mode.';
COMMENT ON COLUMN trading.position_summaries.settle_coin IS 'The coin of every amount here.';

CREATE OR REPLACE VIEW trading.open_positions AS
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
    s.place_time AS last_fill_at,
    s.leg,
    s.settle_coin
FROM trading.position_states s
JOIN trading.accounts a USING (account_id)
WHERE s.held > 0;
COMMENT ON COLUMN trading.open_positions.leg IS 'both in one-way mode, long or short in hedge mode.';
COMMENT ON COLUMN trading.open_positions.settle_coin IS 'The coin of every amount here.';

CREATE OR REPLACE VIEW trading.books_balance AS
SELECT a.bot_id, a.environment, d.account_id, d.category, d.symbol, trim_scale(d.net) AS days_net,
    trim_scale(coalesce(e.net, 0)) AS trips_net, trim_scale(coalesce(s.gross - s.fees + s.funding, 0)) AS open_net,
    trim_scale(d.net - coalesce(e.net, 0) - coalesce(s.gross - s.fees + s.funding, 0)) AS loose_funding,
    d.leg, d.settle_coin
FROM (
    SELECT account_id, category, symbol, leg, min(settle_coin) AS settle_coin, sum(gross - fees + funding) AS net
    FROM trading.daily_totals GROUP BY 1, 2, 3, 4
) d
LEFT JOIN (
    SELECT account_id, category, symbol, leg, sum(won + lost) AS net FROM trading.daily_exits GROUP BY 1, 2, 3, 4
) e USING (account_id, category, symbol, leg)
LEFT JOIN trading.position_states s USING (account_id, category, symbol, leg)
JOIN trading.accounts a USING (account_id);
COMMENT ON COLUMN trading.books_balance.leg IS 'both in one-way mode, long or short in hedge mode.';
COMMENT ON COLUMN trading.books_balance.settle_coin IS 'The coin of every amount here.';

CREATE OR REPLACE FUNCTION trading.exec_pnl_check(p_bot text, p_from timestamptz, p_to timestamptz)
RETURNS TABLE (bot_id text, account_id smallint, symbol text, opened_at timestamptz, closed_at timestamptz, ours numeric,
               theirs numeric, difference numeric)
LANGUAGE sql STABLE AS $$
    SELECT t.bot_id, t.account_id, t.symbol, t.opened_at, t.closed_at, trim_scale(t.gross), trim_scale(x.pnl),
        trim_scale(t.gross - x.pnl)
    FROM trading.round_trips t, LATERAL (
        SELECT sum(f.exec_pnl) AS pnl, bool_and(f.exec_pnl IS NOT NULL) AS known
        FROM trading.fills f
        WHERE f.account_id = t.account_id AND f.category = t.category AND f.symbol = t.symbol AND f.leg = t.leg
            AND (f.exec_time, f.seq) >= (t.opened_at, t.opened_seq) AND (f.exec_time, f.seq) <= (t.closed_at, t.closed_seq)
            AND (f.side = 'Sell') = t.is_long AND f.exec_type <> 'Funding'
    ) x
    WHERE t.bot_id = p_bot AND t.closed_at >= p_from AND t.closed_at < p_to AND NOT t.from_opening AND x.known
    ORDER BY t.closed_at
$$;
