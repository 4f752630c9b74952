-- The insert keeps the books: every statement that adds fills brings states, trips and totals up to date.
-- In plpgsql, whose plans are kept over calls: PostgreSQL 17 plans an SQL function anew each time.

-- The sums of trips that ended, as rows of trading.daily_exits: what is added to them, and what verify compares with them.
CREATE FUNCTION trading.sum_exits(p_trips trading.round_trips[]) RETURNS SETOF trading.daily_exits
LANGUAGE sql STABLE AS $$
    SELECT t.account_id, t.category, t.symbol, (t.closed_at AT TIME ZONE 'UTC')::date, t.exit_reason,
        count(*)::integer, (count(*) FILTER (WHERE n.net > 0))::integer, (count(*) FILTER (WHERE n.net < 0))::integer,
        sum(greatest(n.net, 0)), sum(least(n.net, 0)), max(n.net), min(n.net),
        sum((extract(epoch FROM t.closed_at - t.opened_at) * 1000)::bigint)::bigint
    FROM unnest(p_trips) AS t, LATERAL (SELECT t.gross - t.fees + t.funding AS net OFFSET 0) AS n
    GROUP BY 1, 2, 3, 4, 5
$$;
COMMENT ON FUNCTION trading.sum_exits(trading.round_trips[]) IS 'Sums of trips that ended, per account, symbol, day and reason.';

