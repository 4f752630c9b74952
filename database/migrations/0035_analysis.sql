-- Indicators and ratings of closed candles, written by analysis_service, in monthly partitions.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'alpha_analysis') THEN
        BEGIN
            CREATE ROLE alpha_analysis LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- another database of this cluster was migrated at the same moment
        END;
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO alpha_analysis', current_database());
END $$;

CREATE TABLE trading.analysis_schemas (
    schema_hash text COLLATE "C" PRIMARY KEY,
    names       text[] NOT NULL,
    definition  jsonb NOT NULL,
    first_used  timestamptz NOT NULL
);
COMMENT ON TABLE trading.analysis_schemas IS 'What the values of trading.analysis are. One row per set of indicators and parameters that was ever used.';
COMMENT ON COLUMN trading.analysis_schemas.schema_hash IS 'SHA-256 over indicators, parameters and the version of the votes, 16 hexadecimal digits.';
COMMENT ON COLUMN trading.analysis_schemas.names IS 'The names of the values, in their order.';
COMMENT ON COLUMN trading.analysis_schemas.definition IS 'Indicators and parameters.';
COMMENT ON COLUMN trading.analysis_schemas.first_used IS 'End of the first candle computed with it.';

CREATE TABLE trading.analysis (
    symbol      text COLLATE "C" NOT NULL,
    "interval"  text COLLATE "C" NOT NULL,
    closed_at   timestamptz NOT NULL,
    schema_hash text COLLATE "C" NOT NULL,
    close       double precision NOT NULL,
    rating      double precision,
    averages    double precision,
    oscillators double precision,
    "values"    double precision[] NOT NULL,
    PRIMARY KEY (symbol, "interval", closed_at, schema_hash)
) PARTITION BY RANGE (closed_at);
COMMENT ON TABLE trading.analysis IS 'One row per closed candle, symbol, interval and schema. Partitions by month; those past the retention are dropped.';
COMMENT ON COLUMN trading.analysis.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.analysis."interval" IS 'The candle''s interval as Bybit names it: 5, 60, D, W.';
COMMENT ON COLUMN trading.analysis.closed_at IS 'End of the candle, business time.';
COMMENT ON COLUMN trading.analysis.schema_hash IS 'What the values are: trading.analysis_schemas.';
COMMENT ON COLUMN trading.analysis.close IS 'The candle''s closing price in USDT.';
COMMENT ON COLUMN trading.analysis.rating IS 'Mean of averages and oscillators, -1 (all sell) to 1 (all buy); null without any vote.';
COMMENT ON COLUMN trading.analysis.averages IS '(buys - sells) / votes of the indicators that follow the price; null without any vote.';
COMMENT ON COLUMN trading.analysis.oscillators IS '(buys - sells) / votes of the oscillators; null without any vote.';
COMMENT ON COLUMN trading.analysis."values" IS 'The values, in the order of trading.analysis_schemas.names; null where history was missing. Binary floats, to the bit.';

CREATE VIEW trading.analysis_values AS
SELECT a.symbol, a."interval", a.closed_at, a.schema_hash, a.close, a.rating, n.name, n.value
FROM trading.analysis AS a
JOIN trading.analysis_schemas AS s USING (schema_hash)
CROSS JOIN LATERAL unnest(s.names, a."values") AS n(name, value);
COMMENT ON VIEW trading.analysis_values IS 'trading.analysis with one row per value, by name.';
COMMENT ON COLUMN trading.analysis_values.symbol IS 'The instrument.';
COMMENT ON COLUMN trading.analysis_values."interval" IS 'The candle''s interval.';
COMMENT ON COLUMN trading.analysis_values.closed_at IS 'End of the candle, business time.';
COMMENT ON COLUMN trading.analysis_values.schema_hash IS 'What the values are.';
COMMENT ON COLUMN trading.analysis_values.close IS 'The candle''s closing price in USDT.';
COMMENT ON COLUMN trading.analysis_values.rating IS '-1 (all sell) to 1 (all buy).';
COMMENT ON COLUMN trading.analysis_values.name IS 'The value''s name, such as ema_20.';
COMMENT ON COLUMN trading.analysis_values.value IS 'The value; null where history was missing.';

-- Partitions belong to the owner; the service asks for them.
CREATE FUNCTION trading.prepare_analysis(p_first timestamptz, p_last timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, trading, pg_temp AS $$
DECLARE
    month timestamptz := date_trunc('month', p_first, 'UTC');
    made  integer := 0;
    name  text;
BEGIN
    IF p_last - p_first > interval '20 years' THEN
        RAISE EXCEPTION 'analysis from % to % spans more than 20 years', p_first, p_last;
    END IF;
    WHILE month <= p_last LOOP
        name := 'analysis_' || to_char(month AT TIME ZONE 'UTC', 'YYYY_MM');
        IF to_regclass('trading.' || name) IS NULL THEN
            PERFORM pg_advisory_xact_lock(4157250035);
            IF to_regclass('trading.' || name) IS NULL THEN
                EXECUTE format('CREATE TABLE trading.%I PARTITION OF trading.analysis FOR VALUES FROM (%L) TO (%L)',
                    name, month, date_trunc('month', month + interval '32 days', 'UTC'));
                made := made + 1;
            END IF;
        END IF;
        month := date_trunc('month', month + interval '32 days', 'UTC');
    END LOOP;
    RETURN made;
END $$;
COMMENT ON FUNCTION trading.prepare_analysis IS 'Makes the monthly partitions of trading.analysis for these times; returns how many were new.';

CREATE FUNCTION trading.prune_analysis(p_before timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, trading, pg_temp AS $$
DECLARE
    part    record;
    dropped integer := 0;
BEGIN
    FOR part IN
        SELECT c.relname, to_date(right(c.relname, 7), 'YYYY_MM') AS month
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'trading.analysis'::regclass AND c.relname ~ '^analysis_\d{4}_\d{2}$'
    LOOP
        IF (part.month + interval '1 month') AT TIME ZONE 'UTC' <= p_before THEN
            EXECUTE format('DROP TABLE trading.%I', part.relname);
            dropped := dropped + 1;
        END IF;
    END LOOP;
    RETURN dropped;
END $$;
COMMENT ON FUNCTION trading.prune_analysis IS 'Drops the partitions of trading.analysis that end at or before this time; returns how many.';

REVOKE ALL ON FUNCTION trading.prepare_analysis, trading.prune_analysis FROM PUBLIC;
GRANT EXECUTE ON FUNCTION trading.prepare_analysis, trading.prune_analysis TO alpha_analysis;
GRANT USAGE ON SCHEMA trading, audit TO alpha_analysis;
GRANT SELECT, INSERT ON trading.analysis, trading.analysis_schemas TO alpha_analysis;
GRANT INSERT, SELECT ON audit.rejected_messages TO alpha_analysis;
GRANT SELECT ON trading.analysis, trading.analysis_schemas, trading.analysis_values
    TO alpha_readonly, alpha_c2, alpha_guard, alpha_strategy;
