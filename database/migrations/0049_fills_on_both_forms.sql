-- `alpha db partition` turns trading.fills into a partitioned table. What the insert tells of a row must then come from a
-- column: a partitioned table has no system columns.

ALTER TABLE trading.fills ADD COLUMN completed_at timestamptz;
COMMENT ON COLUMN trading.fills.completed_at IS 'When a later copy of the execution last filled in what was null, wall clock; null when none did.';
GRANT UPDATE (completed_at) ON trading.fills TO alpha_listener;

-- As before, with records: a variable of the table's own type would keep the type of the table before its conversion.
CREATE OR REPLACE FUNCTION trading.correct_leg(
    p_account smallint, p_symbol text, p_exec_id text, p_order_id text, p_by_order text, p_by_fields text
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    f      record;
    ledger text;
BEGIN
    PERFORM trading.note_issue(
        p_account, 'leg', p_symbol || ':' || p_exec_id, p_symbol, jsonb_build_object('leg', p_by_order, 'order_id', p_order_id),
        jsonb_build_object('leg', p_by_fields), 'Side and closedSize say another leg than the order''s positionIdx, which counts.',
        'open');
    SELECT bot_id, leg, exec_time, seq INTO f FROM trading.fills
    WHERE account_id = p_account AND category = 'linear' AND symbol = p_symbol AND exec_id = p_exec_id FOR UPDATE;
    IF NOT FOUND OR f.leg = p_by_order THEN
        RETURN false;
    END IF;
    UPDATE trading.fills SET leg = p_by_order
    WHERE account_id = p_account AND category = 'linear' AND symbol = p_symbol AND exec_id = p_exec_id;
    FOREACH ledger IN ARRAY CASE WHEN f.leg < p_by_order THEN ARRAY[f.leg, p_by_order] ELSE ARRAY[p_by_order, f.leg] END LOOP
        PERFORM trading.save_states(ARRAY[trading.put_off(
            trading.lock_state(p_account, 'linear', p_symbol, ledger, f.bot_id), f.exec_time, f.seq)]);
    END LOOP;
    RETURN true;
END $$;

CREATE OR REPLACE FUNCTION trading.add_adjustment(
    p_account smallint, p_symbol text, p_exec_id text, p_is_long boolean, p_qty numeric, p_entry_price numeric
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    f record;
    s trading.position_states;
BEGIN
    SELECT bot_id, leg, exec_time, seq INTO f FROM trading.fills
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
