SELECT pg_catalog.current_setting('server_version_num')::int AS server_version_num,
       pg_catalog.current_setting('server_version') AS server_version,
       pg_catalog.current_setting('cluster_name') AS cluster_name,
       pg_catalog.pg_is_in_recovery() AS in_recovery,
       c.timeline_id,
       i.system_identifier,
       pg_catalog.pg_postmaster_start_time() AS postmaster_start_time,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - pg_catalog.pg_postmaster_start_time())::float8 AS uptime_seconds,
       pg_catalog.pg_conf_load_time() AS configuration_load_time,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - pg_catalog.pg_conf_load_time())::float8 AS configuration_age_seconds,
       pg_catalog.clock_timestamp() AS server_clock,
       a.pid AS checkpointer_pid,
       a.backend_start AS checkpointer_start,
       EXTRACT(EPOCH FROM a.backend_start - pg_catalog.pg_postmaster_start_time())::float8 AS checkpointer_start_delay_seconds,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - a.backend_start)::float8 AS checkpointer_age_seconds,
       pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::bigint AS next_transaction_id,
       c.next_multixact_id::text::bigint AS next_multixact_id,
       pg_catalog.current_setting('autovacuum_freeze_max_age')::bigint AS autovacuum_freeze_max_age,
       pg_catalog.current_setting('autovacuum_multixact_freeze_max_age')::bigint AS autovacuum_multixact_freeze_max_age,
       pg_catalog.current_setting('vacuum_failsafe_age')::bigint AS vacuum_failsafe_age,
       pg_catalog.current_setting('vacuum_multixact_failsafe_age')::bigint AS vacuum_multixact_failsafe_age
  FROM pg_catalog.pg_control_checkpoint() AS c
 CROSS JOIN pg_catalog.pg_control_system() AS i
  LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.backend_type = 'checkpointer'
 LIMIT 1
