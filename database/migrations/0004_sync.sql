-- What the trade sync service writes: Bybit's own account of closed trades, and where it and ours differ.

CREATE TABLE trading.completed_trades (
    account_id    smallint NOT NULL REFERENCES trading.accounts,
    order_id      text COLLATE "C" NOT NULL,
    updated_at    timestamptz NOT NULL,
    closed_size   numeric NOT NULL,
    exit_value    numeric NOT NULL,
    ordinal       smallint NOT NULL DEFAULT 0,
    bot_id        text COLLATE "C" NOT NULL,
    category      text COLLATE "C" NOT NULL,
    symbol        text COLLATE "C" NOT NULL,
    side          text COLLATE "C" NOT NULL CHECK (side IN ('Buy', 'Sell')),
    direction     text COLLATE "C" NOT NULL GENERATED ALWAYS AS (CASE side WHEN 'Sell' THEN 'long' ELSE 'short' END) STORED,
    exec_type     text COLLATE "C" NOT NULL,
    order_type    text COLLATE "C",
    order_price   numeric,
    qty           numeric NOT NULL,
    entry_value   numeric NOT NULL,
    entry_price   numeric NOT NULL,
    exit_price    numeric NOT NULL,
    fill_count    integer,
    leverage      numeric,
    gross         numeric NOT NULL,
    open_fee      numeric NOT NULL,
    close_fee     numeric NOT NULL,
    funding       numeric NOT NULL,
    closed_pnl    numeric NOT NULL,
    created_at    timestamptz NOT NULL,
    entry_time    timestamptz,
    exit_reason   text COLLATE "C",
    order_link_id text COLLATE "C",
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, order_id, updated_at, closed_size, exit_value, ordinal)
);
COMMENT ON TABLE trading.completed_trades IS 'Bybit''s closed-P&L rows: its own account of what each closing order earned.';
COMMENT ON COLUMN trading.completed_trades.account_id IS 'The account.';
COMMENT ON COLUMN trading.completed_trades.order_id IS 'Bybit''s id of the closing order; one order can have several rows.';
COMMENT ON COLUMN trading.completed_trades.updated_at IS 'Bybit''s updatedTime: when the position was closed.';
COMMENT ON COLUMN trading.completed_trades.closed_size IS 'Quantity closed, base currency.';
COMMENT ON COLUMN trading.completed_trades.exit_value IS 'Bybit''s cumExitValue.';
COMMENT ON COLUMN trading.completed_trades.ordinal IS 'Tells apart rows that are equal in all else of the key.';
COMMENT ON COLUMN trading.completed_trades.bot_id IS 'The bot of that account.';
COMMENT ON COLUMN trading.completed_trades.category IS 'linear for USDT perpetuals.';
COMMENT ON COLUMN trading.completed_trades.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.completed_trades.side IS 'The side of the CLOSING order: Sell closed a long.';
COMMENT ON COLUMN trading.completed_trades.direction IS 'long or short: what was held. Derived from side.';
COMMENT ON COLUMN trading.completed_trades.exec_type IS 'Trade, BustTrade, SessionSettlePnL, Settle, MovePosition, CorporateAction.';
COMMENT ON COLUMN trading.completed_trades.order_type IS 'Market or Limit.';
COMMENT ON COLUMN trading.completed_trades.order_price IS 'Price of the closing order.';
COMMENT ON COLUMN trading.completed_trades.qty IS 'Quantity of the closing order.';
COMMENT ON COLUMN trading.completed_trades.entry_value IS 'Bybit''s cumEntryValue.';
COMMENT ON COLUMN trading.completed_trades.entry_price IS 'Bybit''s avgEntryPrice, cost based.';
COMMENT ON COLUMN trading.completed_trades.exit_price IS 'Bybit''s avgExitPrice.';
COMMENT ON COLUMN trading.completed_trades.fill_count IS 'Fills of the closing order.';
COMMENT ON COLUMN trading.completed_trades.leverage IS 'Leverage of the position.';
COMMENT ON COLUMN trading.completed_trades.gross IS '(exit value - entry value) for a long, the opposite for a short.';
COMMENT ON COLUMN trading.completed_trades.open_fee IS 'Fee of the opening, for the closed part.';
COMMENT ON COLUMN trading.completed_trades.close_fee IS 'Fee of the closing.';
COMMENT ON COLUMN trading.completed_trades.funding IS 'Funding while held, for the closed part: closed_pnl - gross + open_fee + close_fee. Positive is received.';
COMMENT ON COLUMN trading.completed_trades.closed_pnl IS 'Bybit''s closedPnl: gross - open_fee - close_fee + funding.';
COMMENT ON COLUMN trading.completed_trades.created_at IS 'Bybit''s createdTime: when the closing order was made (a stop made at entry has the entry''s time).';
COMMENT ON COLUMN trading.completed_trades.entry_time IS 'When the position was opened, from our fills; null when they do not reach back.';
COMMENT ON COLUMN trading.completed_trades.exit_reason IS 'Why it was closed, from our fills; null when they do not reach back.';
COMMENT ON COLUMN trading.completed_trades.order_link_id IS 'Our id of the closing order, from our fills.';
COMMENT ON COLUMN trading.completed_trades.first_seen_at IS 'When it was first read, wall clock.';
COMMENT ON COLUMN trading.completed_trades.last_seen_at IS 'When it was last confirmed, wall clock.';
CREATE INDEX completed_trades_by_bot ON trading.completed_trades (bot_id, updated_at);
COMMENT ON INDEX trading.completed_trades_by_bot IS 'A bot''s closed trades by time.';
CREATE INDEX completed_trades_by_order_time ON trading.completed_trades (account_id, created_at);
COMMENT ON INDEX trading.completed_trades_by_order_time IS 'Closed trades by the creation of their order, as Bybit''s windows go: the sync reads a window beside it.';

