SELECT s.name,
       s.blks_zeroed,
       s.blks_hit,
       s.blks_read,
       s.blks_written,
       s.blks_exists,
       s.flushes,
       s.truncates,
       s.stats_reset
  FROM pg_catalog.pg_stat_slru AS s
