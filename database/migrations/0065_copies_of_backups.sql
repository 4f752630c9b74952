-- The operator's program that copies a backup elsewhere (BACKUP_HOOK) is a job as the others: how it ended was refused.
ALTER TABLE audit.backups DROP CONSTRAINT backups_kind_check,
    ADD CONSTRAINT backups_kind_check CHECK (kind IN ('backup', 'rehearsal', 'copy'));
COMMENT ON TABLE audit.backups IS 'Every backup, every rehearsal of a restore and every copy by BACKUP_HOOK, and how it ended.';
COMMENT ON COLUMN audit.backups.kind IS 'backup; rehearsal: a restore into a scratch database, compared; copy: BACKUP_HOOK has copied it elsewhere.';
