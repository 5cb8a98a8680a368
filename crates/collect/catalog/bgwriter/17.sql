SELECT s.buffers_clean,
       s.maxwritten_clean,
       s.buffers_alloc,
       s.stats_reset
  FROM pg_catalog.pg_stat_bgwriter AS s
