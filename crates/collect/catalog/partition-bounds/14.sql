-- Stands in pg_class as text that needs no lock to be read: the relation of pg_get_expr is 0.
SELECT n.nspname AS schemaname,
       p.relname,
       cn.nspname AS partition_schema,
       c.relname AS partition_name,
       p.oid AS relid,
       c.oid AS partition_relid,
       t.partstrat::text AS strategy,
       ARRAY(SELECT coalesce(k.attname::text, '(expression)')
               FROM pg_catalog.unnest(t.partattrs::int2[]) WITH ORDINALITY AS q(attnum, position)
               LEFT JOIN pg_catalog.pg_attribute AS k ON k.attrelid = p.oid AND k.attnum = q.attnum AND q.attnum > 0
              ORDER BY q.position) AS key_columns,
       y.typname AS key_type,
       p.relispartition,
       c.relkind::text AS partition_kind,
       pg_catalog.pg_get_expr(c.relpartbound, 0) AS bound,
       c.oid = t.partdefid AS is_default,
       i.inhdetachpending AS detach_pending,
       c.reltuples::float8,
       pg_catalog.pg_stat_get_live_tuples(c.oid) AS n_live_tup,
       c.relpages
  FROM pg_catalog.pg_partitioned_table AS t
  JOIN pg_catalog.pg_class AS p ON p.oid = t.partrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = p.relnamespace
  JOIN pg_catalog.pg_inherits AS i ON i.inhparent = p.oid
  JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
  JOIN pg_catalog.pg_namespace AS cn ON cn.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = p.oid AND a.attnum = t.partattrs[0] AND a.attnum > 0
  LEFT JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid
 WHERE c.relkind IN ('r', 'p', 'f')
 ORDER BY p.oid, c.oid
 LIMIT 20000
