-- What the listener writes: every execution, every order, and where an account stood when it was first seen.

-- No foreign key to the accounts: it would cost a look-up a row. trading.keep_books looks once a batch.
CREATE TABLE trading.fills (
    exec_time     timestamptz NOT NULL,
    received_at   timestamptz NOT NULL,
    seq           bigint NOT NULL,
    account_id    smallint NOT NULL,
    is_maker      boolean NOT NULL,
    bot_id        text COLLATE "C" NOT NULL,
    category      text COLLATE "C" NOT NULL,
    symbol        text COLLATE "C" NOT NULL,
    exec_id       text COLLATE "C" NOT NULL CHECK (exec_id <> ''),
    order_id      text COLLATE "C" NOT NULL,
    order_link_id text COLLATE "C",
    side          text COLLATE "C" NOT NULL CHECK (side IN ('Buy', 'Sell')),
    exec_type     text COLLATE "C" NOT NULL,
    reason        text COLLATE "C" NOT NULL,
    price         numeric NOT NULL,
    qty           numeric NOT NULL CHECK (qty >= 0),
    value         numeric NOT NULL,
    fee           numeric NOT NULL,
    fee_currency  text COLLATE "C",
    closed_size   numeric,
    exec_pnl      numeric,
    extra_fees    jsonb,
    PRIMARY KEY (account_id, category, symbol, exec_id)
);
COMMENT ON TABLE trading.fills IS 'Every execution of every account, once. Written by the listener alone. The order within an account is exec_time, seq, exec_id.';
COMMENT ON COLUMN trading.fills.exec_time IS 'When the exchange executed it, the exchange''s clock, to the millisecond.';
COMMENT ON COLUMN trading.fills.received_at IS 'When we first received it, wall clock.';
COMMENT ON COLUMN trading.fills.seq IS 'Bybit''s sequence number; orders executions of one millisecond.';
COMMENT ON COLUMN trading.fills.account_id IS 'The account it happened on.';
COMMENT ON COLUMN trading.fills.is_maker IS 'True when our order was resting in the book.';
COMMENT ON COLUMN trading.fills.bot_id IS 'The bot of that account at that time.';
COMMENT ON COLUMN trading.fills.category IS 'linear for USDT perpetuals.';
COMMENT ON COLUMN trading.fills.symbol IS 'The instrument, for example BTCUSDT.';
COMMENT ON COLUMN trading.fills.exec_id IS 'Bybit''s id of the execution.';
COMMENT ON COLUMN trading.fills.order_id IS 'Bybit''s id of the order.';
COMMENT ON COLUMN trading.fills.order_link_id IS 'Our id of the order; null when the exchange or a person made it without one.';
COMMENT ON COLUMN trading.fills.side IS 'Buy or Sell. On a Funding row the side of the position.';
COMMENT ON COLUMN trading.fills.exec_type IS 'Bybit''s execType: Trade, Funding, BustTrade, AdlTrade, Settle, Delivery ...';
COMMENT ON COLUMN trading.fills.reason IS 'Why: entry, take_profit, stop_loss, trailing_stop, liquidation, adl, signal, time_limit, regime_change, break_even, risk_limit, manual, kill_switch, funding, settlement.';
COMMENT ON COLUMN trading.fills.price IS 'Execution price in quote currency.';
COMMENT ON COLUMN trading.fills.qty IS 'Executed quantity in base currency; on a Funding row the size of the position.';
COMMENT ON COLUMN trading.fills.value IS 'Bybit''s execValue in quote currency.';
COMMENT ON COLUMN trading.fills.fee IS 'Bybit''s execFee: positive is paid, negative received. On a Funding row the funding.';
COMMENT ON COLUMN trading.fills.fee_currency IS 'Currency of the fee; null means the settle coin.';
COMMENT ON COLUMN trading.fills.closed_size IS 'How much of qty reduced a position, as Bybit says; null until known.';
COMMENT ON COLUMN trading.fills.exec_pnl IS 'P&L of the closed part before fees, as Bybit says; null until known (only the stream has it).';
COMMENT ON COLUMN trading.fills.extra_fees IS 'Bybit''s extraFees (taxes of some jurisdictions), as sent; null when none.';

CREATE INDEX fills_by_symbol ON trading.fills (account_id, category, symbol, exec_time, seq, exec_id);
COMMENT ON INDEX trading.fills_by_symbol IS 'The order of fills within an account and symbol: replays, one symbol''s history.';
CREATE INDEX fills_by_bot ON trading.fills (bot_id, exec_time);
COMMENT ON INDEX trading.fills_by_bot IS 'A bot''s fills by time: latest fills, exports.';

