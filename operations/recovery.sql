-- name: archiver
-- Whether the write-ahead log is archived, how old the newest archived part is, and whether archiving fails now.
SELECT current_setting('archive_mode') <> 'off' AS archives,
    extract(epoch FROM clock_timestamp() - last_archived_time)::float8 AS age_s,
    coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) AS failing
FROM pg_stat_archiver;

-- name: last_backup
-- When the newest good backup began.
SELECT max(started_at) FROM audit.backups WHERE ok AND kind = 'backup';
