SELECT n.nspname AS schema,
       c.relname AS table,
       pg_catalog.pg_stat_get_live_tuples(c.oid) AS n_live_tup,
       pg_catalog.pg_stat_get_mod_since_analyze(c.oid) AS n_mod_since_analyze,
       c.relpages::bigint * pg_catalog.current_setting('block_size')::bigint AS bytes,
       greatest(pg_catalog.pg_stat_get_last_analyze_time(c.oid), pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid)) AS last_analyze
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r'
   AND n.nspname ~* '^(stag|stg|landing)'
   AND pg_catalog.pg_stat_get_live_tuples(c.oid) > 0
 ORDER BY 3 DESC
 LIMIT 1000
