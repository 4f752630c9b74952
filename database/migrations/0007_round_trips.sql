-- Round trips and daily totals, kept exact by the insert itself.
--
-- A position is walked fill by fill, in the order exec_time, seq, exec_id, from the state its last fill left. Everything
-- kept is a sum, so nothing is lost by adding up; ratios are made in views. One rule divides: a partial exit takes
--     cost * qty / held, cut off after 12 decimals,
-- of the cost of what is held, and the exit that ends the trip takes the rest. So the gross P&L of a trip is exactly its
-- exit value less its entry value (the opposite for a short), however it was split, and the average entry price stays
-- what it was after each exit, within 12 decimals. A fill through zero ends one trip and opens the next; its fee is
-- divided by the same rule.

CREATE TABLE trading.position_states (
    account_id   smallint NOT NULL REFERENCES trading.accounts,
    category     text COLLATE "C" NOT NULL,
    symbol       text COLLATE "C" NOT NULL,
    bot_id       text COLLATE "C" NOT NULL,
    place_time   timestamptz NOT NULL,
    place_seq    bigint NOT NULL,
    place_id     text COLLATE "C" NOT NULL,
    redo_time    timestamptz,
    redo_seq     bigint,
    redo_id      text COLLATE "C",
    is_long      boolean NOT NULL,
    held         numeric NOT NULL,
    cost         numeric NOT NULL,
    opened_at    timestamptz,
    opened_seq   bigint,
    opened_id    text COLLATE "C",
    from_opening boolean NOT NULL,
    exited_qty   numeric NOT NULL,
    exited_cost  numeric NOT NULL,
    max_qty      numeric NOT NULL,
    fills        integer NOT NULL,
    gross        numeric NOT NULL,
    fees         numeric NOT NULL,
    funding      numeric NOT NULL,
    maker_value  numeric NOT NULL,
    PRIMARY KEY (account_id, category, symbol)
) WITH (fillfactor = 50);
COMMENT ON TABLE trading.position_states IS 'Where each account and symbol stands after its last fill: the open position and the sums of its trip so far.';
COMMENT ON COLUMN trading.position_states.account_id IS 'The account.';
COMMENT ON COLUMN trading.position_states.category IS 'linear.';
COMMENT ON COLUMN trading.position_states.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.position_states.bot_id IS 'The bot of that account.';
COMMENT ON COLUMN trading.position_states.place_time IS 'exec_time of the last fill taken in.';
COMMENT ON COLUMN trading.position_states.place_seq IS 'seq of that fill.';
COMMENT ON COLUMN trading.position_states.place_id IS 'exec_id of that fill.';
COMMENT ON COLUMN trading.position_states.redo_time IS 'exec_time of the earliest late fill not taken in yet; null when there is none. Trips from there on are provisional.';
COMMENT ON COLUMN trading.position_states.redo_seq IS 'seq of that fill.';
COMMENT ON COLUMN trading.position_states.redo_id IS 'exec_id of that fill.';
COMMENT ON COLUMN trading.position_states.is_long IS 'Direction of the open position; of the last one when flat.';
COMMENT ON COLUMN trading.position_states.held IS 'Open quantity, never negative; 0 when flat.';
COMMENT ON COLUMN trading.position_states.cost IS 'Entry value of what is held; divided by held it is the average entry price.';
COMMENT ON COLUMN trading.position_states.opened_at IS 'When the open position began; null when flat.';
COMMENT ON COLUMN trading.position_states.opened_seq IS 'seq of the fill that opened it.';
COMMENT ON COLUMN trading.position_states.opened_id IS 'exec_id of the fill that opened it; empty for an opening position.';
COMMENT ON COLUMN trading.position_states.from_opening IS 'True when part of it was held before the record begins.';
COMMENT ON COLUMN trading.position_states.exited_qty IS 'Quantity closed so far in this trip.';
COMMENT ON COLUMN trading.position_states.exited_cost IS 'Entry value of what was closed so far.';
COMMENT ON COLUMN trading.position_states.max_qty IS 'Largest quantity held in this trip, up to the last exit.';
COMMENT ON COLUMN trading.position_states.fills IS 'Trades of this trip so far.';
COMMENT ON COLUMN trading.position_states.gross IS 'P&L of the exits so far, before fees and funding.';
COMMENT ON COLUMN trading.position_states.fees IS 'Fees so far; positive is paid.';
COMMENT ON COLUMN trading.position_states.funding IS 'Funding so far; positive is received.';
COMMENT ON COLUMN trading.position_states.maker_value IS 'Value of the maker fills so far.';

