-- The insert keeps the roll-ups; what a late fill changes is recomputed from a flat point or a checkpoint, in steps.

CREATE FUNCTION trading.sum_exits(p_trips trading.round_trips[]) RETURNS SETOF trading.daily_exits
LANGUAGE sql STABLE AS $$
    SELECT t.account_id, t.category, t.symbol, (t.closed_at AT TIME ZONE 'UTC')::date, t.exit_reason,
        count(*)::integer, (count(*) FILTER (WHERE n.net > 0))::integer, (count(*) FILTER (WHERE n.net < 0))::integer,
        sum(greatest(n.net, 0)), sum(least(n.net, 0)), max(n.net), min(n.net),
        sum((extract(epoch FROM t.closed_at - t.opened_at) * 1000)::bigint)::bigint, t.leg, min(t.settle_coin)
    FROM unnest(p_trips) AS t, LATERAL (SELECT t.gross - t.fees + t.funding AS net OFFSET 0) AS n
    GROUP BY t.account_id, t.category, t.symbol, t.leg, 4, t.exit_reason
$$;
COMMENT ON FUNCTION trading.sum_exits(trading.round_trips[]) IS 'Sums of trips that ended, per ledger, day and reason: what is added to trading.daily_exits, and what verify compares with it.';

CREATE FUNCTION trading.add_exits(p_trips trading.round_trips[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trading.daily_exits AS d SELECT * FROM trading.sum_exits(p_trips)
    ON CONFLICT (account_id, day, category, symbol, leg, exit_reason) DO UPDATE SET
        trips = d.trips + excluded.trips, wins = d.wins + excluded.wins, losses = d.losses + excluded.losses,
        won = d.won + excluded.won, lost = d.lost + excluded.lost, best = greatest(d.best, excluded.best),
        worst = least(d.worst, excluded.worst), held_ms = d.held_ms + excluded.held_ms;
END $$;
COMMENT ON FUNCTION trading.add_exits(trading.round_trips[]) IS 'Adds trips that ended to trading.daily_exits.';

CREATE FUNCTION trading.add_days(p_days trading.daily_totals[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trading.daily_totals AS d SELECT * FROM unnest(p_days)
    ON CONFLICT (account_id, day, category, symbol, leg) DO UPDATE SET
        fills = d.fills + excluded.fills, volume = d.volume + excluded.volume,
        maker_volume = d.maker_volume + excluded.maker_volume, gross = d.gross + excluded.gross,
        fees = d.fees + excluded.fees, funding = d.funding + excluded.funding;
END $$;
COMMENT ON FUNCTION trading.add_days(trading.daily_totals[]) IS 'Adds to trading.daily_totals; no two of the given are of the same ledger and day.';

CREATE FUNCTION trading.save_states(p_states trading.position_states[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE trading.position_states AS s SET
        bot_id = n.bot_id, place_time = n.place_time, place_seq = n.place_seq, place_id = n.place_id,
        redo_time = n.redo_time, redo_seq = n.redo_seq, redo_id = n.redo_id, is_long = n.is_long, held = n.held, cost = n.cost,
        opened_at = n.opened_at, opened_seq = n.opened_seq, opened_id = n.opened_id, from_opening = n.from_opening,
        exited_qty = n.exited_qty, exited_cost = n.exited_cost, max_qty = n.max_qty, fills = n.fills, gross = n.gross,
        fees = n.fees, funding = n.funding, maker_value = n.maker_value, late_fills = n.late_fills
    FROM unnest(p_states) AS n
    WHERE s.account_id = n.account_id AND s.category = n.category AND s.symbol = n.symbol AND s.leg = n.leg;
END $$;
COMMENT ON FUNCTION trading.save_states(trading.position_states[]) IS 'Replaces rows of trading.position_states.';

-- Checkpoints of a ledger that waits for a recomputation would be wrong.
CREATE FUNCTION trading.add_checkpoints(p_states trading.position_states[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trading.checkpoints SELECT c.* FROM unnest(p_states) AS c WHERE c.redo_time IS NULL ON CONFLICT DO NOTHING;
END $$;
COMMENT ON FUNCTION trading.add_checkpoints(trading.position_states[]) IS 'Keeps the states at the end of each day.';

-- Bybit's execPnl of a fill is not what the ledger says: an issue, with the fills of the match.
CREATE FUNCTION trading.add_pnl_differences(p_differences trading.pnl_difference[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trading.reconciliation_issues AS i (
        account_id, bot_id, kind, subject, symbol, ours, theirs, state, first_seen_at, last_seen_at
    )
    SELECT d.account_id, d.bot_id, 'exec_pnl', d.symbol || ':' || d.exec_id, d.symbol,
        jsonb_build_object('gross', trim_scale(d.ours)::text, 'fills', d.unit, 'leg', d.leg, 'seq', d.seq::text,
                           'time_ms', (extract(epoch FROM d.exec_time) * 1000)::bigint::text),
        jsonb_build_object('exec_pnl', trim_scale(d.theirs)::text), 'open', clock_timestamp(), clock_timestamp()
    FROM unnest(p_differences) AS d
    ON CONFLICT (account_id, kind, subject) DO UPDATE SET
        ours = excluded.ours, theirs = excluded.theirs, last_seen_at = excluded.last_seen_at, resolved_at = NULL,
        state = CASE WHEN i.state = 'explained' THEN i.state ELSE excluded.state END;
END $$;
COMMENT ON FUNCTION trading.add_pnl_differences(trading.pnl_difference[]) IS 'Enters fills whose execPnl differs from the ledger into trading.reconciliation_issues.';

-- A recomputation of the units after p_from up to and including p_to: the issues that are gone, and those that are there.
CREATE FUNCTION trading.replace_pnl_differences(
    s trading.position_states, p_from timestamptz, p_to timestamptz, p_differences trading.pnl_difference[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE trading.reconciliation_issues i
    SET state = 'resolved', resolved_at = clock_timestamp(), last_seen_at = clock_timestamp()
    WHERE i.account_id = s.account_id AND i.kind = 'exec_pnl' AND i.symbol = s.symbol AND i.state = 'open'
        AND i.ours ->> 'leg' = s.leg
        AND to_timestamp((i.ours ->> 'time_ms')::bigint / 1000.0) BETWEEN p_from AND p_to
        AND i.subject NOT IN (SELECT d.symbol || ':' || d.exec_id FROM unnest(p_differences) AS d);
    PERFORM trading.add_pnl_differences(p_differences);
END $$;
COMMENT ON FUNCTION trading.replace_pnl_differences(trading.position_states, timestamptz, timestamptz, trading.pnl_difference[]) IS
    'Settles the execPnl issues of a recomputed stretch and enters those that remain.';

CREATE FUNCTION trading.advance(p_states trading.position_states[], p_limit bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    w record;
BEGIN
    SELECT * INTO w FROM trading.replay_fills(p_states, p_limit, NULL, NULL, NULL, NULL, NULL);
    IF w.replayed > 0 THEN
        PERFORM trading.add_days(w.days);
    END IF;
    IF cardinality(w.trips) > 0 THEN
        INSERT INTO trading.round_trips SELECT * FROM unnest(w.trips);
        PERFORM trading.add_exits(w.trips);
    END IF;
    IF cardinality(w.checkpoints) > 0 THEN
        PERFORM trading.add_checkpoints(w.checkpoints);
    END IF;
    IF cardinality(w.pnl_differences) > 0 THEN
        PERFORM trading.add_pnl_differences(w.pnl_differences);
    END IF;
    PERFORM trading.save_states(w.states);
    RETURN w.replayed;
END $$;
COMMENT ON FUNCTION trading.advance(trading.position_states[], bigint) IS 'Brings the given states (locked by the caller), trips and totals up to the last fill, or at most p_limit fills onward; returns the fills replayed.';

CREATE FUNCTION trading.lock_state(p_account smallint, p_category text, p_symbol text, p_leg text, p_bot text)
RETURNS trading.position_states LANGUAGE plpgsql AS $$
DECLARE
    s trading.position_states;
BEGIN
    SELECT * INTO s FROM trading.position_states
    WHERE account_id = p_account AND category = p_category AND symbol = p_symbol AND leg = p_leg FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO trading.position_states SELECT * FROM trading.first_state(p_account, p_category, p_symbol, p_leg, p_bot)
        ON CONFLICT DO NOTHING;
        SELECT * INTO STRICT s FROM trading.position_states
        WHERE account_id = p_account AND category = p_category AND symbol = p_symbol AND leg = p_leg FOR UPDATE;
    END IF;
    RETURN s;
END $$;
COMMENT ON FUNCTION trading.lock_state(smallint, text, text, text, text) IS 'The state of one ledger, made where it is missing, locked until the transaction ends.';

-- Where a recomputation of the units from this one on begins: the end of an earlier day, or before the first fill. (A
-- checkpoint of the same day may no longer be the end of it.)
CREATE FUNCTION trading.checkpoint_before(s trading.position_states, p_time timestamptz)
RETURNS trading.position_states LANGUAGE plpgsql STABLE AS $$
DECLARE
    found_state trading.position_states;
BEGIN
    SELECT * INTO found_state FROM trading.checkpoints c
    WHERE c.account_id = s.account_id AND c.category = s.category AND c.symbol = s.symbol AND c.leg = s.leg
        AND c.place_time < date_trunc('day', p_time, 'UTC')
    ORDER BY c.place_time DESC, c.place_seq DESC LIMIT 1;
    IF NOT FOUND THEN
        found_state := trading.first_state(s.account_id, s.category, s.symbol, s.leg, s.bot_id);
    END IF;
    RETURN found_state;
END $$;
COMMENT ON FUNCTION trading.checkpoint_before(trading.position_states, timestamptz) IS 'The last checkpoint of a day before this moment''s, else the first state.';

CREATE FUNCTION trading.put_off(s trading.position_states, p_time timestamptz, p_seq bigint)
RETURNS trading.position_states LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    s.late_fills := s.late_fills + 1;
    IF s.redo_time IS NULL OR (p_time, p_seq) < (s.redo_time, s.redo_seq) THEN
        s.redo_time := p_time; s.redo_seq := p_seq; s.redo_id := '';
    END IF;
    RETURN s;
END $$;
COMMENT ON FUNCTION trading.put_off(trading.position_states, timestamptz, bigint) IS 'The state, waiting for a recomputation from this unit on.';

-- As checkpoint_before, or the last flat point before the unit when that is later.
CREATE FUNCTION trading.start_before(s trading.position_states, p_time timestamptz, p_seq bigint)
RETURNS trading.position_states LANGUAGE plpgsql STABLE AS $$
DECLARE
    start trading.position_states := trading.checkpoint_before(s, p_time);
    flat  trading.round_trips;
BEGIN
    SELECT * INTO flat FROM trading.round_trips t
    WHERE t.account_id = s.account_id AND t.category = s.category AND t.symbol = s.symbol AND t.leg = s.leg AND t.ends_flat
        AND (t.closed_at, t.closed_seq) < (p_time, p_seq)
    ORDER BY t.closed_at DESC, t.closed_seq DESC, t.closed_id DESC LIMIT 1;
    IF FOUND AND (flat.closed_at, flat.closed_seq) > (start.place_time, start.place_seq) THEN
        start := trading.first_state(s.account_id, s.category, s.symbol, s.leg, s.bot_id);
        start.place_time := flat.closed_at; start.place_seq := flat.closed_seq; start.place_id := flat.closed_id;
        start.is_long := flat.is_long; start.held := 0; start.cost := 0; start.max_qty := 0; start.from_opening := false;
        start.opened_at := NULL; start.opened_seq := NULL; start.opened_id := NULL;
    END IF;
    RETURN start;
END $$;
COMMENT ON FUNCTION trading.start_before(trading.position_states, timestamptz, bigint) IS 'Where a recomputation of this unit begins: the last flat point or checkpoint before it.';

-- Take in fills whose unit is not after the state's place: from the last flat point or checkpoint before the first of
-- their units, the fills are replayed with and without them, to the next unit after which both hold nothing (or to the
-- state's place); what lies between is replaced. Where that takes more than 20,000 fills it is put off: the trips from
-- there on are provisional until trading.recompute_step() comes to them.
CREATE FUNCTION trading.apply_late_fills(
    s trading.position_states, p_ids text[], p_first_time timestamptz, p_first_seq bigint,
    p_last_time timestamptz, p_last_seq bigint
) RETURNS trading.position_states LANGUAGE plpgsql AS $$
DECLARE
    most  CONSTANT bigint := 20000;
    start trading.position_states;
    found_state trading.position_states;
    new   record;
    old   record;
    gone  date[];
BEGIN
    IF s.redo_time IS NOT NULL THEN
        RETURN trading.put_off(s, p_first_time, p_first_seq);
    END IF;
    start := trading.start_before(s, p_first_time, p_first_seq);
    SELECT * INTO new FROM trading.replay_fills(ARRAY[start], most, s.place_time, s.place_seq, NULL, p_last_time, p_last_seq);
    found_state := new.states[1];
    IF NOT new.met AND (found_state.place_time, found_state.place_seq) <> (s.place_time, s.place_seq) THEN
        RETURN trading.put_off(s, p_first_time, p_first_seq);
    END IF;
    SELECT * INTO old FROM trading.replay_fills(ARRAY[start], NULL, found_state.place_time, found_state.place_seq, p_ids,
                                                NULL, NULL);
    WITH dropped AS (
        DELETE FROM trading.round_trips t
        WHERE t.account_id = s.account_id AND t.category = s.category AND t.symbol = s.symbol AND t.leg = s.leg
            AND (t.closed_at, t.closed_seq) > (start.place_time, start.place_seq)
            AND (t.closed_at, t.closed_seq) <= (found_state.place_time, found_state.place_seq)
        RETURNING t.closed_at
    )
    SELECT array_agg(DISTINCT (closed_at AT TIME ZONE 'UTC')::date) INTO gone
    FROM (SELECT closed_at FROM dropped UNION ALL SELECT closed_at FROM unnest(new.trips)) AS both_sides;
    INSERT INTO trading.round_trips SELECT * FROM unnest(new.trips);
    PERFORM trading.add_days(new.days);
    PERFORM trading.add_days(ARRAY(
        SELECT ROW(account_id, category, symbol, day, -fills, -volume, -maker_volume, -gross, -fees, -funding, leg,
                   settle_coin)::trading.daily_totals
        FROM unnest(old.days)));
    DELETE FROM trading.daily_exits d
    WHERE d.account_id = s.account_id AND d.category = s.category AND d.symbol = s.symbol AND d.leg = s.leg
        AND d.day = ANY (gone);
    PERFORM trading.add_exits(ARRAY(
        SELECT t FROM unnest(gone) AS g (day)
        JOIN trading.round_trips t
            ON t.account_id = s.account_id AND t.category = s.category AND t.symbol = s.symbol AND t.leg = s.leg
            AND t.closed_at >= g.day::timestamp AT TIME ZONE 'UTC' AND t.closed_at < (g.day + 1)::timestamp AT TIME ZONE 'UTC'));
    DELETE FROM trading.checkpoints c
    WHERE c.account_id = s.account_id AND c.category = s.category AND c.symbol = s.symbol AND c.leg = s.leg
        AND c.place_time >= date_trunc('day', p_first_time, 'UTC')
        AND (c.place_time, c.place_seq) <= (found_state.place_time, found_state.place_seq);
    PERFORM trading.add_checkpoints(new.checkpoints);
    PERFORM trading.replace_pnl_differences(s, start.place_time, found_state.place_time, new.pnl_differences);
    IF new.met THEN
        RETURN s;
    END IF;
    found_state.late_fills := s.late_fills;
    RETURN found_state;
END $$;
COMMENT ON FUNCTION trading.apply_late_fills(trading.position_states, text[], timestamptz, bigint, timestamptz, bigint) IS
    'Recomputes one ledger from a late fill to the next flat point on which old and new agree.';

CREATE FUNCTION trading.update_rollups() RETURNS trigger
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
                SELECT account_id, category, symbol, leg, count(*) AS number, min(exec_time) AS first_time
                FROM inserted GROUP BY 1, 2, 3, 4
            ) g
            JOIN trading.position_states t
                ON t.account_id = g.account_id AND t.category = g.category AND t.symbol = g.symbol AND t.leg = g.leg
            ORDER BY t.account_id, t.category, t.symbol, t.leg
            FOR UPDATE OF t
        ) AS locked;
        EXIT WHEN seen.complete OR pass = 2;
        FOR n IN
            SELECT account_id, category, symbol, leg, min(bot_id) AS bot_id FROM inserted GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
        LOOP
            IF NOT EXISTS (SELECT FROM trading.accounts WHERE account_id = n.account_id) THEN
                RAISE EXCEPTION 'There is no account % in trading.accounts. Register it with trading.register_account.', n.account_id
                    USING ERRCODE = 'foreign_key_violation';
            END IF;
            IF n.category = 'linear' THEN
                PERFORM trading.lock_state(n.account_id, n.category, n.symbol, n.leg, n.bot_id);
            END IF;
        END LOOP;
    END LOOP;
    states := seen.states;
    IF seen.late THEN
        FOR i IN 1..cardinality(states) LOOP
            s := states[i];
            SELECT array_agg(exec_id) AS ids, array_agg(exec_time ORDER BY exec_time, seq) AS times,
                array_agg(seq ORDER BY exec_time, seq) AS seqs, count(*) AS number
            INTO late FROM inserted
            WHERE account_id = s.account_id AND category = s.category AND symbol = s.symbol AND leg = s.leg
                AND (exec_time, seq) <= (s.place_time, s.place_seq);
            IF late.number > 0 THEN
                states[i] := trading.apply_late_fills(s, late.ids, late.times[1], late.seqs[1],
                                                      late.times[late.number], late.seqs[late.number]);
            END IF;
        END LOOP;
    END IF;
    IF cardinality(states) > 0 THEN
        PERFORM trading.advance(states, NULL);
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION trading.update_rollups() IS 'Brings states, trips and totals up to date with the fills just inserted, in their transaction.';
CREATE TRIGGER update_rollups AFTER INSERT ON trading.fills
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION trading.update_rollups();

-- What REST did not tell came later: closed_size may put its unit in another order, exec_pnl is compared. In an INSERT with
-- ON CONFLICT this runs before update_rollups; so what has to be recomputed is put off, and insert_fills has it done.
CREATE FUNCTION trading.apply_learnt_values() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    g record;
    s trading.position_states;
    w record;
BEGIN
    FOR g IN
        SELECT n.account_id, n.category, n.symbol, n.leg,
            min(n.exec_time) FILTER (WHERE n.closed_size IS DISTINCT FROM o.closed_size AND EXISTS (
                SELECT FROM trading.fills f
                WHERE f.account_id = n.account_id AND f.category = n.category AND f.symbol = n.symbol AND f.leg = n.leg
                    AND f.exec_time = n.exec_time AND f.seq = n.seq AND f.exec_id <> n.exec_id
            )) AS reordered,
            min(n.exec_time) FILTER (WHERE n.exec_pnl IS DISTINCT FROM o.exec_pnl) AS told,
            max(n.exec_time) FILTER (WHERE n.exec_pnl IS DISTINCT FROM o.exec_pnl) AS told_to,
            array_agg(n.exec_id) FILTER (WHERE n.exec_pnl IS DISTINCT FROM o.exec_pnl) AS ids
        FROM after n JOIN before o ON n.account_id = o.account_id AND n.category = o.category AND n.symbol = o.symbol AND n.exec_id = o.exec_id
        WHERE n.category = 'linear'
            AND (n.closed_size IS DISTINCT FROM o.closed_size OR n.exec_pnl IS DISTINCT FROM o.exec_pnl)
        GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    LOOP
        SELECT * INTO s FROM trading.position_states
        WHERE account_id = g.account_id AND category = g.category AND symbol = g.symbol AND leg = g.leg FOR UPDATE;
        CONTINUE WHEN NOT FOUND;
        IF g.reordered <= s.place_time THEN
            PERFORM trading.save_states(ARRAY[trading.put_off(s, g.reordered, -1)]);
        ELSIF g.told IS NOT NULL AND s.redo_time IS NULL THEN
            SELECT * INTO w FROM trading.replay_fills(
                ARRAY[trading.start_before(s, g.told, -1)], NULL, g.told_to, 9223372036854775807, NULL, NULL, NULL);
            PERFORM trading.add_pnl_differences(ARRAY(SELECT d FROM unnest(w.pnl_differences) AS d WHERE d.exec_id = ANY (g.ids)));
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION trading.apply_learnt_values() IS 'Takes in values that were null when their fills were stored.';
CREATE TRIGGER apply_learnt_values AFTER UPDATE ON trading.fills
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION trading.apply_learnt_values();

-- Recompute one ledger from its earliest unit that waits, at most about p_limit fills (whole days) onward. The fills are
-- replayed without a lock; the ledger is locked only while what was found replaces what was there.
CREATE FUNCTION trading.recompute_ledger_step(
    p_account smallint, p_category text, p_symbol text, p_leg text, p_limit bigint, OUT replayed bigint, OUT done boolean
) LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s       trading.position_states;
    now_s   trading.position_states;
    start   trading.position_states;
    found_state trading.position_states;
    w       record;
    most    bigint := p_limit;
    whole   boolean;
    from_day date;
    to_day  date;
BEGIN
    replayed := 0;
    FOR attempt IN 1..5 LOOP
        IF attempt < 5 THEN
            SELECT * INTO s FROM trading.position_states
            WHERE account_id = p_account AND category = p_category AND symbol = p_symbol AND leg = p_leg;
        ELSE
            -- late fills keep coming: this time they wait
            SELECT * INTO s FROM trading.position_states
            WHERE account_id = p_account AND category = p_category AND symbol = p_symbol AND leg = p_leg FOR UPDATE;
        END IF;
        IF s.redo_time IS NULL THEN
            done := true;
            RETURN;
        END IF;
        start := trading.checkpoint_before(s, s.redo_time);
        LOOP
            SELECT * INTO w FROM trading.replay_fills(ARRAY[start], most, NULL, NULL, NULL, NULL, NULL);
            whole := w.replayed < most;
            found_state := CASE WHEN whole THEN w.states[1] ELSE w.checkpoints[cardinality(w.checkpoints)] END;
            EXIT WHEN whole OR found_state.place_time > start.place_time;
            most := most * 2;   -- a day of more fills
        END LOOP;
        SELECT * INTO now_s FROM trading.position_states
        WHERE account_id = p_account AND category = p_category AND symbol = p_symbol AND leg = p_leg FOR UPDATE;
        EXIT WHEN (now_s.late_fills, now_s.redo_time, now_s.redo_seq) IS NOT DISTINCT FROM (s.late_fills, s.redo_time, s.redo_seq);
    END LOOP;
    replayed := w.replayed;
    from_day := (start.place_time AT TIME ZONE 'UTC')::date + 1;
    to_day := CASE WHEN whole THEN 'infinity'::date ELSE (found_state.place_time AT TIME ZONE 'UTC')::date END;
    DELETE FROM trading.round_trips t
    WHERE t.account_id = p_account AND t.category = p_category AND t.symbol = p_symbol AND t.leg = p_leg
        AND (t.closed_at, t.closed_seq) > (start.place_time, start.place_seq)
        AND (whole OR (t.closed_at, t.closed_seq) <= (found_state.place_time, found_state.place_seq));
    DELETE FROM trading.daily_totals d
    WHERE d.account_id = p_account AND d.category = p_category AND d.symbol = p_symbol AND d.leg = p_leg
        AND d.day BETWEEN from_day AND to_day;
    DELETE FROM trading.daily_exits d
    WHERE d.account_id = p_account AND d.category = p_category AND d.symbol = p_symbol AND d.leg = p_leg
        AND d.day BETWEEN from_day AND to_day;
    DELETE FROM trading.checkpoints c
    WHERE c.account_id = p_account AND c.category = p_category AND c.symbol = p_symbol AND c.leg = p_leg
        AND (c.place_time, c.place_seq) > (start.place_time, start.place_seq)
        AND (whole OR (c.place_time, c.place_seq) <= (found_state.place_time, found_state.place_seq));
    INSERT INTO trading.round_trips SELECT * FROM unnest(w.trips) AS t
    WHERE whole OR (t.closed_at, t.closed_seq) <= (found_state.place_time, found_state.place_seq);
    PERFORM trading.add_exits(ARRAY(SELECT t FROM unnest(w.trips) AS t
        WHERE whole OR (t.closed_at, t.closed_seq) <= (found_state.place_time, found_state.place_seq)));
    PERFORM trading.add_days(ARRAY(SELECT d FROM unnest(w.days) AS d WHERE d.day <= to_day));
    PERFORM trading.add_checkpoints(w.checkpoints);
    PERFORM trading.replace_pnl_differences(
        s, start.place_time, CASE WHEN whole THEN 'infinity' ELSE found_state.place_time END,
        ARRAY(SELECT d FROM unnest(w.pnl_differences) AS d WHERE whole OR d.exec_time <= found_state.place_time));
    done := whole;
    IF whole THEN
        -- to the end, with the fills that have come meanwhile
        found_state.late_fills := now_s.late_fills;
        PERFORM trading.advance(ARRAY[found_state], NULL);
    ELSE
        now_s.redo_time := (to_day + 1)::timestamp AT TIME ZONE 'UTC'; now_s.redo_seq := -1; now_s.redo_id := '';
        PERFORM trading.save_states(ARRAY[now_s]);
    END IF;
END $$;
COMMENT ON FUNCTION trading.recompute_ledger_step(smallint, text, text, text, bigint) IS
    'Recomputes a stretch of a ledger that waits for it; done when nothing of it waits any longer.';

CREATE FUNCTION trading.recompute_step(OUT replayed bigint, OUT done boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s record;
BEGIN
    SELECT account_id, category, symbol, leg INTO s FROM trading.position_states
    WHERE redo_time IS NOT NULL ORDER BY 1, 2, 3, 4 LIMIT 1;
    IF FOUND THEN
        SELECT r.replayed, r.done INTO replayed, done
        FROM trading.recompute_ledger_step(s.account_id, s.category, s.symbol, s.leg, 20000) AS r;
    END IF;
END $$;
COMMENT ON FUNCTION trading.recompute_step() IS
    'Recomputes a stretch of the first ledger that waits: how many fills, and whether that ledger is done; nulls when none waits. Each call in a transaction of its own.';

CREATE FUNCTION trading.recompute_pending() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    step   record;
    number integer := 0;
BEGIN
    LOOP
        SELECT * INTO step FROM trading.recompute_step();
        EXIT WHEN step.done IS NULL;
        number := number + step.done::integer;
    END LOOP;
    RETURN number;
END $$;
COMMENT ON FUNCTION trading.recompute_pending() IS 'Every step of trading.recompute_step() in one transaction; returns how many ledgers were recomputed.';

CREATE FUNCTION trading.settle() RETURNS integer LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT trading.recompute_pending()
$$;
COMMENT ON FUNCTION trading.settle() IS 'The former name of trading.recompute_pending().';
GRANT EXECUTE ON FUNCTION trading.recompute_step(), trading.recompute_pending(), trading.settle() TO alpha_listener;

CREATE FUNCTION trading.mark_for_recompute(p_account smallint, p_category text, p_symbol text, p_leg text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s trading.position_states;
BEGIN
    s := trading.lock_state(p_account, p_category, p_symbol, p_leg,
                            (SELECT bot_id FROM trading.accounts WHERE account_id = p_account));
    PERFORM trading.save_states(ARRAY[trading.put_off(s, '-infinity', -1)]);
END $$;
COMMENT ON FUNCTION trading.mark_for_recompute(smallint, text, text, text) IS 'Has one ledger recomputed from its first fill.';

-- An opening position comes before every fill of its ledger: what follows it is recomputed, of a long record by steps.
CREATE FUNCTION trading.apply_opening() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    o trading.opening_positions;
BEGIN
    o := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    IF o.category = 'linear' THEN
        PERFORM trading.mark_for_recompute(o.account_id, o.category, o.symbol, o.leg);
        PERFORM trading.recompute_ledger_step(o.account_id, o.category, o.symbol, o.leg, 20000);
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION trading.apply_opening() IS 'Recomputes a ledger whose opening position was recorded, corrected or withdrawn.';
CREATE TRIGGER apply_opening AFTER INSERT OR UPDATE OR DELETE ON trading.opening_positions
    FOR EACH ROW EXECUTE FUNCTION trading.apply_opening();

CREATE FUNCTION trading.ledgers() RETURNS TABLE (account_id smallint, category text, symbol text, leg text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT DISTINCT f.account_id, f.category, f.symbol, f.leg FROM trading.fills f WHERE f.category = 'linear'
    UNION SELECT s.account_id, s.category, s.symbol, s.leg FROM trading.position_states s
$$;
COMMENT ON FUNCTION trading.ledgers() IS 'Every ledger with a fill or a state.';

-- Replay about p_limit fills onward from p_state (the text of a state; null to begin) and compare the trips that ended, and
-- the checkpoints, with those stored. Gives the state to go on from, what must be summed up and compared by the caller,
-- and how many trips are missing from the table, or there without being so.
CREATE FUNCTION trading.verify_ledger_step(
    p_account smallint, p_category text, p_symbol text, p_leg text, p_state text, p_limit bigint,
    OUT state text, OUT replayed bigint, OUT trips bigint, OUT missing bigint, OUT wrong bigint, OUT wrong_checkpoints bigint,
    OUT days trading.daily_totals[], OUT exits trading.daily_exits[], OUT at timestamptz
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    start trading.position_states := p_state::trading.position_states;
    w     record;
    kept  trading.round_trips[];
BEGIN
    IF p_state IS NULL THEN
        start := trading.first_state(p_account, p_category, p_symbol, p_leg,
                                     (SELECT bot_id FROM trading.accounts WHERE account_id = p_account));
    END IF;
    SELECT * INTO w FROM trading.replay_fills(ARRAY[start], p_limit, NULL, NULL, NULL, NULL, NULL);
    kept := ARRAY(
        SELECT t FROM trading.round_trips t
        WHERE t.account_id = p_account AND t.category = p_category AND t.symbol = p_symbol AND t.leg = p_leg
            AND (t.closed_at, t.closed_seq) > (start.place_time, start.place_seq)
            AND (w.replayed < p_limit OR (t.closed_at, t.closed_seq)
                <= ((w.states[1]).place_time, (w.states[1]).place_seq))
        ORDER BY t.closed_at, t.closed_seq, t.closed_id);
    missing := 0;
    wrong := 0;
    IF kept <> w.trips THEN
        SELECT count(*) INTO missing FROM (SELECT * FROM unnest(w.trips) EXCEPT SELECT * FROM unnest(kept)) AS d;
        SELECT count(*) INTO wrong FROM (SELECT * FROM unnest(kept) EXCEPT SELECT * FROM unnest(w.trips)) AS d;
    END IF;
    -- one that lacks makes a recomputation longer, one that is wrong makes it wrong
    SELECT count(*) INTO wrong_checkpoints FROM (
        SELECT to_jsonb(c) - 'late_fills' FROM trading.checkpoints c
        WHERE c.account_id = p_account AND c.category = p_category AND c.symbol = p_symbol AND c.leg = p_leg
            AND (c.place_time, c.place_seq) >= (start.place_time, start.place_seq)
            AND (w.replayed < p_limit OR (c.place_time, c.place_seq)
                < ((w.states[1]).place_time, (w.states[1]).place_seq))
        EXCEPT SELECT to_jsonb(c) - 'late_fills' FROM unnest(w.checkpoints) AS c
    ) AS d;
    state := w.states[1]::text;
    at := (w.states[1]).place_time;
    replayed := w.replayed;
    trips := cardinality(w.trips);
    days := w.days;
    exits := ARRAY(SELECT e FROM trading.sum_exits(w.trips) e);
END $$;
COMMENT ON FUNCTION trading.verify_ledger_step(smallint, text, text, text, text, bigint) IS 'Recomputes a stretch of one ledger and compares its trips and checkpoints with those stored.';

-- What was computed before this migration, anew.
DO $$
DECLARE
    g record;
BEGIN
    FOR g IN
        SELECT l.account_id, l.category, l.symbol, l.leg, a.bot_id
        FROM (SELECT * FROM trading.ledgers() UNION SELECT account_id, category, symbol, leg FROM trading.opening_positions
              WHERE category = 'linear') l
        JOIN trading.accounts a USING (account_id) ORDER BY 1, 2, 3, 4
    LOOP
        WHILE trading.advance(ARRAY[trading.lock_state(g.account_id, g.category, g.symbol, g.leg, g.bot_id)], 50000) > 0 LOOP
            NULL;
        END LOOP;
    END LOOP;
END $$;
