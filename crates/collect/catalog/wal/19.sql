SELECT s.wal_records,
       s.wal_fpi,
       s.wal_bytes::float8 AS wal_bytes,
       s.wal_fpi_bytes::float8 AS wal_fpi_bytes,
       s.wal_buffers_full,
       CASE WHEN pg_catalog.pg_is_in_recovery()
            THEN COALESCE(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())
            ELSE pg_catalog.pg_current_wal_lsn()
       END AS current_lsn,
       s.stats_reset
  FROM pg_catalog.pg_stat_wal AS s