CREATE TABLE trading.round_trips (
    account_id   smallint NOT NULL,
    category     text COLLATE "C" NOT NULL,
    symbol       text COLLATE "C" NOT NULL,
    bot_id       text COLLATE "C" NOT NULL,
    opened_at    timestamptz NOT NULL,
    opened_seq   bigint NOT NULL,
    opened_id    text COLLATE "C" NOT NULL,
    closed_at    timestamptz NOT NULL,
    closed_seq   bigint NOT NULL,
    closed_id    text COLLATE "C" NOT NULL,
    is_long      boolean NOT NULL,
    from_opening boolean NOT NULL,
    reversed     boolean NOT NULL,
    fills        integer NOT NULL,
    exit_reason  text COLLATE "C" NOT NULL,
    qty          numeric NOT NULL,
    max_qty      numeric NOT NULL,
    entry_value  numeric NOT NULL,
    exit_value   numeric NOT NULL,
    gross        numeric NOT NULL,
    fees         numeric NOT NULL,
    funding      numeric NOT NULL,
    maker_value  numeric NOT NULL,
    PRIMARY KEY (account_id, category, symbol, closed_at, closed_seq, closed_id)
);
COMMENT ON TABLE trading.round_trips IS 'One row for each position from flat to flat, as exact sums. Read it as trading.position_summaries.';
COMMENT ON COLUMN trading.round_trips.account_id IS 'The account.';
COMMENT ON COLUMN trading.round_trips.category IS 'linear.';
COMMENT ON COLUMN trading.round_trips.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.round_trips.bot_id IS 'The bot of that account.';
COMMENT ON COLUMN trading.round_trips.opened_at IS 'exec_time of the fill that opened it.';
COMMENT ON COLUMN trading.round_trips.opened_seq IS 'seq of that fill.';
COMMENT ON COLUMN trading.round_trips.opened_id IS 'exec_id of that fill; empty for an opening position.';
COMMENT ON COLUMN trading.round_trips.closed_at IS 'exec_time of the fill that ended it.';
COMMENT ON COLUMN trading.round_trips.closed_seq IS 'seq of that fill.';
COMMENT ON COLUMN trading.round_trips.closed_id IS 'exec_id of that fill.';
COMMENT ON COLUMN trading.round_trips.is_long IS 'True for a long, false for a short.';
COMMENT ON COLUMN trading.round_trips.from_opening IS 'True when part of it was held before the record begins.';
COMMENT ON COLUMN trading.round_trips.reversed IS 'True when the fill that ended it opened the opposite position.';
COMMENT ON COLUMN trading.round_trips.fills IS 'Trades in it; one through zero counts in both trips.';
COMMENT ON COLUMN trading.round_trips.exit_reason IS 'reason of the fill that ended it.';
COMMENT ON COLUMN trading.round_trips.qty IS 'Quantity entered, which is the quantity exited.';
COMMENT ON COLUMN trading.round_trips.max_qty IS 'Largest quantity held at once.';
COMMENT ON COLUMN trading.round_trips.entry_value IS 'Sum of price * qty of the entries.';
COMMENT ON COLUMN trading.round_trips.exit_value IS 'Sum of price * qty of the exits.';
COMMENT ON COLUMN trading.round_trips.gross IS 'exit_value - entry_value for a long, the opposite for a short.';
COMMENT ON COLUMN trading.round_trips.fees IS 'Fees of its trades; positive is paid.';
COMMENT ON COLUMN trading.round_trips.funding IS 'Funding while it was open; positive is received.';
COMMENT ON COLUMN trading.round_trips.maker_value IS 'Value of its maker fills.';
CREATE INDEX round_trips_by_bot ON trading.round_trips (bot_id, closed_at);
COMMENT ON INDEX trading.round_trips_by_bot IS 'A bot''s latest round trips.';

