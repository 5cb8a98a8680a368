SELECT s.schemaname,
       s.relname,
       s.relid,
       s.score,
       s.xid_score,
       s.mxid_score,
       s.vacuum_score,
       s.vacuum_insert_score,
       s.analyze_score,
       s.do_vacuum,
       s.do_analyze,
       s.for_wraparound
  FROM pg_catalog.pg_stat_autovacuum_scores AS s
 ORDER BY s.score DESC NULLS LAST, s.relid
 LIMIT 50
