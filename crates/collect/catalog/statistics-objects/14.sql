SELECT n.nspname AS schemaname,
       c.relname,
       s.stxname AS statistics_name,
       sn.nspname AS statistics_schema,
       c.oid AS relid,
       ARRAY(SELECT a.attname::text
               FROM pg_catalog.unnest(s.stxkeys::int2[]) AS k(attnum)
               JOIN pg_catalog.pg_attribute AS a ON a.attrelid = s.stxrelid AND a.attnum = k.attnum
              ORDER BY a.attname) AS columns,
       pg_catalog.array_to_string(s.stxkind, '') AS kinds
  FROM pg_catalog.pg_statistic_ext AS s
  JOIN pg_catalog.pg_namespace AS sn ON sn.oid = s.stxnamespace
  JOIN pg_catalog.pg_class AS c ON c.oid = s.stxrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 ORDER BY n.nspname, c.relname, s.stxname
 LIMIT 5000