CREATE TABLE trading.orders (
    account_id           smallint NOT NULL REFERENCES trading.accounts,
    order_id             text COLLATE "C" NOT NULL CHECK (order_id <> ''),
    bot_id               text COLLATE "C" NOT NULL,
    category             text COLLATE "C" NOT NULL,
    symbol               text COLLATE "C" NOT NULL,
    order_link_id        text COLLATE "C",
    parent_order_link_id text COLLATE "C",
    side                 text COLLATE "C" NOT NULL,
    order_type           text COLLATE "C" NOT NULL,
    status               text COLLATE "C" NOT NULL,
    reason               text COLLATE "C" NOT NULL,
    price                numeric,
    qty                  numeric NOT NULL,
    leaves_qty           numeric,
    cum_exec_qty         numeric NOT NULL,
    cum_exec_value       numeric,
    avg_price            numeric,
    trigger_price        numeric,
    stop_loss            numeric,
    take_profit          numeric,
    stop_order_type      text COLLATE "C",
    create_type          text COLLATE "C",
    cancel_type          text COLLATE "C",
    reject_reason        text COLLATE "C",
    tpsl_mode            text COLLATE "C",
    time_in_force        text COLLATE "C",
    reduce_only          boolean NOT NULL,
    close_on_trigger     boolean NOT NULL,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    received_at          timestamptz NOT NULL,
    PRIMARY KEY (account_id, order_id)
);
COMMENT ON TABLE trading.orders IS 'The last known state of every order. A terminal state is never replaced by a late message.';
COMMENT ON COLUMN trading.orders.account_id IS 'The account it was placed on.';
COMMENT ON COLUMN trading.orders.order_id IS 'Bybit''s id.';
COMMENT ON COLUMN trading.orders.bot_id IS 'The bot of that account at that time.';
COMMENT ON COLUMN trading.orders.category IS 'linear for USDT perpetuals.';
COMMENT ON COLUMN trading.orders.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.orders.order_link_id IS 'Our id; null when the exchange or a person made it without one.';
COMMENT ON COLUMN trading.orders.parent_order_link_id IS 'Our id of the order to which this stop or target was attached.';
COMMENT ON COLUMN trading.orders.side IS 'Buy or Sell.';
COMMENT ON COLUMN trading.orders.order_type IS 'Market or Limit.';
COMMENT ON COLUMN trading.orders.status IS 'Bybit''s orderStatus.';
COMMENT ON COLUMN trading.orders.reason IS 'Why, as in trading.fills.';
COMMENT ON COLUMN trading.orders.price IS 'Limit price; of a market order Bybit''s own bound.';
COMMENT ON COLUMN trading.orders.qty IS 'Ordered quantity in base currency.';
COMMENT ON COLUMN trading.orders.leaves_qty IS 'Quantity not yet executed.';
COMMENT ON COLUMN trading.orders.cum_exec_qty IS 'Quantity executed so far.';
COMMENT ON COLUMN trading.orders.cum_exec_value IS 'Value executed so far, quote currency.';
COMMENT ON COLUMN trading.orders.avg_price IS 'Average price of what was executed.';
COMMENT ON COLUMN trading.orders.trigger_price IS 'Trigger of a conditional order; activation price of a trailing stop.';
COMMENT ON COLUMN trading.orders.stop_loss IS 'Attached stop loss.';
COMMENT ON COLUMN trading.orders.take_profit IS 'Attached take profit.';
COMMENT ON COLUMN trading.orders.stop_order_type IS 'Bybit''s stopOrderType; null when none.';
COMMENT ON COLUMN trading.orders.create_type IS 'Bybit''s createType; null when none.';
COMMENT ON COLUMN trading.orders.cancel_type IS 'Bybit''s cancelType; null when none.';
COMMENT ON COLUMN trading.orders.reject_reason IS 'Bybit''s rejectReason; null when none.';
COMMENT ON COLUMN trading.orders.tpsl_mode IS 'Full or Partial; null when none.';
COMMENT ON COLUMN trading.orders.time_in_force IS 'GTC, IOC, FOK or PostOnly.';
COMMENT ON COLUMN trading.orders.reduce_only IS 'True when it may only shrink a position.';
COMMENT ON COLUMN trading.orders.close_on_trigger IS 'True when it may cancel other orders to free margin.';
COMMENT ON COLUMN trading.orders.created_at IS 'When the exchange accepted it, the exchange''s clock.';
COMMENT ON COLUMN trading.orders.updated_at IS 'When it last changed, the exchange''s clock.';
COMMENT ON COLUMN trading.orders.received_at IS 'When we received that change, wall clock.';
CREATE INDEX orders_open ON trading.orders (account_id)
    WHERE status NOT IN ('Cancelled', 'Deactivated', 'Filled', 'PartiallyFilledCanceled', 'Rejected');
