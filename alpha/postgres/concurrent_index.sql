-- name: is_partitioned
-- Whether the table has partitions.
SELECT relkind = 'p' FROM pg_class WHERE oid = $1::text::regclass;

-- name: partitions
-- The partitions of a table that hold rows.
SELECT c.relname AS name FROM pg_partition_tree($1::text::regclass) t
JOIN pg_class c ON c.oid = t.relid WHERE t.isleaf ORDER BY 1;

-- name: is_invalid
-- Whether an interrupted run has left this index invalid.
SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1);