-- Write what a walk gave: new states, trips that ended, totals to add.
CREATE FUNCTION trading.add_exits(p_trips trading.round_trips[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trading.daily_exits AS d SELECT * FROM trading.sum_exits(p_trips)
    ON CONFLICT (account_id, day, category, symbol, exit_reason) DO UPDATE SET
        trips = d.trips + excluded.trips, wins = d.wins + excluded.wins, losses = d.losses + excluded.losses,
        won = d.won + excluded.won, lost = d.lost + excluded.lost, best = greatest(d.best, excluded.best),
        worst = least(d.worst, excluded.worst), held_ms = d.held_ms + excluded.held_ms;
END $$;
COMMENT ON FUNCTION trading.add_exits(trading.round_trips[]) IS 'Adds trips that ended to trading.daily_exits.';

CREATE FUNCTION trading.add_days(p_days trading.daily_totals[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trading.daily_totals AS d SELECT * FROM unnest(p_days)
    ON CONFLICT (account_id, day, category, symbol) DO UPDATE SET
        fills = d.fills + excluded.fills, volume = d.volume + excluded.volume,
        maker_volume = d.maker_volume + excluded.maker_volume, gross = d.gross + excluded.gross,
        fees = d.fees + excluded.fees, funding = d.funding + excluded.funding;
END $$;
COMMENT ON FUNCTION trading.add_days(trading.daily_totals[]) IS 'Adds to trading.daily_totals; no two of the given are of the same account, symbol and day.';

CREATE FUNCTION trading.put_states(p_states trading.position_states[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE trading.position_states AS s SET
        bot_id = n.bot_id, place_time = n.place_time, place_seq = n.place_seq, place_id = n.place_id,
        redo_time = n.redo_time, redo_seq = n.redo_seq, redo_id = n.redo_id, is_long = n.is_long, held = n.held, cost = n.cost,
        opened_at = n.opened_at, opened_seq = n.opened_seq, opened_id = n.opened_id, from_opening = n.from_opening,
        exited_qty = n.exited_qty, exited_cost = n.exited_cost, max_qty = n.max_qty, fills = n.fills, gross = n.gross,
        fees = n.fees, funding = n.funding, maker_value = n.maker_value
    FROM unnest(p_states) AS n
    WHERE s.account_id = n.account_id AND s.category = n.category AND s.symbol = n.symbol;
END $$;
COMMENT ON FUNCTION trading.put_states(trading.position_states[]) IS 'Replaces rows of trading.position_states.';

-- Bring the given states (locked by the caller) up to the last fill, or at most p_limit fills onward; returns the fills walked.
CREATE FUNCTION trading.advance(p_states trading.position_states[], p_limit bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    w record;
BEGIN
    SELECT * INTO w FROM trading.walk(p_states, p_limit, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    IF w.walked > 0 THEN
        PERFORM trading.add_days(w.days);
    END IF;
    IF cardinality(w.trips) > 0 THEN
        INSERT INTO trading.round_trips SELECT * FROM unnest(w.trips);
        PERFORM trading.add_exits(w.trips);
    END IF;
    PERFORM trading.put_states(w.states);
    RETURN w.walked;
END $$;
COMMENT ON FUNCTION trading.advance(trading.position_states[], bigint) IS 'Brings states, trips and totals up to the last fill.';

-- Lock the state of one account and symbol, making it where it is missing.
CREATE FUNCTION trading.lock_state(p_account smallint, p_category text, p_symbol text, p_bot text)
RETURNS trading.position_states LANGUAGE plpgsql AS $$
DECLARE
    s trading.position_states;
BEGIN
    SELECT * INTO s FROM trading.position_states
    WHERE account_id = p_account AND category = p_category AND symbol = p_symbol FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO trading.position_states SELECT * FROM trading.first_state(p_account, p_category, p_symbol, p_bot)
        ON CONFLICT DO NOTHING;
        SELECT * INTO STRICT s FROM trading.position_states
        WHERE account_id = p_account AND category = p_category AND symbol = p_symbol FOR UPDATE;
    END IF;
    RETURN s;
END $$;
COMMENT ON FUNCTION trading.lock_state(smallint, text, text, text) IS 'The state of one account and symbol, locked until the transaction ends.';

-- Take in fills that belong before the state's place. Walks twice from the last flat point before the first of them, with
-- and without them, to the next flat point on which both agree (or to the state's place), and replaces what lies between.
-- Where that takes more than 20,000 fills it is put off: the trips from there on are provisional until trading.settle().
CREATE FUNCTION trading.take_late(
    s trading.position_states, p_ids text[], p_first_time timestamptz, p_first_seq bigint, p_first_id text,
    p_last_time timestamptz, p_last_seq bigint, p_last_id text
) RETURNS trading.position_states LANGUAGE plpgsql AS $$
DECLARE
    most  CONSTANT bigint := 20000;
    start trading.position_states;
    flat  trading.round_trips;
    found_state trading.position_states;
    new   record;
    old   record;
    gone  date[];
BEGIN
    IF s.redo_time IS NULL THEN
        start := trading.first_state(s.account_id, s.category, s.symbol, s.bot_id);
        SELECT * INTO flat FROM trading.round_trips t
        WHERE t.account_id = s.account_id AND t.category = s.category AND t.symbol = s.symbol AND NOT t.reversed
            AND (t.closed_at, t.closed_seq, t.closed_id) < (p_first_time, p_first_seq, p_first_id)
        ORDER BY t.closed_at DESC, t.closed_seq DESC, t.closed_id DESC LIMIT 1;
        IF FOUND THEN
            start.place_time := flat.closed_at; start.place_seq := flat.closed_seq; start.place_id := flat.closed_id;
            start.held := 0; start.cost := 0; start.max_qty := 0; start.from_opening := false;
            start.opened_at := NULL; start.opened_seq := NULL; start.opened_id := NULL;
        END IF;
        SELECT * INTO new FROM trading.walk(ARRAY[start], most, s.place_time, s.place_seq, s.place_id, NULL,
                                            p_last_time, p_last_seq, p_last_id);
        found_state := new.states[1];
    END IF;
    IF s.redo_time IS NOT NULL OR (NOT new.met AND (found_state.place_time, found_state.place_seq, found_state.place_id)
                                               <> (s.place_time, s.place_seq, s.place_id)) THEN
        IF s.redo_time IS NULL OR (p_first_time, p_first_seq, p_first_id) < (s.redo_time, s.redo_seq, s.redo_id) THEN
            s.redo_time := p_first_time; s.redo_seq := p_first_seq; s.redo_id := p_first_id;
        END IF;
        RETURN s;
    END IF;
    SELECT * INTO old FROM trading.walk(ARRAY[start], NULL, found_state.place_time, found_state.place_seq, found_state.place_id,
                                        p_ids, NULL, NULL, NULL);
    WITH dropped AS (
        DELETE FROM trading.round_trips t
        WHERE t.account_id = s.account_id AND t.category = s.category AND t.symbol = s.symbol
            AND (t.closed_at, t.closed_seq, t.closed_id) > (start.place_time, start.place_seq, start.place_id)
            AND (t.closed_at, t.closed_seq, t.closed_id) <= (found_state.place_time, found_state.place_seq, found_state.place_id)
        RETURNING t.closed_at
    )
    SELECT array_agg(DISTINCT (closed_at AT TIME ZONE 'UTC')::date) INTO gone
    FROM (SELECT closed_at FROM dropped UNION ALL SELECT closed_at FROM unnest(new.trips)) AS both_sides;
    INSERT INTO trading.round_trips SELECT * FROM unnest(new.trips);
    PERFORM trading.add_days(new.days);
    PERFORM trading.add_days(ARRAY(
        SELECT ROW(account_id, category, symbol, day, -fills, -volume, -maker_volume, -gross, -fees, -funding)::trading.daily_totals
        FROM unnest(old.days)));
    DELETE FROM trading.daily_exits d
    WHERE d.account_id = s.account_id AND d.category = s.category AND d.symbol = s.symbol AND d.day = ANY (gone);
    PERFORM trading.add_exits(ARRAY(
        SELECT t FROM unnest(gone) AS g (day)
        JOIN trading.round_trips t
            ON t.account_id = s.account_id AND t.category = s.category AND t.symbol = s.symbol
            AND t.closed_at >= g.day::timestamp AT TIME ZONE 'UTC' AND t.closed_at < (g.day + 1)::timestamp AT TIME ZONE 'UTC'));
    IF new.met THEN
        RETURN s;
    END IF;
    RETURN found_state;
END $$;
COMMENT ON FUNCTION trading.take_late(trading.position_states, text[], timestamptz, bigint, text, timestamptz, bigint, text) IS
    'Recomputes one account and symbol from a late fill to the next flat point on which old and new agree.';

CREATE FUNCTION trading.keep_books() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n      record;
    s      trading.position_states;
    late   record;
    seen   record;
    states trading.position_states[];
BEGIN
    -- lock the states of the batch in their order; a second pass when some had to be made
    FOR pass IN 1..2 LOOP
        SELECT array_agg(locked.state) AS states, bool_or(locked.first_time <= (locked.state).place_time) AS late,
            coalesce(sum(locked.number), 0) = (SELECT count(*) FROM inserted) AS complete
        INTO seen
        FROM (
            SELECT g.number, g.first_time, t AS state
            FROM (
                SELECT account_id, category, symbol, count(*) AS number, min(exec_time) AS first_time
                FROM inserted GROUP BY 1, 2, 3
            ) g
            JOIN trading.position_states t
                ON t.account_id = g.account_id AND t.category = g.category AND t.symbol = g.symbol
            ORDER BY t.account_id, t.category, t.symbol
            FOR UPDATE OF t
        ) AS locked;
        EXIT WHEN seen.complete OR pass = 2;
        FOR n IN
            SELECT account_id, category, symbol, min(bot_id) AS bot_id, count(*) AS number FROM inserted GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        LOOP
            IF NOT EXISTS (SELECT FROM trading.accounts WHERE account_id = n.account_id) THEN
                RAISE EXCEPTION 'There is no account % in trading.accounts. Register it with trading.register_account.', n.account_id
                    USING ERRCODE = 'foreign_key_violation';
            END IF;
            IF n.category = 'linear' THEN
                PERFORM trading.lock_state(n.account_id, n.category, n.symbol, n.bot_id);
            END IF;
        END LOOP;
    END LOOP;
    states := seen.states;
    IF seen.late THEN
        FOR i IN 1..cardinality(states) LOOP
            s := states[i];
            SELECT array_agg(exec_id ORDER BY exec_time, seq, exec_id) AS ids,
                array_agg(exec_time ORDER BY exec_time, seq, exec_id) AS times,
                array_agg(seq ORDER BY exec_time, seq, exec_id) AS seqs, count(*) AS number
            INTO late FROM inserted
            WHERE account_id = s.account_id AND category = s.category AND symbol = s.symbol
                AND (exec_time, seq, exec_id) < (s.place_time, s.place_seq, s.place_id);
            IF late.number > 0 THEN
                states[i] := trading.take_late(s, late.ids, late.times[1], late.seqs[1], late.ids[1],
                                               late.times[late.number], late.seqs[late.number], late.ids[late.number]);
            END IF;
        END LOOP;
    END IF;
    IF cardinality(states) > 0 THEN
        PERFORM trading.advance(states, NULL);
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION trading.keep_books() IS 'Brings states, trips and totals up to date with the fills just inserted, in their transaction.';
CREATE TRIGGER keep_books AFTER INSERT ON trading.fills
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION trading.keep_books();

-- Recomputing one account and symbol from nothing: start, then steps until one walks no fill. All in one transaction.
CREATE FUNCTION trading.rebuild_start(p_account smallint, p_category text, p_symbol text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s trading.position_states;
BEGIN
    s := trading.lock_state(p_account, p_category, p_symbol, (SELECT bot_id FROM trading.accounts WHERE account_id = p_account));
    DELETE FROM trading.round_trips WHERE account_id = p_account AND category = p_category AND symbol = p_symbol;
    DELETE FROM trading.daily_totals WHERE account_id = p_account AND category = p_category AND symbol = p_symbol;
    DELETE FROM trading.daily_exits WHERE account_id = p_account AND category = p_category AND symbol = p_symbol;
    PERFORM trading.put_states(ARRAY[trading.first_state(p_account, p_category, p_symbol, s.bot_id)]);
END $$;
COMMENT ON FUNCTION trading.rebuild_start(smallint, text, text) IS 'Forgets what was computed for one account and symbol.';

CREATE FUNCTION trading.rebuild_step(p_account smallint, p_category text, p_symbol text, p_limit bigint) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT trading.advance(ARRAY[trading.lock_state(p_account, p_category, p_symbol, '')], p_limit)
$$;
COMMENT ON FUNCTION trading.rebuild_step(smallint, text, text, bigint) IS 'Walks the next fills of one account and symbol; returns how many.';

-- Work off what late fills put off; returns how many accounts and symbols were recomputed.
CREATE FUNCTION trading.settle() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s    record;
    done integer := 0;
BEGIN
    FOR s IN SELECT account_id, category, symbol FROM trading.position_states WHERE redo_time IS NOT NULL ORDER BY 1, 2, 3 LOOP
        PERFORM trading.rebuild_start(s.account_id, s.category, s.symbol);
        WHILE trading.rebuild_step(s.account_id, s.category, s.symbol, 50000) > 0 LOOP
            NULL;
        END LOOP;
        done := done + 1;
    END LOOP;
    RETURN done;
END $$;
COMMENT ON FUNCTION trading.settle() IS 'Recomputes every account and symbol with late fills that were put off. Call it when a back-fill has come to its end.';
GRANT EXECUTE ON FUNCTION trading.settle() TO alpha_listener;

-- An opening position comes before every fill of its account and symbol: what follows it is recomputed.
CREATE FUNCTION trading.take_opening() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    o trading.opening_positions;
BEGIN
    o := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    IF o.category = 'linear' THEN
        PERFORM trading.rebuild_start(o.account_id, o.category, o.symbol);
        WHILE trading.rebuild_step(o.account_id, o.category, o.symbol, 50000) > 0 LOOP
            NULL;
        END LOOP;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION trading.take_opening() IS 'Recomputes an account and symbol whose opening position was recorded, corrected or withdrawn.';
CREATE TRIGGER take_opening AFTER INSERT OR UPDATE OR DELETE ON trading.opening_positions
    FOR EACH ROW EXECUTE FUNCTION trading.take_opening();
