SELECT s.archived_count,
       s.last_archived_wal,
       s.last_archived_time,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - s.last_archived_time)::float8 AS last_archived_age,
       s.failed_count,
       s.last_failed_wal,
       s.last_failed_time,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - s.last_failed_time)::float8 AS last_failed_age,
       s.stats_reset
  FROM pg_catalog.pg_stat_archiver AS s
