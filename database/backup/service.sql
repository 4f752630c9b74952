-- name: record
-- Record what a backup did.
INSERT INTO audit.backups (kind, started_at, ok, file, bytes, detail) VALUES ($1, $2, $3, $4, $5, $6);
