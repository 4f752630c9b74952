-- The read-only API: its role, the tokens of its clients, and commands that an assistant proposes and a person confirms.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'alpha_api') THEN
        BEGIN
            CREATE ROLE alpha_api LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- another database of this cluster was migrated at the same moment
        END;
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO alpha_api', current_database());
END $$;

CREATE TABLE audit.api_tokens (
    token_id   text COLLATE "C" PRIMARY KEY,
    client     text NOT NULL,
    digest     bytea NOT NULL,
    scopes     text[] NOT NULL CHECK (scopes <@ ARRAY['read', 'audit', 'propose'] AND cardinality(scopes) > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_by text
);
COMMENT ON TABLE audit.api_tokens IS 'Tokens of clients of the API. A token is shown once, when it is made; only its digest is kept.';
COMMENT ON COLUMN audit.api_tokens.token_id IS 'The part of a token that names it.';
COMMENT ON COLUMN audit.api_tokens.client IS 'Whose it is.';
COMMENT ON COLUMN audit.api_tokens.digest IS 'SHA-256 of the whole token, which has 256 random bits.';
COMMENT ON COLUMN audit.api_tokens.scopes IS 'read: all queries; audit: who asked for what; propose: propose commands, which a person confirms.';
COMMENT ON COLUMN audit.api_tokens.created_at IS 'Wall clock.';
COMMENT ON COLUMN audit.api_tokens.created_by IS 'Who made it.';
COMMENT ON COLUMN audit.api_tokens.expires_at IS 'Wall clock; refused afterwards.';
COMMENT ON COLUMN audit.api_tokens.revoked_at IS 'Wall clock; null while it is valid.';
COMMENT ON COLUMN audit.api_tokens.revoked_by IS 'Who revoked it.';

CREATE TABLE audit.proposals (
    proposal_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    proposed_at timestamptz NOT NULL DEFAULT now(),
    client      text NOT NULL,
    command     text NOT NULL CHECK (length(command) <= 40),
    words       text NOT NULL CHECK (length(words) <= 100),
    why         text NOT NULL CHECK (length(why) <= 500),
    told_at     timestamptz
);
COMMENT ON TABLE audit.proposals IS 'Commands that a client of the API proposes. Nothing runs before an operator confirms it in Telegram.';
COMMENT ON COLUMN audit.proposals.proposal_id IS 'Number of the proposal.';
COMMENT ON COLUMN audit.proposals.proposed_at IS 'Wall clock.';
COMMENT ON COLUMN audit.proposals.client IS 'Whose token proposed it.';
COMMENT ON COLUMN audit.proposals.command IS 'The command.';
COMMENT ON COLUMN audit.proposals.words IS 'Its arguments.';
COMMENT ON COLUMN audit.proposals.why IS 'The reason given, from outside.';
COMMENT ON COLUMN audit.proposals.told_at IS 'When the operators were told; null until then.';

GRANT USAGE ON SCHEMA trading, audit TO alpha_api;
GRANT SELECT ON ALL TABLES IN SCHEMA trading TO alpha_api;
ALTER DEFAULT PRIVILEGES IN SCHEMA trading GRANT SELECT ON TABLES TO alpha_api;
GRANT EXECUTE ON FUNCTION
    trading.account_days(smallint, date, date), trading.daily_performance(text, date, date), trading.exit_reasons(text, date, date),
    trading.symbol_results(text, date, date), trading.bot_performance(text, date, date),
    trading.exec_pnl_check(text, timestamptz, timestamptz), trading.schema_version(), trading.settle_coin(text),
    trading.fill_rank(numeric, numeric), trading.other_fees(text, date, date)
    TO alpha_api;
GRANT SELECT ON audit.alerts, audit.backups, audit.commands, audit.api_tokens TO alpha_api;
GRANT INSERT (client, command, words, why) ON audit.proposals TO alpha_api;
GRANT SELECT, INSERT ON audit.api_tokens TO alpha_c2;
GRANT UPDATE (revoked_at, revoked_by) ON audit.api_tokens TO alpha_c2;
GRANT SELECT ON audit.proposals TO alpha_c2;
GRANT UPDATE (told_at) ON audit.proposals TO alpha_c2;
