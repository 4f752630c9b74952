-- name: databases
-- The databases of the cluster.
SELECT datname FROM pg_database;
