SELECT
    current_setting('server_version_num')::int AS version,
    current_user::text AS role,
    current_database()::text AS database,
    pg_is_in_recovery() AS is_replica,
    current_setting('default_transaction_read_only') = 'on' AS is_read_only,
    EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'aplomb') AS has_schema,
    has_database_privilege(current_database(), 'CREATE') AS may_create_schema,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('fsync') AS fsync,
    current_setting('synchronous_standby_names') = ''
        AND EXISTS (SELECT 1 FROM pg_stat_replication) AS has_asynchronous_replica
