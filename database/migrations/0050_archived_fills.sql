-- Fills older than the exchange keeps can leave the table (`alpha db archive`). What was computed from them stays; each ledger
-- goes on from its state at the account's floor.

CREATE TABLE trading.fill_archives (
    account_id  smallint NOT NULL REFERENCES trading.accounts,
    floor       timestamptz NOT NULL CHECK (floor = date_trunc('day', floor, 'UTC')),
    folder      text NOT NULL,
    phase       text NOT NULL DEFAULT 'writing' CHECK (phase IN ('writing', 'removing', 'done')),
    fills       bigint,
    first_at    timestamptz,
    archived_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, floor)
);
COMMENT ON TABLE trading.fill_archives IS 'What of an account''s fills is in Parquet files. Its newest floor is where its record in trading.fills begins: nothing older is stored again.';
COMMENT ON COLUMN trading.fill_archives.floor IS 'Every fill before this UTC midnight is archived.';
COMMENT ON COLUMN trading.fill_archives.folder IS 'Where the files were written, as the command was told.';
COMMENT ON COLUMN trading.fill_archives.phase IS 'writing: all rows are in the table. removing: the files are whole, rows are being removed. done.';
COMMENT ON COLUMN trading.fill_archives.fills IS 'How many fills the files hold; null while writing.';
COMMENT ON COLUMN trading.fill_archives.first_at IS 'exec_time of the first of them; null while writing, or without any.';
COMMENT ON COLUMN trading.fill_archives.archived_at IS 'Wall clock.';

-- A migration that adds a column to trading.position_states adds it here, too: rows are copied between them whole.
CREATE TABLE trading.floor_states (
    LIKE trading.position_states INCLUDING COMMENTS,
    PRIMARY KEY (account_id, category, symbol, leg)
);
COMMENT ON TABLE trading.floor_states IS 'The state of each ledger at its account''s floor: where its recomputation begins when its older fills are archived.';

CREATE FUNCTION trading.floor_of(p_account smallint) RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT max(floor) FROM trading.fill_archives WHERE account_id = p_account
$$;
COMMENT ON FUNCTION trading.floor_of(smallint) IS 'Where the account''s record in trading.fills begins; null when nothing is archived.';
GRANT EXECUTE ON FUNCTION trading.floor_of(smallint) TO alpha_sync;

-- Made the trigger of trading.fills by the first archiving, with a condition that lets newer rows pass for nothing.
CREATE FUNCTION trading.refuse_below_floor() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.exec_time < trading.floor_of(NEW.account_id) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION trading.refuse_below_floor() IS 'Leaves out a fill that is older than its account''s floor: it is archived already.';

CREATE OR REPLACE FUNCTION trading.first_state(p_account smallint, p_category text, p_symbol text, p_leg text, p_bot text)
RETURNS trading.position_states LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM trading.floor_states f
    WHERE f.account_id = p_account AND f.category = p_category AND f.symbol = p_symbol AND f.leg = p_leg
    UNION ALL
    SELECT p_account, p_category, p_symbol, p_bot, '-infinity'::timestamptz, -1, '', NULL::timestamptz, NULL::bigint, NULL,
        coalesce(o.side = 'Buy', true), coalesce(o.qty, 0), coalesce(o.qty * o.entry_price, 0),
        o.as_of, CASE WHEN o.as_of IS NOT NULL THEN -1 END, CASE WHEN o.as_of IS NOT NULL THEN '' END,
        o.as_of IS NOT NULL, 0, 0, coalesce(o.qty, 0), 0, 0, 0, 0, 0, p_leg, trading.settle_coin(p_symbol), 0
    FROM (SELECT) AS one
    LEFT JOIN trading.opening_positions o
        ON o.account_id = p_account AND o.category = p_category AND o.symbol = p_symbol AND o.leg = p_leg
    WHERE NOT EXISTS (
        SELECT FROM trading.floor_states f
        WHERE f.account_id = p_account AND f.category = p_category AND f.symbol = p_symbol AND f.leg = p_leg
    )
$$;
COMMENT ON FUNCTION trading.first_state(smallint, text, text, text, text) IS 'The state before the first fill that is stored: at the floor where older ones are archived, else flat, or the opening position. An opening comes before every fill, whatever its as_of.';

-- The state of each ledger of an account at a new floor, and the floor itself; from here on nothing older is stored.
CREATE FUNCTION trading.raise_floor(p_account smallint, p_floor timestamptz, p_folder text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s     trading.position_states;
    found_state trading.position_states;
    number bigint := 0;
BEGIN
    FOR s IN SELECT * FROM trading.position_states WHERE account_id = p_account ORDER BY category, symbol, leg FOR UPDATE LOOP
        IF s.redo_time IS NOT NULL THEN
            RAISE EXCEPTION 'The ledger % of account % waits for its recomputation. Run alpha db rebuild first.', s.symbol, p_account
                USING ERRCODE = 'AL002';
        END IF;
        found_state := s;
        IF s.place_time >= p_floor THEN
            found_state := trading.checkpoint_before(s, p_floor);
        END IF;
        IF EXISTS (
            SELECT FROM trading.fills f
            WHERE f.account_id = s.account_id AND f.category = s.category AND f.symbol = s.symbol AND f.leg = s.leg
                AND (f.exec_time, f.seq) > (found_state.place_time, found_state.place_seq) AND f.exec_time < p_floor
        ) THEN
            RAISE EXCEPTION 'The ledger % of account % has no checkpoint at %. Run alpha db rebuild first.', s.symbol, p_account, p_floor
                USING ERRCODE = 'AL002';
        END IF;
        CONTINUE WHEN found_state.place_time = '-infinity';   -- its first fill is after the floor
        DELETE FROM trading.floor_states f
        WHERE f.account_id = s.account_id AND f.category = s.category AND f.symbol = s.symbol AND f.leg = s.leg;
        INSERT INTO trading.floor_states SELECT found_state.*;
        DELETE FROM trading.checkpoints c
        WHERE c.account_id = s.account_id AND c.category = s.category AND c.symbol = s.symbol AND c.leg = s.leg
            AND (c.place_time, c.place_seq) < (found_state.place_time, found_state.place_seq);
        number := number + 1;
    END LOOP;
    INSERT INTO trading.fill_archives (account_id, floor, folder) VALUES (p_account, p_floor, p_folder);
    RETURN number;
END $$;
COMMENT ON FUNCTION trading.raise_floor(smallint, timestamptz, text) IS
    'Keeps the state of every ledger of an account at a new floor and sets the floor; returns the number of ledgers. Fails with AL002 when one waits for its recomputation.';
