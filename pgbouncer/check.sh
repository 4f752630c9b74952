#!/bin/sh
# Healthy when PostgreSQL answers through the pooler.
PGPASSFILE=/tmp/pgpass PGCONNECT_TIMEOUT=4 exec psql -h 127.0.0.1 -p 6432 -U alpha_readonly -d "$POSTGRES_DB" -Atqc 'SELECT 1'
