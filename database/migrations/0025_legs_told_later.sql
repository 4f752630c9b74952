-- The leg of an execution in hedge mode comes from its order. Where the order was read after the execution was stored, and
-- says another leg than the execution's own fields, the order counts.

CREATE FUNCTION trading.note_issue(
    p_account smallint, p_kind text, p_subject text, p_symbol text, p_ours jsonb, p_theirs jsonb, p_explanation text, p_state text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO trading.reconciliation_issues AS i (
        account_id, bot_id, kind, subject, symbol, ours, theirs, explanation, state, first_seen_at, last_seen_at
    )
    SELECT p_account, a.bot_id, p_kind, p_subject, p_symbol, p_ours, p_theirs, p_explanation, p_state, clock_timestamp(),
        clock_timestamp()
    FROM trading.accounts a WHERE a.account_id = p_account
    ON CONFLICT (account_id, kind, subject) DO UPDATE SET
        ours = excluded.ours, theirs = excluded.theirs, explanation = excluded.explanation, last_seen_at = excluded.last_seen_at,
        state = CASE WHEN i.state = 'explained' THEN i.state ELSE excluded.state END, resolved_at = NULL;
END $$;
COMMENT ON FUNCTION trading.note_issue(smallint, text, text, text, jsonb, jsonb, text, text) IS
    'Enters what the listener finds out about an account as an issue, once per kind and subject.';

CREATE FUNCTION trading.correct_leg(
    p_account smallint, p_symbol text, p_exec_id text, p_order_id text, p_by_order text, p_by_fields text
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    f      trading.fills;
    ledger text;
BEGIN
    PERFORM trading.note_issue(
        p_account, 'leg', p_symbol || ':' || p_exec_id, p_symbol, jsonb_build_object('leg', p_by_order, 'order_id', p_order_id),
        jsonb_build_object('leg', p_by_fields), 'Side and closedSize say another leg than the order''s positionIdx, which counts.',
        'open');
    SELECT * INTO f FROM trading.fills
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
COMMENT ON FUNCTION trading.correct_leg(smallint, text, text, text, text, text) IS
    'Enters the issue, moves the fill to the leg of its order and has both ledgers recomputed; false when it was there already.';
GRANT EXECUTE ON FUNCTION trading.note_issue(smallint, text, text, text, jsonb, jsonb, text, text),
    trading.correct_leg(smallint, text, text, text, text, text) TO alpha_listener;
