SELECT s.schemaname,
       s.funcname,
       s.funcid,
       s.calls,
       s.total_time,
       s.self_time
  FROM pg_catalog.pg_stat_user_functions AS s
 ORDER BY s.total_time DESC
 LIMIT 1000
