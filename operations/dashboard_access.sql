-- name: invite
-- Keep a link to the dashboard by its digest.
INSERT INTO audit.dashboard_links (digest, person, name, role, expires_at)
VALUES ($1, $2, $3, $4, now() + $5::interval);

-- name: open_session
-- Use a link once; the person whose session it opens.
SELECT person FROM audit.open_dashboard_session($1, $2, $3, $4, $5, $6);

-- name: session
-- The session of this digest, if it is open.
SELECT * FROM audit.dashboard_sessions WHERE digest = $1 AND ended_at IS NULL AND expires_at > now();

-- name: touch
-- A session was used; noted once a minute.
UPDATE audit.dashboard_sessions SET seen_at = now()
WHERE session_id = $1 AND seen_at < now() - interval '1 minute';

-- name: sessions
-- Open sessions of a person, or of everybody, newest first.
SELECT * FROM audit.dashboard_sessions
WHERE ended_at IS NULL AND expires_at > now() AND ($1::bigint IS NULL OR person = $1)
ORDER BY created_at DESC LIMIT 200;

-- name: end
-- End sessions of a person or the one of this number; neither ends none.
UPDATE audit.dashboard_sessions SET ended_at = now(), ended_by = $1
WHERE ended_at IS NULL AND ($2::bigint IS NULL OR person = $2) AND ($3::text IS NULL OR session_id = $3)
    AND ($2::bigint IS NOT NULL OR $3::text IS NOT NULL)
RETURNING session_id;

-- name: tell_new
-- Sessions opened within the last hour that nobody was told of, which this notes as told.
UPDATE audit.dashboard_sessions SET told_at = now()
WHERE told_at IS NULL AND created_at > now() - interval '1 hour' RETURNING *;