CREATE TABLE trading.sync_coverage (
    account_id smallint NOT NULL REFERENCES trading.accounts,
    kind       text COLLATE "C" NOT NULL CHECK (kind IN ('closed_pnl', 'executions', 'transactions')),
    from_time  timestamptz NOT NULL,
    to_time    timestamptz NOT NULL,
    read_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, kind, from_time),
    CHECK (from_time < to_time)
);
COMMENT ON TABLE trading.sync_coverage IS 'Which ranges of Bybit''s history were read to their end. Ranges of one account and kind never overlap; neighbours are merged.';
COMMENT ON COLUMN trading.sync_coverage.account_id IS 'The account.';
COMMENT ON COLUMN trading.sync_coverage.kind IS 'closed_pnl, executions or transactions.';
COMMENT ON COLUMN trading.sync_coverage.from_time IS 'Start of the range, included; the exchange''s clock.';
COMMENT ON COLUMN trading.sync_coverage.to_time IS 'End of the range, excluded.';
COMMENT ON COLUMN trading.sync_coverage.read_at IS 'When it was last read, wall clock.';

CREATE TABLE trading.sync_runs (
    run_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id  smallint NOT NULL REFERENCES trading.accounts,
    kind        text COLLATE "C" NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    rows_read   integer NOT NULL DEFAULT 0,
    rows_new    integer NOT NULL DEFAULT 0,
    outcome     text COLLATE "C" CHECK (outcome IN ('done', 'failed', 'interrupted')),
    detail      text
);
COMMENT ON TABLE trading.sync_runs IS 'Every run of the sync service, per account.';
COMMENT ON COLUMN trading.sync_runs.run_id IS 'Number of the run.';
COMMENT ON COLUMN trading.sync_runs.account_id IS 'The account.';
COMMENT ON COLUMN trading.sync_runs.kind IS 'closed_pnl, executions, transactions or reconcile.';
COMMENT ON COLUMN trading.sync_runs.started_at IS 'Wall clock.';
COMMENT ON COLUMN trading.sync_runs.finished_at IS 'Wall clock; null while it runs, or when it was killed.';
COMMENT ON COLUMN trading.sync_runs.rows_read IS 'Rows the exchange sent.';
COMMENT ON COLUMN trading.sync_runs.rows_new IS 'Rows that were new to us.';
COMMENT ON COLUMN trading.sync_runs.outcome IS 'done, failed or interrupted; null while it runs.';
COMMENT ON COLUMN trading.sync_runs.detail IS 'One sentence about a fault.';
CREATE INDEX sync_runs_by_account ON trading.sync_runs (account_id, started_at);
COMMENT ON INDEX trading.sync_runs_by_account IS 'The last run of an account.';

