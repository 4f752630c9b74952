-- name: role_exists
-- Whether there is a role of this name.
SELECT count(*) FROM pg_roles WHERE rolname = $1;
