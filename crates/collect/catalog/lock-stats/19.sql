SELECT s.locktype,
       s.waits,
       s.wait_time::float8 AS wait_time,
       s.fastpath_exceeded,
       s.stats_reset
  FROM pg_catalog.pg_stat_lock AS s
