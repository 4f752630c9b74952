-- name: issue
-- Keep a new token by its digest.
INSERT INTO audit.api_tokens (token_id, client, digest, scopes, created_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6);

-- name: tokens
-- Every token, newest first.
SELECT token_id, client, scopes, created_at, created_by, expires_at, revoked_at
FROM audit.api_tokens ORDER BY created_at DESC;

-- name: revoke
-- Revoke a token; gives a row if it was in force.
UPDATE audit.api_tokens SET revoked_at = now(), revoked_by = $2
WHERE token_id = $1 AND revoked_at IS NULL RETURNING client;

-- name: by_id
-- The token of this number, unless it was revoked.
SELECT client, digest, scopes, expires_at FROM audit.api_tokens WHERE token_id = $1 AND revoked_at IS NULL;
