-- name: columns
-- Every table of ours with its columns that can be summed, quoted.
SELECT format('%I.%I', n.nspname, c.relname) AS name,
    array_agg(quote_ident(a.attname) ORDER BY a.attnum)
        FILTER (WHERE a.atttypid IN ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype, 'smallint'::regtype)) AS columns
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname IN ('trading', 'audit', 'public')
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r'
GROUP BY 1
ORDER BY 1;
