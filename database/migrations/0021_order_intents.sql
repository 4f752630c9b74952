-- Why each order was sent: written by the bot before it sends.

CREATE TABLE trading.order_intents (
    account_id     smallint NOT NULL REFERENCES trading.accounts,
    order_link_id  text COLLATE "C" NOT NULL CHECK (order_link_id <> ''),
    bot_id         text COLLATE "C" NOT NULL,
    symbol         text COLLATE "C" NOT NULL,
    bar_start      timestamptz NOT NULL,
    intent         text COLLATE "C" NOT NULL CHECK (intent IN ('enter', 'exit', 'part', 'target')),
    order_kind     text COLLATE "C" NOT NULL CHECK (order_kind IN ('market', 'limit', 'trigger')),
    side           text COLLATE "C" NOT NULL CHECK (side IN ('Buy', 'Sell')),
    qty            numeric NOT NULL,
    price          numeric,
    tag            text NOT NULL DEFAULT '',
    reason         text COLLATE "C" NOT NULL,
    why            text NOT NULL DEFAULT '',
    decision_price numeric,
    decided_at     timestamptz NOT NULL,
    PRIMARY KEY (account_id, order_link_id)
);
COMMENT ON TABLE trading.order_intents IS 'One row per order that a strategy sends, written before it is sent. Append only.';
COMMENT ON COLUMN trading.order_intents.account_id IS 'The account.';
COMMENT ON COLUMN trading.order_intents.order_link_id IS 'The id of the order, also on its fills.';
COMMENT ON COLUMN trading.order_intents.bot_id IS 'The bot.';
COMMENT ON COLUMN trading.order_intents.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.order_intents.bar_start IS 'Start of the bar that decided, business time.';
COMMENT ON COLUMN trading.order_intents.intent IS 'enter, exit (the whole), part (some of it) or target (a resting exit).';
COMMENT ON COLUMN trading.order_intents.order_kind IS 'market, limit or trigger.';
COMMENT ON COLUMN trading.order_intents.side IS 'Buy or Sell.';
COMMENT ON COLUMN trading.order_intents.qty IS 'Quantity in base coin when it was decided.';
COMMENT ON COLUMN trading.order_intents.price IS 'Limit or trigger price in USDT; null for a market order.';
COMMENT ON COLUMN trading.order_intents.tag IS 'The strategy''s own name for it; "" when it gave none.';
COMMENT ON COLUMN trading.order_intents.reason IS 'entry, or why it exits: one word, as on the fills.';
COMMENT ON COLUMN trading.order_intents.why IS 'The same in the strategy''s own words.';
COMMENT ON COLUMN trading.order_intents.decision_price IS 'The close at which it was decided, in USDT; null where an account limit decided.';
COMMENT ON COLUMN trading.order_intents.decided_at IS 'When it was decided, business time.';

-- What became of them. A cost is above zero: a buy above, a sell below the price at which it was decided.
CREATE VIEW trading.order_intent_results AS
SELECT i.account_id, i.bot_id, i.symbol, i.order_link_id, i.intent, i.order_kind, i.side, i.tag, i.reason, i.why,
       i.decided_at, i.decision_price, i.qty, o.status, coalesce(o.cum_exec_qty, 0) AS filled_qty, o.avg_price,
       o.updated_at - i.decided_at AS decision_to_last_update,
       CASE WHEN o.cum_exec_qty > 0 AND i.decision_price > 0 THEN
           round((o.avg_price - i.decision_price) / i.decision_price * 10000
                 * CASE i.side WHEN 'Buy' THEN 1 ELSE -1 END, 4)
       END AS slippage_bps
FROM trading.order_intents AS i
LEFT JOIN trading.orders AS o ON o.account_id = i.account_id AND o.order_link_id = i.order_link_id;
COMMENT ON VIEW trading.order_intent_results IS 'Each order that a strategy wanted, and what became of it.';
COMMENT ON COLUMN trading.order_intent_results.account_id IS 'The account.';
COMMENT ON COLUMN trading.order_intent_results.bot_id IS 'The bot.';
COMMENT ON COLUMN trading.order_intent_results.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.order_intent_results.order_link_id IS 'The id of the order.';
COMMENT ON COLUMN trading.order_intent_results.intent IS 'enter, exit, part or target.';
COMMENT ON COLUMN trading.order_intent_results.order_kind IS 'market, limit or trigger.';
COMMENT ON COLUMN trading.order_intent_results.side IS 'Buy or Sell.';
COMMENT ON COLUMN trading.order_intent_results.tag IS 'The strategy''s own name for it.';
COMMENT ON COLUMN trading.order_intent_results.reason IS 'entry, or why it exits.';
COMMENT ON COLUMN trading.order_intent_results.why IS 'The same in words.';
COMMENT ON COLUMN trading.order_intent_results.decided_at IS 'When it was decided, business time.';
COMMENT ON COLUMN trading.order_intent_results.decision_price IS 'The close at which it was decided, in USDT.';
COMMENT ON COLUMN trading.order_intent_results.qty IS 'Quantity in base coin when it was decided.';
COMMENT ON COLUMN trading.order_intent_results.status IS 'The order''s newest status; null while the exchange has not shown it.';
COMMENT ON COLUMN trading.order_intent_results.filled_qty IS 'What was filled of it, in base coin.';
COMMENT ON COLUMN trading.order_intent_results.avg_price IS 'Average fill price in USDT.';
COMMENT ON COLUMN trading.order_intent_results.decision_to_last_update IS 'From the decision to the order''s last change.';
COMMENT ON COLUMN trading.order_intent_results.slippage_bps IS 'Average fill against the decision price, in basis points; above zero is a cost.';

GRANT SELECT ON trading.order_intent_results TO alpha_readonly, alpha_c2, alpha_guard;
GRANT INSERT ON trading.order_intents TO alpha_strategy;
