-- One row a day of equity, so that a drawdown over years needs no scan of the snapshots.

CREATE TABLE trading.daily_equity (
    account_id     smallint NOT NULL,
    day            date NOT NULL,
    first_at       timestamptz NOT NULL,
    last_at        timestamptz NOT NULL,
    first          numeric NOT NULL,
    last           numeric NOT NULL,
    high           numeric NOT NULL,
    low            numeric NOT NULL,
    fall           numeric NOT NULL,
    fall_share     numeric NOT NULL,
    PRIMARY KEY (account_id, day)
) WITH (fillfactor = 50);
COMMENT ON TABLE trading.daily_equity IS 'Equity of each account and UTC day, kept by the insert into trading.equity_snapshots.';
COMMENT ON COLUMN trading.daily_equity.account_id IS 'The account.';
COMMENT ON COLUMN trading.daily_equity.day IS 'UTC day of taken_at.';
COMMENT ON COLUMN trading.daily_equity.first_at IS 'taken_at of the first snapshot of the day.';
COMMENT ON COLUMN trading.daily_equity.last_at IS 'taken_at of the last one.';
COMMENT ON COLUMN trading.daily_equity.first IS 'Equity of the first snapshot.';
COMMENT ON COLUMN trading.daily_equity.last IS 'Equity of the last one.';
COMMENT ON COLUMN trading.daily_equity.high IS 'Highest equity of the day.';
COMMENT ON COLUMN trading.daily_equity.low IS 'Lowest equity of the day.';
COMMENT ON COLUMN trading.daily_equity.fall IS 'Largest fall from an earlier high of the same day, in USDT; 0 or more.';
COMMENT ON COLUMN trading.daily_equity.fall_share IS 'The same as a share of that high.';

CREATE FUNCTION trading.keep_equity() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n record;
    d trading.daily_equity;
    p record;
BEGIN
    FOR n IN
        SELECT account_id, (taken_at AT TIME ZONE 'UTC')::date AS day, min(taken_at) AS first_at
        FROM inserted GROUP BY 1, 2 ORDER BY 1, 2
    LOOP
        SELECT * INTO d FROM trading.daily_equity WHERE account_id = n.account_id AND day = n.day FOR UPDATE;
        IF NOT FOUND OR TG_OP = 'UPDATE' OR n.first_at <= d.last_at THEN
            -- a new day, a correction or a late snapshot: the day from nothing
            d := NULL;
            d.last_at := '-infinity';
        END IF;
        FOR p IN
            SELECT taken_at, equity FROM trading.equity_snapshots
            WHERE account_id = n.account_id AND taken_at > d.last_at
                AND taken_at >= n.day::timestamp AT TIME ZONE 'UTC' AND taken_at < (n.day + 1)::timestamp AT TIME ZONE 'UTC'
            ORDER BY taken_at
        LOOP
            IF d.first IS NULL THEN
                d := ROW(n.account_id, n.day, p.taken_at, p.taken_at, p.equity, p.equity, p.equity, p.equity, 0, 0);
            ELSE
                d.last_at := p.taken_at;
                d.last := p.equity;
                IF p.equity > d.high THEN
                    d.high := p.equity;
                ELSIF d.high - p.equity > d.fall OR (d.high > 0 AND d.high - p.equity > d.fall_share * d.high) THEN
                    d.fall := greatest(d.fall, d.high - p.equity);
                    IF d.high > 0 THEN
                        d.fall_share := greatest(d.fall_share, trunc((d.high - p.equity) / d.high, 12));
                    END IF;
                END IF;
                d.low := least(d.low, p.equity);
            END IF;
        END LOOP;
        INSERT INTO trading.daily_equity SELECT d.*
        ON CONFLICT (account_id, day) DO UPDATE SET
            first_at = excluded.first_at, last_at = excluded.last_at, first = excluded.first, last = excluded.last,
            high = excluded.high, low = excluded.low, fall = excluded.fall, fall_share = excluded.fall_share;
    END LOOP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION trading.keep_equity() IS 'Brings trading.daily_equity up to date with the snapshots just written.';
CREATE TRIGGER keep_equity_of_new AFTER INSERT ON trading.equity_snapshots
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION trading.keep_equity();
CREATE TRIGGER keep_equity_of_corrected AFTER UPDATE ON trading.equity_snapshots
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION trading.keep_equity();
