-- Steering from the dashboard: its own role, one-time links from the bot, sessions. A session can only come from a link.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'alpha_dashboard') THEN
        BEGIN
            CREATE ROLE alpha_dashboard LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- another database of this cluster was migrated at the same moment
        END;
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO alpha_dashboard', current_database());
END $$;

CREATE TABLE audit.dashboard_links (
    digest     bytea PRIMARY KEY CHECK (length(digest) = 32),
    person     bigint NOT NULL,
    name       text NOT NULL,
    role       text COLLATE "C" NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
COMMENT ON TABLE audit.dashboard_links IS 'Links by which a person of the command centre logs in to the dashboard. Each opens one session, once.';
COMMENT ON COLUMN audit.dashboard_links.digest IS 'SHA-256 of the code in the link, which has 256 random bits.';
COMMENT ON COLUMN audit.dashboard_links.person IS 'Telegram id.';
COMMENT ON COLUMN audit.dashboard_links.name IS 'The name shown in Telegram, from outside.';
COMMENT ON COLUMN audit.dashboard_links.role IS 'The role in the command centre when the link was made.';
COMMENT ON COLUMN audit.dashboard_links.created_at IS 'Wall clock.';
COMMENT ON COLUMN audit.dashboard_links.expires_at IS 'Wall clock; refused afterwards.';
COMMENT ON COLUMN audit.dashboard_links.used_at IS 'Wall clock; null until it has opened its session.';

CREATE TABLE audit.dashboard_sessions (
    session_id text COLLATE "C" PRIMARY KEY,
    digest     bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
    person     bigint NOT NULL,
    name       text NOT NULL,
    role       text COLLATE "C" NOT NULL,
    address    text NOT NULL CHECK (length(address) <= 100),
    agent      text NOT NULL CHECK (length(agent) <= 200),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    ended_by   text,
    told_at    timestamptz
);
COMMENT ON TABLE audit.dashboard_sessions IS 'Sessions of the dashboard. They end with their time, by the person, an admin, or a change of role.';
COMMENT ON COLUMN audit.dashboard_sessions.session_id IS 'What the session is called in lists; no secret.';
COMMENT ON COLUMN audit.dashboard_sessions.digest IS 'SHA-256 of the cookie, which has 256 random bits.';
COMMENT ON COLUMN audit.dashboard_sessions.person IS 'Telegram id.';
COMMENT ON COLUMN audit.dashboard_sessions.name IS 'The name shown in Telegram, from outside.';
COMMENT ON COLUMN audit.dashboard_sessions.role IS 'viewer, operator or admin.';
COMMENT ON COLUMN audit.dashboard_sessions.address IS 'Where it was opened from.';
COMMENT ON COLUMN audit.dashboard_sessions.agent IS 'The browser, as it calls itself.';
COMMENT ON COLUMN audit.dashboard_sessions.created_at IS 'Wall clock.';
COMMENT ON COLUMN audit.dashboard_sessions.expires_at IS 'Wall clock; refused afterwards.';
COMMENT ON COLUMN audit.dashboard_sessions.seen_at IS 'Wall clock; to the minute.';
COMMENT ON COLUMN audit.dashboard_sessions.ended_at IS 'Wall clock; null while it is valid.';
COMMENT ON COLUMN audit.dashboard_sessions.ended_by IS 'Who or what ended it.';
COMMENT ON COLUMN audit.dashboard_sessions.told_at IS 'When the person was told of it in Telegram; null until then.';
CREATE INDEX dashboard_sessions_by_person ON audit.dashboard_sessions (person, created_at);
COMMENT ON INDEX audit.dashboard_sessions_by_person IS 'The sessions of one person.';

-- The only way to a session: it uses up a link, and takes person and role from it.
CREATE FUNCTION audit.open_dashboard_session(
    link bytea, new_id text, new_digest bytea, from_address text, browser text, lasts interval
) RETURNS TABLE (person bigint, name text, role text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, audit AS $$
    WITH used AS (
        UPDATE audit.dashboard_links AS l SET used_at = now()
        WHERE l.digest = link AND l.used_at IS NULL AND l.expires_at > now()
        RETURNING l.person, l.name, l.role
    )
    INSERT INTO audit.dashboard_sessions (session_id, digest, person, name, role, address, agent, expires_at)
    SELECT new_id, new_digest, used.person, used.name, used.role, from_address, browser,
           now() + least(lasts, interval '30 days')
    FROM used
    RETURNING person, name, role
$$;
COMMENT ON FUNCTION audit.open_dashboard_session IS 'Uses up a link and opens its session; no row if the link is unknown, used or expired.';

-- What `alpha alert ack` leaves for the command centre, without the right to change its other state.
CREATE FUNCTION audit.acknowledge_alerts(by_whom text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, audit AS $$
    INSERT INTO audit.command_centre (name, state) VALUES ('acknowledge', jsonb_build_object('by', by_whom))
    ON CONFLICT (name) DO UPDATE SET state = excluded.state, updated_at = now()
$$;
COMMENT ON FUNCTION audit.acknowledge_alerts IS 'Asks the command centre to acknowledge every alert that waits for it.';

GRANT USAGE ON SCHEMA trading, audit TO alpha_dashboard;
-- Pages are read with alpha_readonly; this is what the commands' warnings need.
GRANT SELECT ON trading.bots, trading.halts TO alpha_dashboard;
GRANT UPDATE (wish, wish_by, wish_at) ON trading.bots TO alpha_dashboard;
GRANT SELECT, INSERT ON audit.commands TO alpha_dashboard;
GRANT UPDATE (outcome, answer, finished_at) ON audit.commands TO alpha_dashboard;
GRANT SELECT ON audit.dashboard_sessions TO alpha_dashboard;
GRANT UPDATE (seen_at, ended_at, ended_by) ON audit.dashboard_sessions TO alpha_dashboard;
GRANT EXECUTE ON FUNCTION audit.open_dashboard_session(bytea, text, bytea, text, text, interval), audit.acknowledge_alerts(text)
    TO alpha_dashboard;
GRANT INSERT ON audit.dashboard_links TO alpha_c2;
GRANT SELECT ON audit.dashboard_sessions TO alpha_c2;
GRANT UPDATE (ended_at, ended_by, told_at) ON audit.dashboard_sessions TO alpha_c2;
