-- What every insert pays: no look-up of the account for every row (keep_books looks once a batch), plans that are kept
-- over calls (PostgreSQL 17 plans an SQL function anew each time), one query for all states of a batch.

ALTER TABLE trading.fills DROP CONSTRAINT fills_account_id_fkey;

CREATE OR REPLACE FUNCTION trading.add_exits(p_trips trading.round_trips[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO trading.daily_exits AS d
    SELECT account_id, category, symbol, (closed_at AT TIME ZONE 'UTC')::date, exit_reason,
        count(*), count(*) FILTER (WHERE net > 0), count(*) FILTER (WHERE net < 0),
        sum(gross), sum(fees), sum(funding), sum(greatest(net, 0)), sum(least(net, 0)), max(net), min(net),
        sum(entry_value), sum((extract(epoch FROM closed_at - opened_at) * 1000)::bigint)
    FROM unnest(p_trips) AS t, LATERAL (SELECT gross - fees + funding AS net OFFSET 0) AS n
    GROUP BY 1, 2, 3, 4, 5
    ON CONFLICT (account_id, category, symbol, day, exit_reason) DO UPDATE SET
        trips = d.trips + excluded.trips, wins = d.wins + excluded.wins, losses = d.losses + excluded.losses,
        gross = d.gross + excluded.gross, fees = d.fees + excluded.fees, funding = d.funding + excluded.funding,
        won = d.won + excluded.won, lost = d.lost + excluded.lost, best = greatest(d.best, excluded.best),
        worst = least(d.worst, excluded.worst), entry_value = d.entry_value + excluded.entry_value,
        held_ms = d.held_ms + excluded.held_ms;
END $$;

CREATE OR REPLACE FUNCTION trading.add_days(p_days trading.daily_totals[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO trading.daily_totals AS d
    SELECT account_id, category, symbol, day, sum(fills), sum(volume), sum(maker_volume), sum(gross), sum(fees), sum(funding)
    FROM unnest(p_days)
    GROUP BY 1, 2, 3, 4
    ON CONFLICT (account_id, category, symbol, day) DO UPDATE SET
        fills = d.fills + excluded.fills, volume = d.volume + excluded.volume,
        maker_volume = d.maker_volume + excluded.maker_volume, gross = d.gross + excluded.gross,
        fees = d.fees + excluded.fees, funding = d.funding + excluded.funding;
END $$;

CREATE OR REPLACE FUNCTION trading.put_states(p_states trading.position_states[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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

CREATE OR REPLACE FUNCTION trading.keep_books() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n      record;
    s      trading.position_states;
    late   record;
    total  bigint;
    seen   bigint;
    is_late boolean;
    states trading.position_states[];
BEGIN
    SELECT count(*) INTO total FROM inserted;
    -- lock the states of the batch in their order; a second pass when some had to be made
    FOR pass IN 1..2 LOOP
        states := '{}';
        seen := 0;
        is_late := false;
        FOR n IN
            SELECT g.number, g.first_time, t AS state
            FROM (
                SELECT account_id, category, symbol, count(*) AS number, min(exec_time) AS first_time
                FROM inserted GROUP BY 1, 2, 3
            ) g
            JOIN trading.position_states t
                ON t.account_id = g.account_id AND t.category = g.category AND t.symbol = g.symbol
            ORDER BY t.account_id, t.category, t.symbol
            FOR UPDATE OF t
        LOOP
            seen := seen + n.number;
            s := n.state;
            is_late := is_late OR n.first_time <= s.place_time;
            states := states || s;
        END LOOP;
        EXIT WHEN seen = total OR pass = 2;
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
    IF is_late THEN
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
