-- A snapshot of equity per minute is wanted while it is new. A week later what an hour began and ended with, and its highest and
-- lowest equity, draw the same curve; the rows of trading.daily_equity are made of all snapshots already and stay.

CREATE FUNCTION trading.roll_up_equity(p_account smallint, p_keep interval DEFAULT '7 days', p_back interval DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n record;
    found_rows bigint;
    gone bigint := 0;
BEGIN
    FOR n IN
        -- by the exchange's clock: a simulated account lives in another year
        SELECT s.coin, date_trunc('hour', max(s.taken_at) - p_keep, 'UTC') AS until
        FROM trading.equity_snapshots s WHERE s.account_id = p_account GROUP BY s.coin
    LOOP
        DELETE FROM trading.equity_snapshots d
        USING (
            SELECT s.taken_at,
                row_number() OVER (hours ORDER BY s.taken_at) AS from_first,
                row_number() OVER (hours ORDER BY s.taken_at DESC) AS from_last,
                row_number() OVER (hours ORDER BY s.equity, s.taken_at) AS from_lowest,
                row_number() OVER (hours ORDER BY s.equity DESC, s.taken_at) AS from_highest
            FROM trading.equity_snapshots s
            WHERE s.account_id = p_account AND s.coin = n.coin AND s.taken_at < n.until
                AND (p_back IS NULL OR s.taken_at >= n.until - p_back)
            WINDOW hours AS (PARTITION BY date_trunc('hour', s.taken_at, 'UTC'))
        ) r
        WHERE d.account_id = p_account AND d.coin = n.coin AND d.taken_at = r.taken_at
            AND r.from_first > 1 AND r.from_last > 1 AND r.from_lowest > 1 AND r.from_highest > 1;
        GET DIAGNOSTICS found_rows = ROW_COUNT;
        gone := gone + found_rows;
    END LOOP;
    RETURN gone;
END $$;
COMMENT ON FUNCTION trading.roll_up_equity(smallint, interval, interval) IS
    'Thins an account''s snapshots of equity that are older than p_keep, counted from its newest, to the first, last, lowest and highest of each hour; p_back bounds how far before that it looks, null for all. Returns how many it deleted.';
REVOKE ALL ON FUNCTION trading.roll_up_equity(smallint, interval, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION trading.roll_up_equity(smallint, interval, interval) TO alpha_sync;
