SELECT pg_catalog.count(*) AS waiting,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - pg_catalog.min(s.query_start))::float8 AS longest_wait
  FROM pg_catalog.pg_stat_activity AS s
 WHERE s.wait_event = 'SyncRep'
