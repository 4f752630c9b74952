-- Records of many millions of fills: recomputing from a moment on, and never for long in one transaction.

CREATE FUNCTION trading.mark_for_recompute(p_account smallint, p_category text, p_symbol text, p_leg text, p_since timestamptz)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s trading.position_states;
BEGIN
    s := trading.lock_state(p_account, p_category, p_symbol, p_leg,
                            (SELECT bot_id FROM trading.accounts WHERE account_id = p_account));
    IF s.place_time >= p_since THEN
        PERFORM trading.save_states(ARRAY[trading.put_off(s, p_since, -1)]);
    END IF;
END $$;
COMMENT ON FUNCTION trading.mark_for_recompute(smallint, text, text, text, timestamptz) IS
    'Has one ledger recomputed from its last checkpoint of a day before this moment''s.';

-- All its steps in one transaction kept the ledgers locked until the last one was done.
CREATE OR REPLACE FUNCTION trading.recompute_pending() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    began  CONSTANT timestamptz := clock_timestamp();
    step   record;
    number integer := 0;
BEGIN
    LOOP
        SELECT * INTO step FROM trading.recompute_step();
        EXIT WHEN step.done IS NULL;
        number := number + step.done::integer;
        EXIT WHEN clock_timestamp() - began > interval '400 ms';
    END LOOP;
    RETURN number;
END $$;
COMMENT ON FUNCTION trading.recompute_pending() IS
    'Steps of trading.recompute_step() for less than half a second, so that no ledger is locked for long; returns how many ledgers were finished. Call it, each time in a transaction of its own, until no position_states row has a redo_time.';
COMMENT ON FUNCTION trading.settle() IS 'The former name of trading.recompute_pending(), with the same limit.';

-- Comments that say no more than the name.
DO $$
DECLARE
    c record;
BEGIN
    FOR c IN
        SELECT format('COMMENT ON COLUMN %I.%I.%I IS NULL', n.nspname, r.relname, a.attname) AS statement
        FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid JOIN pg_namespace n ON n.oid = r.relnamespace
        WHERE n.nspname IN ('trading', 'audit') AND r.relkind IN ('r', 'v', 'p') AND a.attnum > 0 AND NOT a.attisdropped
            AND col_description(a.attrelid, a.attnum) IN (
                'The account.', 'The bot.', 'The instrument.', 'The bot of that account at that time.', 'UTC day.', 'The symbol.',
                'The account it happened on.', 'The account it was placed on.'
            )
    LOOP
        EXECUTE c.statement;
    END LOOP;
END $$;
