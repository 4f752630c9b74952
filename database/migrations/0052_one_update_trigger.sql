-- Three triggers looked through the rows that an insert had completed, also when there were none, which is nearly always: a fifth of
-- what the triggers of a single fill cost. One trigger does what they did, in their order, and ends at once without such a row.

DROP TRIGGER recompute_learnt_fees ON trading.fills;
DROP TRIGGER revise_other_fees ON trading.fills;
DROP FUNCTION trading.recompute_learnt_fees(), trading.revise_other_fees();

CREATE OR REPLACE FUNCTION trading.apply_learnt_values() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    g record;
    s trading.position_states;
    w record;
BEGIN
    PERFORM FROM after LIMIT 1;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
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
    -- a fee whose currency became known later, and is another coin, changes the trip
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
    -- what became known later of a fee: its currency, or its price
    INSERT INTO trading.daily_other_fees AS d
    SELECT n.account_id, (n.exec_time AT TIME ZONE 'UTC')::date, n.symbol, n.fee_currency, trading.settle_coin(n.symbol),
        coalesce(sum(n.fee) FILTER (WHERE o.fee_currency IS NULL), 0),
        coalesce(sum(n.fee * n.fee_price) FILTER (WHERE o.fee_price IS NULL), 0),
        sum(CASE WHEN n.fee_price IS NULL THEN n.fee ELSE 0 END
            - CASE WHEN o.fee_currency IS NOT NULL AND o.fee_price IS NULL THEN n.fee ELSE 0 END)
    FROM after n JOIN before o
        ON n.account_id = o.account_id AND n.category = o.category AND n.symbol = o.symbol AND n.exec_id = o.exec_id
    WHERE n.fee_currency NOT IN ('', 'USDT', 'USDC') AND n.category = 'linear' AND n.exec_type <> 'Funding'
        AND (o.fee_currency IS NULL OR o.fee_price IS DISTINCT FROM n.fee_price)
    GROUP BY 1, 2, 3, 4
    ON CONFLICT (account_id, day, symbol, currency) DO UPDATE SET
        amount = d.amount + excluded.amount, value = d.value + excluded.value, unvalued = d.unvalued + excluded.unvalued;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION trading.apply_learnt_values() IS
    'Takes in values that were null when their fills were stored: sizes and P&L, fees in another coin and their prices.';
