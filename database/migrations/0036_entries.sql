-- Results by what an entry was called, and by how and under which name it was left.

CREATE VIEW trading.tagged_round_trips AS
SELECT p.bot_id, p.environment, p.account_id, p.symbol, p.direction, p.opened_at, p.closed_at, p.holding_time, p.net,
       p.return_pct, p.exit_reason, coalesce(e.tag, '') AS entry_tag, coalesce(x.tag, '') AS exit_tag,
       coalesce(e.order_kind, '') AS entry_kind
FROM trading.position_summaries AS p
LEFT JOIN LATERAL (
    SELECT i.tag, i.order_kind
    FROM trading.fills AS f JOIN trading.order_intents AS i USING (account_id, order_link_id)
    WHERE f.account_id = p.account_id AND f.category = 'linear' AND f.symbol = p.symbol AND f.exec_time = p.opened_at
      AND i.intent = 'enter'
    ORDER BY f.seq, f.exec_id LIMIT 1
) AS e ON true
LEFT JOIN LATERAL (
    SELECT i.tag
    FROM trading.fills AS f JOIN trading.order_intents AS i USING (account_id, order_link_id)
    WHERE f.account_id = p.account_id AND f.category = 'linear' AND f.symbol = p.symbol AND f.exec_time = p.closed_at
      AND i.intent <> 'enter'
    ORDER BY f.seq DESC, f.exec_id DESC LIMIT 1
) AS x ON true;
COMMENT ON VIEW trading.tagged_round_trips IS 'Each round trip with the strategy''s own names for its entry and its exit.';
COMMENT ON COLUMN trading.tagged_round_trips.bot_id IS 'The bot.';
COMMENT ON COLUMN trading.tagged_round_trips.environment IS 'live, demo, testnet or simulated.';
COMMENT ON COLUMN trading.tagged_round_trips.account_id IS 'The account.';
COMMENT ON COLUMN trading.tagged_round_trips.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.tagged_round_trips.direction IS 'long or short.';
COMMENT ON COLUMN trading.tagged_round_trips.opened_at IS 'First fill, business time.';
COMMENT ON COLUMN trading.tagged_round_trips.closed_at IS 'Last fill, business time.';
COMMENT ON COLUMN trading.tagged_round_trips.holding_time IS 'closed_at - opened_at.';
COMMENT ON COLUMN trading.tagged_round_trips.net IS 'gross - fees + funding.';
COMMENT ON COLUMN trading.tagged_round_trips.return_pct IS 'net / entry value x 100.';
COMMENT ON COLUMN trading.tagged_round_trips.exit_reason IS 'Reason of the fill that ended it.';
COMMENT ON COLUMN trading.tagged_round_trips.entry_tag IS 'Tag of the intent behind its first fill; "" without one.';
COMMENT ON COLUMN trading.tagged_round_trips.exit_tag IS 'Tag of the intent behind its last fill; "" without one, as for a stop.';
COMMENT ON COLUMN trading.tagged_round_trips.entry_kind IS 'market, limit or trigger; "" where no intent is known.';
GRANT SELECT ON trading.tagged_round_trips TO alpha_readonly, alpha_c2, alpha_guard;
