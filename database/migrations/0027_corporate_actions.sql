-- A split or reverse split changes the size and the average price of a position, for no money. Bybit documents no row of it,
-- so nothing is guessed from one: the position as the exchange states it after the action is an adjustment, and the round
-- trip continues with the same cost. A fee in another coin than the settle coin is not in the trip's fees (0026 has it).

CREATE TABLE trading.position_adjustments (
    account_id  smallint NOT NULL REFERENCES trading.accounts,
    category    text COLLATE "C" NOT NULL,
    symbol      text COLLATE "C" NOT NULL,
    leg         text COLLATE "C" NOT NULL CHECK (leg IN ('both', 'long', 'short')),
    exec_id     text COLLATE "C" NOT NULL,
    exec_time   timestamptz NOT NULL,
    seq         bigint NOT NULL,
    is_long     boolean NOT NULL,
    qty         numeric NOT NULL CHECK (qty > 0),
    entry_price numeric NOT NULL CHECK (entry_price > 0),
    qty_before  numeric,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, category, symbol, exec_id)
);
COMMENT ON TABLE trading.position_adjustments IS 'Positions after a corporate action (split, reverse split), as the exchange states them. Counts at the place of its CorporateAction execution.';
COMMENT ON COLUMN trading.position_adjustments.exec_id IS 'The CorporateAction row of trading.fills.';
COMMENT ON COLUMN trading.position_adjustments.account_id IS 'The account.';
COMMENT ON COLUMN trading.position_adjustments.category IS 'linear.';
COMMENT ON COLUMN trading.position_adjustments.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.position_adjustments.leg IS 'both in one-way mode, long or short in hedge mode.';
COMMENT ON COLUMN trading.position_adjustments.exec_time IS 'When the exchange carried it out.';
COMMENT ON COLUMN trading.position_adjustments.seq IS 'Bybit''s sequence number of the action.';
COMMENT ON COLUMN trading.position_adjustments.is_long IS 'True for a long.';
COMMENT ON COLUMN trading.position_adjustments.qty IS 'Size after the action: the exchange''s position less the fills after it.';
COMMENT ON COLUMN trading.position_adjustments.entry_price IS 'Average entry price of the exchange''s position. A check: the cost of a known position stays what it was.';
COMMENT ON COLUMN trading.position_adjustments.qty_before IS 'What our record held before it; null when nothing.';
COMMENT ON COLUMN trading.position_adjustments.recorded_at IS 'When it was recorded, wall clock.';

