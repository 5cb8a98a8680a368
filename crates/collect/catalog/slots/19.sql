SELECT s.slot_name,
       s.plugin,
       s.slot_type,
       s.datoid,
       s.database,
       s.temporary,
       s.active,
       s.active_pid,
       pg_catalog.age(s.xmin) AS xmin_age,
       pg_catalog.age(s.catalog_xmin) AS catalog_xmin_age,
       s.restart_lsn,
       s.confirmed_flush_lsn,
       s.wal_status,
       s.safe_wal_size,
       s.two_phase,
       s.two_phase_at,
       s.conflicting,
       s.inactive_since,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - s.inactive_since)::float8 AS inactive_age,
       s.invalidation_reason,
       s.failover,
       s.synced,
       s.slotsync_skip_reason,
       CASE WHEN pg_catalog.pg_is_in_recovery()
            THEN COALESCE(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())
            ELSE pg_catalog.pg_current_wal_lsn()
       END AS current_lsn
  FROM pg_catalog.pg_replication_slots AS s
 ORDER BY s.slot_name
 LIMIT 1000
