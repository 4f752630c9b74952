-- A short id for each round trip, the same after a rebuild: made of what the trip is, not of when its row was written.

CREATE INDEX round_trips_by_id ON trading.round_trips (
    substr(md5(account_id::text || '/' || category || '/' || symbol || '/' || leg || '/' || opened_id || '/' || closed_id), 1, 10)
);
COMMENT ON INDEX trading.round_trips_by_id IS 'One trade by its id.';

CREATE OR REPLACE VIEW trading.position_summaries AS
SELECT
    t.bot_id,
    (SELECT a.environment FROM trading.accounts a WHERE a.account_id = t.account_id) AS environment,
    t.account_id,
    t.symbol,
    CASE WHEN t.is_long THEN 'long' ELSE 'short' END AS direction,
    t.opened_at,
    t.closed_at,
    t.closed_at - t.opened_at AS holding_time,
    t.fills,
    trim_scale(t.qty) AS qty,
    trim_scale(t.max_qty) AS max_qty,
    trim_scale(round(t.entry_value / t.qty, 10)) AS entry_price,
    trim_scale(round(t.exit_value / t.qty, 10)) AS exit_price,
    trim_scale(t.entry_value) AS entry_value,
    trim_scale(t.exit_value) AS exit_value,
    trim_scale(t.gross) AS gross,
    trim_scale(t.fees) AS fees,
    trim_scale(t.funding) AS funding,
    trim_scale(t.gross - t.fees + t.funding) AS net,
    round((t.gross - t.fees + t.funding) / nullif(t.entry_value, 0) * 100, 4) AS return_pct,
    t.exit_reason,
    round(t.maker_value / nullif(t.entry_value + t.exit_value, 0), 4) AS maker_share,
    t.from_opening,
    t.reversed,
    EXISTS (
        SELECT FROM trading.position_states s
        WHERE s.account_id = t.account_id AND s.category = t.category AND s.symbol = t.symbol AND s.leg = t.leg
            AND (t.closed_at, t.closed_seq) >= (s.redo_time, s.redo_seq)
    ) AS provisional,
    t.leg,
    t.settle_coin,
    substr(md5(t.account_id::text || '/' || t.category || '/' || t.symbol || '/' || t.leg || '/' || t.opened_id || '/' || t.closed_id), 1, 10)
        AS trade_id,
    t.category,
    t.opened_seq,
    t.closed_seq
FROM trading.round_trips t;
COMMENT ON COLUMN trading.position_summaries.trade_id IS 'Short id, of account, symbol, first and last fill.';
COMMENT ON COLUMN trading.position_summaries.category IS 'linear, inverse, spot or option.';
COMMENT ON COLUMN trading.position_summaries.opened_seq IS 'seq of the first fill.';
COMMENT ON COLUMN trading.position_summaries.closed_seq IS 'seq of the last fill.';

-- The dashboard reads alerts where they are kept.
GRANT USAGE ON SCHEMA audit TO alpha_readonly;
GRANT SELECT ON audit.alerts TO alpha_readonly;