CREATE OR REPLACE FUNCTION trading.replay_fills(
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
    split       trading.position_adjustments;
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
            SELECT exec_time, seq, exec_id, bot_id, side = 'Buy' AS buy, reason, is_maker, fills.qty, price, closed_size, exec_pnl,
                CASE WHEN fee_currency NOT IN ('', 'USDT', 'USDC') THEN 0 ELSE fee END AS fee,
                CASE WHEN side = '' THEN NULL
                    WHEN exec_type = 'Trade' THEN 'trade'
                    WHEN exec_type = 'Funding' THEN 'funding'
                    WHEN exec_type IN ('BustTrade', 'AdlTrade', 'Delivery', 'Settle', 'BlockTrade', 'MovePosition',
                                       'FutureSpread') THEN 'trade'
                    WHEN exec_type = 'CorporateAction' THEN 'split'
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
                -- Bybit rounds its average entry price; in USDC it counts from the last session's settlement
                IF f.exec_pnl IS NOT NULL AND s.settle_coin = 'USDT' AND abs(f.exec_pnl - earned) > 0.000001 + f.value * 0.00000001 AND NOT unsure THEN
                    pnl_differences := pnl_differences || ROW(
                        s.account_id, f.bot_id, s.category, s.symbol, s.leg, f.exec_time, f.seq, f.exec_id, earned, f.exec_pnl,
                        CASE WHEN f.unit_size = 1 THEN f.exec_id
                            ELSE (SELECT string_agg(u.exec_id, ' ' ORDER BY u.exec_id) FROM unnest(unit) AS u) END
                    )::trading.pnl_difference;
                END IF;
            ELSIF f.kind = 'split' THEN
                SELECT * INTO split FROM trading.position_adjustments a
                WHERE a.account_id = s.account_id AND a.category = s.category AND a.symbol = s.symbol AND a.leg = s.leg
                    AND a.exec_id = f.exec_id;
                IF FOUND AND split.qty > 0 THEN
                    IF qty > 0 THEN
                        -- the same position in other units: its cost, and what has been realised, stay
                        peak := greatest(peak, qty) * split.qty / qty;
                        exited_qty := exited_qty * split.qty / qty;
                    ELSE
                        cost := split.qty * split.entry_price;
                        s.from_opening := true;
                        s.opened_at := f.exec_time; s.opened_seq := f.seq; s.opened_id := f.exec_id;
                    END IF;
                    is_long := split.is_long;
                    qty := split.qty;
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

CREATE FUNCTION trading.add_adjustment(
    p_account smallint, p_symbol text, p_exec_id text, p_is_long boolean, p_qty numeric, p_entry_price numeric
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    f trading.fills;
    s trading.position_states;
BEGIN
    SELECT * INTO f FROM trading.fills
    WHERE account_id = p_account AND category = 'linear' AND symbol = p_symbol AND exec_id = p_exec_id;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    s := trading.lock_state(p_account, 'linear', p_symbol, f.leg, f.bot_id);
    INSERT INTO trading.position_adjustments
    SELECT p_account, 'linear', p_symbol, f.leg, p_exec_id, f.exec_time, f.seq, p_is_long, p_qty, p_entry_price,
        nullif(abs(CASE WHEN s.is_long THEN s.held ELSE -s.held END - coalesce(sum(
            CASE WHEN l.side = 'Buy' THEN l.qty ELSE -l.qty END), 0)), 0)
    FROM trading.fills l
    WHERE l.account_id = p_account AND l.category = 'linear' AND l.symbol = p_symbol AND l.leg = f.leg
        AND (l.exec_time, l.seq) > (f.exec_time, f.seq) AND l.side <> ''
        AND l.exec_type IN ('Trade', 'BustTrade', 'AdlTrade', 'Delivery', 'Settle', 'BlockTrade', 'MovePosition', 'FutureSpread')
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM trading.save_states(ARRAY[trading.put_off(s, f.exec_time, f.seq)]);
    RETURN true;
END $$;
COMMENT ON FUNCTION trading.add_adjustment(smallint, text, text, boolean, numeric, numeric) IS
    'Records the position after a corporate action and has the ledger recomputed from there; false when it was recorded before.';
GRANT EXECUTE ON FUNCTION trading.add_adjustment(smallint, text, text, boolean, numeric, numeric) TO alpha_listener;

-- A fee whose currency became known later, and is another coin, changes the trip.
CREATE FUNCTION trading.recompute_learnt_fees() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    g record;
    s trading.position_states;
BEGIN
    FOR g IN
        SELECT n.account_id, n.category, n.symbol, n.leg, min(n.exec_time) AS first
        FROM after n JOIN before o
            ON n.account_id = o.account_id AND n.category = o.category AND n.symbol = o.symbol AND n.exec_id = o.exec_id
        WHERE n.category = 'linear' AND o.fee_currency IS NULL AND n.fee_currency NOT IN ('', 'USDT', 'USDC')
        GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    LOOP
        SELECT * INTO s FROM trading.position_states
        WHERE account_id = g.account_id AND category = g.category AND symbol = g.symbol AND leg = g.leg FOR UPDATE;
        IF FOUND AND g.first <= s.place_time THEN
            PERFORM trading.save_states(ARRAY[trading.put_off(s, g.first, -1)]);
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION trading.recompute_learnt_fees() IS 'Has a ledger recomputed whose fee turns out to be in another coin.';
CREATE TRIGGER recompute_learnt_fees AFTER UPDATE ON trading.fills
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION trading.recompute_learnt_fees();

CREATE INDEX fills_corporate_actions ON trading.fills (account_id, symbol) WHERE exec_type = 'CorporateAction';
COMMENT ON INDEX trading.fills_corporate_actions IS 'Corporate actions, of which there are few.';

-- Trips and days of fills that carry a fee in another coin, or of a corporate action, anew.
DO $$
DECLARE
    g record;
BEGIN
    FOR g IN
        SELECT DISTINCT account_id, category, symbol, leg FROM trading.fills
        WHERE category = 'linear' AND (fee_currency NOT IN ('', 'USDT', 'USDC') OR exec_type = 'CorporateAction')
        ORDER BY 1, 2, 3, 4
    LOOP
        PERFORM trading.mark_for_recompute(g.account_id, g.category, g.symbol, g.leg);
    END LOOP;
END $$;
