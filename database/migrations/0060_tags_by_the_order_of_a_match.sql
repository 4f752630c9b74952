-- The tags of a trip are those of its first and its last fill: of one match by the one order, not by the random ids.

CREATE OR REPLACE VIEW trading.tagged_round_trips AS
SELECT p.bot_id, p.environment, p.account_id, p.symbol, p.direction, p.opened_at, p.closed_at, p.holding_time, p.net,
       p.return_pct, p.exit_reason, coalesce(e.tag, '') AS entry_tag, coalesce(x.tag, '') AS exit_tag,
       coalesce(e.order_kind, '') AS entry_kind
FROM trading.position_summaries AS p
LEFT JOIN LATERAL (
    SELECT i.tag, i.order_kind
    FROM trading.fills AS f JOIN trading.order_intents AS i USING (account_id, order_link_id)
    WHERE f.account_id = p.account_id AND f.category = 'linear' AND f.symbol = p.symbol AND f.exec_time = p.opened_at
      AND i.intent = 'enter'
    ORDER BY f.seq, trading.fill_rank(f.closed_size, f.qty), f.exec_id LIMIT 1
) AS e ON true
LEFT JOIN LATERAL (
    SELECT i.tag
    FROM trading.fills AS f JOIN trading.order_intents AS i USING (account_id, order_link_id)
    WHERE f.account_id = p.account_id AND f.category = 'linear' AND f.symbol = p.symbol AND f.exec_time = p.closed_at
      AND i.intent <> 'enter'
    ORDER BY f.seq DESC, trading.fill_rank(f.closed_size, f.qty) DESC, f.exec_id DESC LIMIT 1
) AS x ON true;
