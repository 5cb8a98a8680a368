WITH parents AS MATERIALIZED (
       SELECT p.oid,
              p.relname,
              p.relnamespace,
              (SELECT pg_catalog.array_agg(a.attname || ' ' || a.atttypid ORDER BY a.attname)
                 FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid = p.oid AND a.attnum > 0 AND NOT a.attisdropped) AS shape
         FROM pg_catalog.pg_partitioned_table AS t
         JOIN pg_catalog.pg_class AS p ON p.oid = t.partrelid
        WHERE t.partstrat = 'r'
        LIMIT 2000)
SELECT n.nspname AS schemaname,
       p.relname,
       c.relname AS detached_name,
       p.oid AS relid,
       c.oid AS detached_relid,
       c.reltuples::float8,
       c.relpages * pg_catalog.current_setting('block_size')::bigint AS size_bytes
  FROM parents AS p
  JOIN pg_catalog.pg_namespace AS n ON n.oid = p.relnamespace
  JOIN pg_catalog.pg_class AS c ON c.relnamespace = p.relnamespace AND pg_catalog.starts_with(c.relname::text, p.relname || '_')
 WHERE c.relkind = 'r'
   AND NOT c.relispartition
   AND NOT EXISTS (SELECT
                     FROM pg_catalog.pg_inherits AS i
                    WHERE i.inhrelid = c.oid OR i.inhparent = c.oid)
   AND p.shape = (SELECT pg_catalog.array_agg(a.attname || ' ' || a.atttypid ORDER BY a.attname)
                    FROM pg_catalog.pg_attribute AS a
                   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
 ORDER BY p.oid, c.oid
 LIMIT 5000