-- The day stands before the symbol in the keys of the days: a question about some days reads no others.
CREATE TABLE trading.daily_totals (
    account_id   smallint NOT NULL,
    category     text COLLATE "C" NOT NULL,
    symbol       text COLLATE "C" NOT NULL,
    day          date NOT NULL,
    fills        integer NOT NULL,
    volume       numeric NOT NULL,
    maker_volume numeric NOT NULL,
    gross        numeric NOT NULL,
    fees         numeric NOT NULL,
    funding      numeric NOT NULL,
    PRIMARY KEY (account_id, day, category, symbol)
) WITH (fillfactor = 80);
COMMENT ON TABLE trading.daily_totals IS 'What happened on each UTC day per account and symbol, on cash basis.';
COMMENT ON COLUMN trading.daily_totals.account_id IS 'The account.';
COMMENT ON COLUMN trading.daily_totals.category IS 'linear.';
COMMENT ON COLUMN trading.daily_totals.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.daily_totals.day IS 'UTC day of exec_time.';
COMMENT ON COLUMN trading.daily_totals.fills IS 'Trades.';
COMMENT ON COLUMN trading.daily_totals.volume IS 'Sum of price * qty of the trades.';
COMMENT ON COLUMN trading.daily_totals.maker_volume IS 'The same of the maker fills.';
COMMENT ON COLUMN trading.daily_totals.gross IS 'P&L of the exits of that day, before fees and funding.';
COMMENT ON COLUMN trading.daily_totals.fees IS 'Fees of that day; positive is paid.';
COMMENT ON COLUMN trading.daily_totals.funding IS 'Funding of that day; positive is received.';

CREATE TABLE trading.daily_exits (
    account_id   smallint NOT NULL,
    category     text COLLATE "C" NOT NULL,
    symbol       text COLLATE "C" NOT NULL,
    day          date NOT NULL,
    exit_reason  text COLLATE "C" NOT NULL,
    trips        integer NOT NULL,
    wins         integer NOT NULL,
    losses       integer NOT NULL,
    won          numeric NOT NULL,
    lost         numeric NOT NULL,
    best         numeric NOT NULL,
    worst        numeric NOT NULL,
    held_ms      bigint NOT NULL,
    PRIMARY KEY (account_id, day, category, symbol, exit_reason)
) WITH (fillfactor = 80);
COMMENT ON TABLE trading.daily_exits IS 'Round trips that ended on each UTC day, per account, symbol and reason. Their net is won + lost.';
COMMENT ON COLUMN trading.daily_exits.account_id IS 'The account.';
COMMENT ON COLUMN trading.daily_exits.category IS 'linear.';
COMMENT ON COLUMN trading.daily_exits.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.daily_exits.day IS 'UTC day of the last exit.';
COMMENT ON COLUMN trading.daily_exits.exit_reason IS 'Why they ended.';
COMMENT ON COLUMN trading.daily_exits.trips IS 'Round trips.';
COMMENT ON COLUMN trading.daily_exits.wins IS 'Those with a net above 0.';
COMMENT ON COLUMN trading.daily_exits.losses IS 'Those with a net below 0.';
COMMENT ON COLUMN trading.daily_exits.won IS 'Sum of the nets above 0.';
COMMENT ON COLUMN trading.daily_exits.lost IS 'Sum of the nets below 0, as a negative number.';
COMMENT ON COLUMN trading.daily_exits.best IS 'Largest net.';
COMMENT ON COLUMN trading.daily_exits.worst IS 'Smallest net.';
COMMENT ON COLUMN trading.daily_exits.held_ms IS 'Sum of their holding times in milliseconds.';

