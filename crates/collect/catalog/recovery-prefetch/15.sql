SELECT s.prefetch,
       s.hit,
       s.skip_init,
       s.skip_new,
       s.skip_fpw,
       s.skip_rep,
       s.wal_distance,
       s.block_distance,
       s.io_depth,
       s.stats_reset
  FROM pg_catalog.pg_stat_recovery_prefetch AS s
