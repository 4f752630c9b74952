-- name: database_exists
-- Whether there is a database of this name.
SELECT count(*) FROM pg_database WHERE datname = $1;

-- name: role_exists
-- Whether there is a role of this name.
SELECT count(*) FROM pg_roles WHERE rolname = $1;

-- name: disconnect
-- End every connection to a database.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1;

-- name: connections
-- How many connections a database has.
SELECT count(*) FROM pg_stat_activity WHERE datname = $1;
