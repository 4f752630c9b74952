-- name: lock
-- One conversion or archiving at a time; false while another one runs.
SELECT pg_try_advisory_lock($1);

-- name: is_partitioned
-- Whether the table of fills has partitions.
SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass('trading.fills');

-- name: count_partitions
-- How many partitions hold fills.
SELECT count(*) FROM pg_partition_tree('trading.fills') WHERE isleaf AND level > 0;

-- name: columns
-- The table's columns, quoted, in their order.
SELECT array_agg(quote_ident(attname) ORDER BY attnum) FROM pg_attribute
WHERE attrelid = 'trading.fills'::regclass AND attnum > 0 AND NOT attisdropped;

-- name: indexes
-- Name, definition and comment of each index but the key's.
SELECT c.relname AS name, pg_get_indexdef(i.indexrelid) AS made, obj_description(i.indexrelid, 'pg_class') AS said
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = 'trading.fills'::regclass AND NOT i.indisprimary AND i.indisvalid ORDER BY 1;

-- name: grants
-- The statements that give the copy ($1) what roles may do with the table.
SELECT format('GRANT %s ON trading.%s TO %s', string_agg(DISTINCT a.privilege_type, ', '), $1::text, a.grantee::regrole) AS made
FROM pg_class c, aclexplode(c.relacl) a
WHERE c.oid = 'trading.fills'::regclass AND a.grantee <> 0 AND a.grantee <> c.relowner GROUP BY a.grantee
UNION ALL
SELECT format('GRANT %s (%s) ON trading.%s TO %s', a.privilege_type, string_agg(quote_ident(t.attname), ', '), $1::text, a.grantee::regrole)
FROM pg_attribute t, aclexplode(t.attacl) a
WHERE t.attrelid = 'trading.fills'::regclass AND t.attnum > 0 AND NOT t.attisdropped AND a.grantee <> 0
GROUP BY a.privilege_type, a.grantee;

-- name: references
-- Tables that a foreign key joins with the table; null for none.
SELECT string_agg(conrelid::regclass::text, ', ') FROM pg_constraint
WHERE contype = 'f' AND (confrelid = 'trading.fills'::regclass OR conrelid = 'trading.fills'::regclass);

-- name: triggers
-- Name and definition of the table's triggers, but for those of the mirror.
SELECT tgname AS name, pg_get_triggerdef(oid) AS made FROM pg_trigger
WHERE tgrelid = 'trading.fills'::regclass AND NOT tgisinternal AND tgname NOT LIKE 'mirror\_%' ORDER BY tgname;

-- name: views
-- Views that read the table: they keep pointing at it whatever it is called.
SELECT DISTINCT r.ev_class::regclass::text AS name, pg_get_viewdef(r.ev_class) AS made
FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = 'trading.fills'::regclass AND r.ev_class <> d.refobjid ORDER BY 1;

-- name: comment
-- The table's comment.
SELECT obj_description('trading.fills'::regclass, 'pg_class');