-- How an account and symbol stood before its first fill: flat, or holding what its opening says.
CREATE FUNCTION trading.first_state(p_account smallint, p_category text, p_symbol text, p_bot text)
RETURNS trading.position_states LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT p_account, p_category, p_symbol, p_bot, '-infinity'::timestamptz, -1, '', NULL::timestamptz, NULL::bigint, NULL,
        coalesce(o.side = 'Buy', true), coalesce(o.qty, 0), coalesce(o.qty * o.entry_price, 0),
        o.as_of, CASE WHEN o.as_of IS NOT NULL THEN -1 END, CASE WHEN o.as_of IS NOT NULL THEN '' END,
        o.as_of IS NOT NULL, 0, 0, coalesce(o.qty, 0), 0, 0, 0, 0, 0
    FROM (SELECT) AS one
    LEFT JOIN trading.opening_positions o
        ON o.account_id = p_account AND o.category = p_category AND o.symbol = p_symbol
$$;
COMMENT ON FUNCTION trading.first_state(smallint, text, text, text) IS 'The state before the first fill: flat, or the opening position. An opening comes before every fill, whatever its as_of.';

-- Walk fills onward from each of the given states; the heart of the record. Reads trading.fills, changes nothing.
--   p_states  where to start, one an account and symbol
--   p_limit   at most so many fills a state
--   p_until   stop after this place (time, seq, id); null for the end
--   p_skip    exec_ids to leave out; null for none
--   p_meet    stop where a trip ends flat at or after this place, at the very fill where a stored trip ends flat; null for never
-- Gives the states afterwards, the trips that ended, the daily totals to add, how many fills were walked, and whether it met.
CREATE FUNCTION trading.walk(
    p_states trading.position_states[], p_limit bigint,
    p_until_time timestamptz, p_until_seq bigint, p_until_id text,
    p_skip text[], p_meet_time timestamptz, p_meet_seq bigint, p_meet_id text,
    OUT states trading.position_states[], OUT trips trading.round_trips[], OUT days trading.daily_totals[],
    OUT walked bigint, OUT met boolean
) LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    f           record;
    at          integer := 0;
    s           trading.position_states;
    day         date;
    day_end     timestamptz := '-infinity';
    -- the last fill
    last_time   timestamptz;
    last_seq    bigint;
    last_id     text;
    last_bot    text;
    -- the open position
    is_long     boolean;
    held        numeric;
    cost        numeric;
    peak        numeric;
    exited_qty  numeric;
    exited_cost numeric;
    -- what happened since the last border (of a day, a trip, a symbol)
    n           integer := 0;
    volume      numeric := 0;
    maker       numeric := 0;
    gross       numeric := 0;
    fees        numeric := 0;
    funding     numeric := 0;
    loose       numeric := 0;   -- funding while flat: the day's, but no trip's
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
BEGIN
    states := p_states;
    trips := '{}';
    days := '{}';
    walked := 0;
    met := false;
    FOR f IN
        SELECT o.ord, r.*
        FROM unnest(p_states) WITH ORDINALITY AS o (
            account_id, category, symbol, bot_id, place_time, place_seq, place_id, redo_time, redo_seq, redo_id, is_long, held,
            cost, opened_at, opened_seq, opened_id, from_opening, exited_qty, exited_cost, max_qty, fills, gross, fees, funding,
            maker_value, ord
        ), LATERAL (
            SELECT exec_time, seq, exec_id, bot_id, side = 'Buy' AS buy, reason, is_maker, qty, price, price * qty AS value, fee,
                CASE WHEN exec_type = 'Trade' THEN 'trade'
                    WHEN exec_type = 'Funding' THEN 'funding'
                    WHEN exec_type IN ('BustTrade', 'AdlTrade', 'Delivery', 'Settle', 'BlockTrade', 'MovePosition',
                                       'FutureSpread', 'CorporateAction') THEN 'trade'
                END AS kind
            FROM trading.fills
            WHERE account_id = o.account_id AND category = o.category AND symbol = o.symbol
                AND (exec_time, seq, exec_id) > (o.place_time, o.place_seq, o.place_id)
                AND (p_until_time IS NULL OR (exec_time, seq, exec_id) <= (p_until_time, p_until_seq, p_until_id))
                AND (p_skip IS NULL OR exec_id <> ALL (p_skip))
            ORDER BY exec_time, seq, exec_id
            LIMIT p_limit
        ) r
        ORDER BY o.ord, r.exec_time, r.seq, r.exec_id
    LOOP
        walked := walked + 1;
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
                d_funding := d_funding + funding + loose;
                days := days || ROW(s.account_id, s.category, s.symbol, day, d_fills, d_volume, d_maker, d_gross, d_fees,
                                    d_funding)::trading.daily_totals;
                n := 0; volume := 0; maker := 0; gross := 0; fees := 0; funding := 0; loose := 0;
                d_fills := 0; d_volume := 0; d_maker := 0; d_gross := 0; d_fees := 0; d_funding := 0;
            END IF;
            IF f.ord <> at THEN
                IF at > 0 THEN
                    s.bot_id := last_bot; s.place_time := last_time; s.place_seq := last_seq; s.place_id := last_id;
                    s.is_long := is_long; s.held := held; s.cost := cost; s.max_qty := greatest(peak, held);
                    s.exited_qty := exited_qty; s.exited_cost := exited_cost;
                    states[at] := s;
                END IF;
                at := f.ord;
                s := p_states[at];
                is_long := s.is_long; held := s.held; cost := s.cost; peak := s.max_qty;
                exited_qty := s.exited_qty; exited_cost := s.exited_cost;
            END IF;
            day := (f.exec_time AT TIME ZONE 'UTC')::date;
            day_end := (day + 1)::timestamp AT TIME ZONE 'UTC';
        END IF;

        IF f.kind = 'trade' AND f.qty > 0 THEN
            n := n + 1;
            volume := volume + f.value;
            fees := fees + f.fee;
            IF f.is_maker THEN
                maker := maker + f.value;
            END IF;
            IF held = 0 THEN
                is_long := f.buy;
                held := f.qty;
                cost := f.value;
                s.opened_at := f.exec_time; s.opened_seq := f.seq; s.opened_id := f.exec_id;
            ELSIF f.buy = is_long THEN
                held := held + f.qty;
                cost := cost + f.value;
            ELSE
                IF held > peak THEN
                    peak := held;
                END IF;
                IF f.qty < held THEN
                    part := div(cost * f.qty * 1000000000000, held) * 0.000000000001;
                    IF is_long THEN
                        gross := gross + f.value - part;
                    ELSE
                        gross := gross + part - f.value;
                    END IF;
                    cost := cost - part;
                    held := held - f.qty;
                    exited_qty := exited_qty + f.qty;
                    exited_cost := exited_cost + part;
                ELSE
                    over := f.qty - held;
                    IF over > 0 THEN
                        part_fee := div(f.fee * held * 1000000000000, f.qty) * 0.000000000001;
                        part := held * f.price;
                        volume := volume - f.value + part;
                        fees := fees - f.fee + part_fee;
                        IF f.is_maker THEN
                            maker := maker - f.value + part;
                        END IF;
                    ELSE
                        part := f.value;
                    END IF;
                    IF is_long THEN
                        gross := gross + part - cost;
                    ELSE
                        gross := gross + cost - part;
                    END IF;
                    -- border: the trip ends
                    s.fills := s.fills + n;
                    s.maker_value := s.maker_value + maker;
                    s.gross := s.gross + gross;
                    s.fees := s.fees + fees;
                    s.funding := s.funding + funding;
                    exited_cost := exited_cost + cost;
                    trips := trips || ROW(
                        s.account_id, s.category, s.symbol, f.bot_id, s.opened_at, s.opened_seq, s.opened_id, f.exec_time, f.seq,
                        f.exec_id, is_long, s.from_opening, over > 0, s.fills, f.reason, exited_qty + held, peak, exited_cost,
                        CASE WHEN is_long THEN exited_cost + s.gross ELSE exited_cost - s.gross END,
                        s.gross, s.fees, s.funding, s.maker_value
                    )::trading.round_trips;
                    d_fills := d_fills + n;
                    d_volume := d_volume + volume;
                    d_maker := d_maker + maker;
                    d_gross := d_gross + gross;
                    d_fees := d_fees + fees;
                    d_funding := d_funding + funding + loose;
                    n := 0; gross := 0; funding := 0; loose := 0;
                    peak := 0; exited_qty := 0; exited_cost := 0;
                    s.from_opening := false; s.fills := 0; s.gross := 0; s.fees := 0; s.funding := 0; s.maker_value := 0;
                    IF over > 0 THEN
                        -- the rest of this fill opens the other side; it is one more fill of the new trip, not of the day
                        s.fills := 1;
                        volume := over * f.price;
                        fees := f.fee - part_fee;
                        maker := CASE WHEN f.is_maker THEN volume ELSE 0 END;
                        is_long := f.buy;
                        held := over;
                        cost := volume;
                        s.opened_at := f.exec_time; s.opened_seq := f.seq; s.opened_id := f.exec_id;
                    ELSE
                        volume := 0; fees := 0; maker := 0;
                        held := 0;
                        cost := 0;
                        s.opened_at := NULL; s.opened_seq := NULL; s.opened_id := NULL;
                        IF p_meet_time IS NOT NULL THEN
                            met := (f.exec_time, f.seq, f.exec_id) >= (p_meet_time, p_meet_seq, p_meet_id) AND EXISTS (
                                SELECT FROM trading.round_trips t
                                WHERE t.account_id = s.account_id AND t.category = s.category AND t.symbol = s.symbol
                                    AND t.closed_at = f.exec_time AND t.closed_seq = f.seq AND t.closed_id = f.exec_id
                                    AND NOT t.reversed
                            );
                        END IF;
                    END IF;
                END IF;
            END IF;
        ELSIF f.kind = 'funding' THEN
            IF held = 0 THEN
                loose := loose - f.fee;
            ELSE
                funding := funding - f.fee;
            END IF;
        END IF;
        last_time := f.exec_time; last_seq := f.seq; last_id := f.exec_id; last_bot := f.bot_id;
        EXIT WHEN met;
    END LOOP;
    IF at > 0 THEN
        s.fills := s.fills + n;
        s.maker_value := s.maker_value + maker;
        s.gross := s.gross + gross;
        s.fees := s.fees + fees;
        s.funding := s.funding + funding;
        s.bot_id := last_bot; s.place_time := last_time; s.place_seq := last_seq; s.place_id := last_id;
        s.is_long := is_long; s.held := held; s.cost := cost; s.max_qty := greatest(peak, held);
        s.exited_qty := exited_qty; s.exited_cost := exited_cost;
        states[at] := s;
        d_fills := d_fills + n;
        d_funding := d_funding + funding + loose;
        days := days || ROW(s.account_id, s.category, s.symbol, day, d_fills, d_volume + volume, d_maker + maker,
                            d_gross + gross, d_fees + fees, d_funding)::trading.daily_totals;
    END IF;
END $$;
COMMENT ON FUNCTION trading.walk(trading.position_states[], bigint, timestamptz, bigint, text, text[], timestamptz, bigint, text) IS
    'Walks fills onward from the given states: the states afterwards, the trips that ended, the daily totals to add.';
