SELECT f.schemaname,
       f.funcname,
       f.funcid,
       f.calls,
       f.total_time,
       f.self_time,
       f.stats_reset
  FROM pg_catalog.pg_stat_user_functions AS f
 ORDER BY f.total_time DESC, f.funcid
 LIMIT 1000
