-- Two schemas, and one role a service with no more than it needs.
-- Roles belong to the whole cluster, so each is made only where it is missing; passwords are set by the migrate step.

CREATE SCHEMA IF NOT EXISTS trading;
CREATE SCHEMA IF NOT EXISTS audit;
COMMENT ON SCHEMA trading IS 'What the bots did and what they are allowed to do.';
COMMENT ON SCHEMA audit IS 'What people asked for, what the system said, and what it could not read. Append only.';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['alpha_readonly', 'alpha_listener', 'alpha_sync', 'alpha_guard', 'alpha_c2', 'alpha_strategy']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT', name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database of this cluster was migrated at the same moment
            END;
        END IF;
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO alpha_readonly, alpha_listener, alpha_sync, alpha_guard, alpha_c2, alpha_strategy',
                   current_database());
END $$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA trading, audit
    TO alpha_readonly, alpha_listener, alpha_sync, alpha_guard, alpha_c2, alpha_strategy;

-- Everybody reads the history; nobody may run a function that was not given to them.
ALTER DEFAULT PRIVILEGES IN SCHEMA trading
    GRANT SELECT ON TABLES TO alpha_readonly, alpha_listener, alpha_sync, alpha_guard, alpha_c2, alpha_strategy;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
