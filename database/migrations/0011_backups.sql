-- What the backup service did, and which migration the database stands at.

CREATE TABLE audit.backups (
    backup_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text COLLATE "C" NOT NULL CHECK (kind IN ('backup', 'rehearsal')),
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT now(),
    ok          boolean NOT NULL,
    file        text,
    bytes       bigint,
    detail      text NOT NULL
);
COMMENT ON TABLE audit.backups IS 'Every backup and every rehearsal of a restore, and how it ended.';
COMMENT ON COLUMN audit.backups.backup_id IS 'Number of the row.';
COMMENT ON COLUMN audit.backups.kind IS 'backup, or rehearsal: a restore into a scratch database, compared.';
COMMENT ON COLUMN audit.backups.started_at IS 'Wall clock.';
COMMENT ON COLUMN audit.backups.finished_at IS 'Wall clock.';
COMMENT ON COLUMN audit.backups.ok IS 'True when it is good.';
COMMENT ON COLUMN audit.backups.file IS 'The file, below the folder of backups.';
COMMENT ON COLUMN audit.backups.bytes IS 'Its size.';
COMMENT ON COLUMN audit.backups.detail IS 'What was done, or what went wrong.';
GRANT SELECT ON audit.backups TO alpha_c2, alpha_readonly;

CREATE FUNCTION trading.schema_version() RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT max(number) FROM public.schema_migrations
$$;
COMMENT ON FUNCTION trading.schema_version() IS 'Number of the last migration that was applied.';
GRANT EXECUTE ON FUNCTION trading.schema_version()
    TO alpha_readonly, alpha_listener, alpha_sync, alpha_guard, alpha_c2, alpha_strategy;
