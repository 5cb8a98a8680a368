SELECT s.application_name,
       s.pid,
       s.usesysid,
       s.usename,
       s.client_addr::text AS client_addr,
       s.client_hostname,
       s.client_port,
       s.backend_start,
       pg_catalog.age(s.backend_xmin) AS backend_xmin_age,
       s.state,
       s.sent_lsn,
       s.write_lsn,
       s.flush_lsn,
       s.replay_lsn,
       EXTRACT(EPOCH FROM s.write_lag)::float8 AS write_lag,
       EXTRACT(EPOCH FROM s.flush_lag)::float8 AS flush_lag,
       EXTRACT(EPOCH FROM s.replay_lag)::float8 AS replay_lag,
       s.sync_priority,
       s.sync_state,
       s.reply_time,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - s.reply_time)::float8 AS reply_age,
       CASE WHEN pg_catalog.pg_is_in_recovery()
            THEN COALESCE(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())
            ELSE pg_catalog.pg_current_wal_lsn()
       END AS current_lsn,
       r.slot_name::text AS slot_name
  FROM pg_catalog.pg_stat_replication AS s
  LEFT JOIN pg_catalog.pg_replication_slots AS r ON r.active_pid = s.pid
 ORDER BY s.application_name, s.pid
 LIMIT 1000
