WITH children AS MATERIALIZED (
       SELECT i.inhparent,
              c.oid,
              c.relkind,
              c.reltuples
         FROM pg_catalog.pg_inherits AS i
         JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
        WHERE c.relispartition
          AND c.relkind IN ('r', 'p', 'f')),
     sums AS MATERIALIZED (
       SELECT k.inhparent,
              pg_catalog.count(*) AS partition_count,
              pg_catalog.sum(greatest(k.reltuples, 0))::float8 AS leaf_rows
         FROM children AS k
        GROUP BY k.inhparent)
SELECT n.nspname AS schemaname,
       c.relname,
       c.oid AS relid,
       p.partstrat::text AS strategy,
       t.typname AS key_type,
       c.relispartition,
       coalesce(s.partition_count, 0) AS partition_count,
       dn.nspname AS default_partition_schema,
       d.relname AS default_partition,
       d.reltuples::float8 AS default_partition_rows,
       pg_catalog.pg_stat_get_live_tuples(d.oid) AS default_partition_live,
       coalesce(s.leaf_rows, 0) AS leaf_rows,
       b.newest_bound,
       b.open_ended,
       greatest(pg_catalog.pg_stat_get_last_analyze_time(c.oid), pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid)) AS last_analyze
  FROM pg_catalog.pg_partitioned_table AS p
  JOIN pg_catalog.pg_class AS c ON c.oid = p.partrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN sums AS s ON s.inhparent = c.oid
  LEFT JOIN pg_catalog.pg_class AS d ON d.oid = p.partdefid
  LEFT JOIN pg_catalog.pg_namespace AS dn ON dn.oid = d.relnamespace
  LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0] AND p.partnatts = 1
  LEFT JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
  LEFT JOIN LATERAL (
       SELECT pg_catalog.max((pg_catalog.regexp_match(e.bound, 'TO \(''([^'']*)''\)$'))[1]::timestamptz) AS newest_bound,
              pg_catalog.bool_or(e.bound ~ 'TO \(MAXVALUE\)$') AS open_ended
         FROM (SELECT pg_catalog.pg_get_expr(o.relpartbound, 0) AS bound
                 FROM children AS k
                 JOIN pg_catalog.pg_class AS o ON o.oid = k.oid
                WHERE k.inhparent = c.oid
                  AND p.partstrat = 'r'
                  AND a.atttypid IN (1082, 1114, 1184)
                ORDER BY k.oid DESC
                LIMIT 400) AS e) AS b ON true
 ORDER BY s.partition_count DESC NULLS LAST, c.oid
 LIMIT 2000
