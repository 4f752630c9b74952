-- Recomputing everything and comparing, a step at a time, without changing anything.

-- Every account and symbol with a fill, a state or an opening, found by hopping along the index.
CREATE FUNCTION trading.books() RETURNS TABLE (account_id smallint, category text, symbol text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE hop AS (
        (SELECT f.account_id, f.category, f.symbol FROM trading.fills f ORDER BY 1, 2, 3 LIMIT 1)
        UNION ALL
        SELECT n.* FROM hop h, LATERAL (
            SELECT f.account_id, f.category, f.symbol FROM trading.fills f
            WHERE (f.account_id, f.category, f.symbol) > (h.account_id, h.category, h.symbol) ORDER BY 1, 2, 3 LIMIT 1
        ) n
    )
    SELECT h.account_id, h.category, h.symbol FROM hop h WHERE h.category = 'linear'
    UNION SELECT s.account_id, s.category, s.symbol FROM trading.position_states s
$$;
COMMENT ON FUNCTION trading.books() IS 'Every account and symbol that has a book.';

-- Walk at most p_limit fills onward from p_state (the text of a state; null to begin) and compare the trips that ended
-- with those stored. Gives the state to go on from, what must be summed up and compared by the caller, and how many
-- trips are missing from the table, or there without being so.
CREATE FUNCTION trading.verify_step(
    p_account smallint, p_category text, p_symbol text, p_state text, p_limit bigint,
    OUT state text, OUT walked bigint, OUT trips bigint, OUT missing bigint, OUT wrong bigint,
    OUT days trading.daily_totals[], OUT exits trading.daily_exits[], OUT at timestamptz
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    start trading.position_states := p_state::trading.position_states;
    w     record;
    kept  trading.round_trips[];
BEGIN
    IF p_state IS NULL THEN
        start := trading.first_state(p_account, p_category, p_symbol,
                                     (SELECT bot_id FROM trading.accounts WHERE account_id = p_account));
    END IF;
    SELECT * INTO w FROM trading.walk(ARRAY[start], p_limit, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    kept := ARRAY(
        SELECT t FROM trading.round_trips t
        WHERE t.account_id = p_account AND t.category = p_category AND t.symbol = p_symbol
            AND (t.closed_at, t.closed_seq, t.closed_id) > (start.place_time, start.place_seq, start.place_id)
            AND (w.walked < p_limit OR (t.closed_at, t.closed_seq, t.closed_id)
                <= ((w.states[1]).place_time, (w.states[1]).place_seq, (w.states[1]).place_id))
        ORDER BY t.closed_at, t.closed_seq, t.closed_id);
    missing := 0;
    wrong := 0;
    IF kept <> w.trips THEN
        SELECT count(*) INTO missing FROM (SELECT * FROM unnest(w.trips) EXCEPT SELECT * FROM unnest(kept)) AS d;
        SELECT count(*) INTO wrong FROM (SELECT * FROM unnest(kept) EXCEPT SELECT * FROM unnest(w.trips)) AS d;
    END IF;
    state := w.states[1]::text;
    at := (w.states[1]).place_time;
    walked := w.walked;
    trips := cardinality(w.trips);
    days := w.days;
    exits := ARRAY(SELECT e FROM trading.sum_exits(w.trips) e);
END $$;
COMMENT ON FUNCTION trading.verify_step(smallint, text, text, text, bigint) IS 'Recomputes a stretch of one account and symbol and compares its trips with those stored.';
