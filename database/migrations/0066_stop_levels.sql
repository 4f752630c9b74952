-- Stops as they moved: trading.orders keeps the last state of a stop order alone, so each level it waited at is kept beside it.

CREATE TABLE trading.stop_levels (
    account_id    smallint NOT NULL,
    order_id      text COLLATE "C" NOT NULL,
    since         timestamptz NOT NULL,
    trigger_price numeric NOT NULL,
    reason        text COLLATE "C" NOT NULL,
    PRIMARY KEY (account_id, order_id, since),
    FOREIGN KEY (account_id, order_id) REFERENCES trading.orders ON DELETE CASCADE
);
COMMENT ON TABLE trading.stop_levels IS 'Each level at which a stop, target or conditional order waited; written by a trigger of trading.orders, and removed with its order.';
COMMENT ON COLUMN trading.stop_levels.account_id IS 'The account.';
COMMENT ON COLUMN trading.stop_levels.order_id IS 'The order, as in trading.orders.';
COMMENT ON COLUMN trading.stop_levels.since IS 'When the exchange moved it there.';
COMMENT ON COLUMN trading.stop_levels.trigger_price IS 'The trigger from then on; activation price of a trailing stop.';
COMMENT ON COLUMN trading.stop_levels.reason IS 'What it meant from then on, as in trading.fills: stop_loss, break_even, trailing_stop, take_profit ...';

CREATE FUNCTION trading.keep_stop_level() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO trading.stop_levels (account_id, order_id, since, trigger_price, reason)
    VALUES (NEW.account_id, NEW.order_id, NEW.updated_at, NEW.trigger_price, NEW.reason)
    ON CONFLICT (account_id, order_id, since) DO UPDATE SET trigger_price = excluded.trigger_price, reason = excluded.reason;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION trading.keep_stop_level() IS 'Keeps a level of trading.orders in trading.stop_levels.';

CREATE TRIGGER keep_first_stop_level AFTER INSERT ON trading.orders
FOR EACH ROW WHEN (NEW.trigger_price > 0) EXECUTE FUNCTION trading.keep_stop_level();
CREATE TRIGGER keep_moved_stop_level AFTER UPDATE ON trading.orders
FOR EACH ROW WHEN (NEW.trigger_price > 0 AND (NEW.trigger_price IS DISTINCT FROM OLD.trigger_price)) EXECUTE FUNCTION trading.keep_stop_level();