COMMENT ON INDEX trading.orders_open IS 'Orders that are not in a terminal state: the listener compares them with the exchange after a gap.';

CREATE TABLE trading.opening_positions (
    account_id  smallint NOT NULL REFERENCES trading.accounts,
    category    text COLLATE "C" NOT NULL,
    symbol      text COLLATE "C" NOT NULL,
    side        text COLLATE "C" NOT NULL CHECK (side IN ('Buy', 'Sell')),
    qty         numeric NOT NULL CHECK (qty > 0),
    entry_price numeric NOT NULL CHECK (entry_price > 0),
    as_of       timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, category, symbol)
);
COMMENT ON TABLE trading.opening_positions IS 'What an account already held when its record begins: the exchange''s position less the fills after as_of. Counts as an entry at as_of, before any fill of that instant.';
COMMENT ON COLUMN trading.opening_positions.account_id IS 'The account.';
COMMENT ON COLUMN trading.opening_positions.category IS 'linear for USDT perpetuals.';
COMMENT ON COLUMN trading.opening_positions.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.opening_positions.side IS 'Buy for a long, Sell for a short.';
COMMENT ON COLUMN trading.opening_positions.qty IS 'Size in base currency.';
COMMENT ON COLUMN trading.opening_positions.entry_price IS 'Average entry price, as the exchange said.';
COMMENT ON COLUMN trading.opening_positions.as_of IS 'Where the record of this account and symbol begins, the exchange''s clock.';
COMMENT ON COLUMN trading.opening_positions.recorded_at IS 'When it was recorded, wall clock.';

CREATE TABLE trading.equity_snapshots (
    account_id     smallint NOT NULL REFERENCES trading.accounts,
    taken_at       timestamptz NOT NULL,
    equity         numeric NOT NULL,
    wallet_balance numeric NOT NULL,
    available      numeric,
    unrealised_pnl numeric NOT NULL,
    PRIMARY KEY (account_id, taken_at)
);
COMMENT ON TABLE trading.equity_snapshots IS 'Equity of each account over time, in USDT.';
COMMENT ON COLUMN trading.equity_snapshots.account_id IS 'The account.';
COMMENT ON COLUMN trading.equity_snapshots.taken_at IS 'When, the exchange''s clock.';
COMMENT ON COLUMN trading.equity_snapshots.equity IS 'Wallet balance plus unrealised P&L.';
COMMENT ON COLUMN trading.equity_snapshots.wallet_balance IS 'Cash in the account.';
COMMENT ON COLUMN trading.equity_snapshots.available IS 'What is free for new positions; null when the exchange does not say.';
COMMENT ON COLUMN trading.equity_snapshots.unrealised_pnl IS 'P&L of open positions at the mark price.';

CREATE TABLE trading.watermarks (
    account_id smallint NOT NULL REFERENCES trading.accounts,
    category   text COLLATE "C" NOT NULL,
    read_to    timestamptz NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, category)
);
COMMENT ON TABLE trading.watermarks IS 'Up to where execution/list was read to its end and committed. Never moved by the stream.';
COMMENT ON COLUMN trading.watermarks.account_id IS 'The account.';
COMMENT ON COLUMN trading.watermarks.category IS 'linear for USDT perpetuals.';
COMMENT ON COLUMN trading.watermarks.read_to IS 'Every execution before this instant is in trading.fills; the exchange''s clock.';
COMMENT ON COLUMN trading.watermarks.updated_at IS 'When it last moved, wall clock.';

GRANT INSERT ON trading.fills TO alpha_listener;
GRANT UPDATE (order_link_id, fee_currency, closed_size, exec_pnl, extra_fees) ON trading.fills TO alpha_listener;
GRANT INSERT, UPDATE ON trading.orders TO alpha_listener;
GRANT INSERT, UPDATE, DELETE ON trading.opening_positions TO alpha_listener;
GRANT INSERT, UPDATE ON trading.equity_snapshots, trading.watermarks TO alpha_listener;
