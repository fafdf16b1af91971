SELECT 'USAGE on schema aplomb' FROM pg_namespace
WHERE nspname = 'aplomb' AND NOT has_schema_privilege(oid, 'USAGE')
UNION ALL
SELECT privilege || ' on aplomb.' || relname
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace,
    unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
WHERE nspname = 'aplomb'
    AND (
        relname = 'record'
        OR (relname = 'secret' AND privilege IN ('SELECT', 'INSERT'))
        OR (relname = 'migration' AND privilege = 'SELECT')
    )
    AND NOT has_table_privilege(pg_class.oid, privilege)
