SELECT n.nspname AS schemaname,
       c.relname,
       s.stxname AS statistics_name,
       c.oid AS relid,
       d.stxdndistinct::text AS n_distinct
  FROM pg_catalog.pg_statistic_ext AS s
  JOIN pg_catalog.pg_statistic_ext_data AS d ON d.stxoid = s.oid
  JOIN pg_catalog.pg_class AS c ON c.oid = s.stxrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE d.stxdndistinct IS NOT NULL
 ORDER BY n.nspname, c.relname, s.stxname
 LIMIT 5000
