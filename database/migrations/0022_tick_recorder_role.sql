-- The tick recorder keeps what it could not read, and touches nothing else of the record.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'alpha_ticks') THEN
        BEGIN
            CREATE ROLE alpha_ticks LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- another database of this cluster was migrated at the same moment
        END;
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO alpha_ticks', current_database());
END $$;

GRANT USAGE ON SCHEMA audit TO alpha_ticks;
GRANT INSERT, SELECT ON audit.rejected_messages TO alpha_ticks;
