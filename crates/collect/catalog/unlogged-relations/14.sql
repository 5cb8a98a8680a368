SELECT n.nspname AS schemaname,
       c.relname,
       c.relkind::text,
       c.reltuples::float8,
       pg_catalog.pg_stat_get_live_tuples(c.oid) AS n_live_tup,
       c.relpages * pg_catalog.current_setting('block_size')::bigint AS size_bytes
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relpersistence = 'u'
   AND c.relkind IN ('r', 'm')
 ORDER BY c.relpages DESC, c.oid
 LIMIT 1000
