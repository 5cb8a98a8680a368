SELECT d.datname,
       s.subname,
       s.subid,
       s.apply_error_count,
       s.sync_error_count,
       s.stats_reset
  FROM pg_catalog.pg_stat_subscription_stats AS s
  JOIN pg_catalog.pg_subscription AS b ON b.oid = s.subid
  JOIN pg_catalog.pg_database AS d ON d.oid = b.subdbid