CREATE TABLE trading.transfers (
    account_id     smallint NOT NULL REFERENCES trading.accounts,
    log_id         text COLLATE "C" NOT NULL,
    trade_id       text COLLATE "C" NOT NULL DEFAULT '',
    type           text COLLATE "C" NOT NULL,
    currency       text COLLATE "C" NOT NULL,
    amount         numeric NOT NULL,
    balance_after  numeric,
    transferred_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, log_id, trade_id, type)
);
COMMENT ON TABLE trading.transfers IS 'Money that moved in or out of an account without a trade, from Bybit''s transaction log.';
COMMENT ON COLUMN trading.transfers.account_id IS 'The account.';
COMMENT ON COLUMN trading.transfers.log_id IS 'Bybit''s id of the log row; not unique by itself.';
COMMENT ON COLUMN trading.transfers.trade_id IS 'Bybit''s tradeId of the log row; empty when none.';
COMMENT ON COLUMN trading.transfers.type IS 'TRANSFER_IN, TRANSFER_OUT, INTEREST, BONUS, FEE_REFUND, AIRDROP ...';
COMMENT ON COLUMN trading.transfers.currency IS 'Currency of the amount.';
COMMENT ON COLUMN trading.transfers.amount IS 'Change of the balance: positive came in.';
COMMENT ON COLUMN trading.transfers.balance_after IS 'Balance after it, as Bybit says.';
COMMENT ON COLUMN trading.transfers.transferred_at IS 'When, the exchange''s clock.';
CREATE INDEX transfers_by_time ON trading.transfers (account_id, transferred_at);
COMMENT ON INDEX trading.transfers_by_time IS 'An account''s transfers by time: reconciliation, returns, exports.';

CREATE TABLE trading.reconciliation_issues (
    issue_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id    smallint NOT NULL REFERENCES trading.accounts,
    bot_id        text COLLATE "C" NOT NULL,
    kind          text COLLATE "C" NOT NULL,
    subject       text COLLATE "C" NOT NULL,
    symbol        text COLLATE "C",
    ours          jsonb,
    theirs        jsonb,
    explanation   text,
    state         text COLLATE "C" NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'explained', 'resolved')),
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now(),
    resolved_at   timestamptz,
    UNIQUE (account_id, kind, subject)
);
COMMENT ON TABLE trading.reconciliation_issues IS 'Every difference between our books and the exchange''s, once.';
COMMENT ON COLUMN trading.reconciliation_issues.issue_id IS 'Number of the issue.';
COMMENT ON COLUMN trading.reconciliation_issues.account_id IS 'The account.';
COMMENT ON COLUMN trading.reconciliation_issues.bot_id IS 'The bot of that account.';
COMMENT ON COLUMN trading.reconciliation_issues.kind IS 'What was compared, for example missing_fill, closed_pnl, wallet, position.';
COMMENT ON COLUMN trading.reconciliation_issues.subject IS 'What exactly differs (an id, a range); unique within account and kind.';
COMMENT ON COLUMN trading.reconciliation_issues.symbol IS 'The instrument, where there is one.';
COMMENT ON COLUMN trading.reconciliation_issues.ours IS 'What our books say; null when they have nothing.';
COMMENT ON COLUMN trading.reconciliation_issues.theirs IS 'What the exchange says; null when it has nothing.';
COMMENT ON COLUMN trading.reconciliation_issues.explanation IS 'Why, where it is known.';
COMMENT ON COLUMN trading.reconciliation_issues.state IS 'open, explained or resolved.';
COMMENT ON COLUMN trading.reconciliation_issues.first_seen_at IS 'Wall clock.';
COMMENT ON COLUMN trading.reconciliation_issues.last_seen_at IS 'Wall clock.';
COMMENT ON COLUMN trading.reconciliation_issues.resolved_at IS 'Wall clock; null while open or explained.';

GRANT INSERT, UPDATE ON trading.completed_trades, trading.sync_runs, trading.transfers, trading.reconciliation_issues TO alpha_sync;
GRANT INSERT, UPDATE, DELETE ON trading.sync_coverage TO alpha_sync;
