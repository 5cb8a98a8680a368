-- Integer time is not judged. When a chunk was created is only known from 2.13 on.
WITH hypertables AS MATERIALIZED (
  SELECT h.hypertable_schema,
         h.hypertable_name,
         NULL::name AS view_schema,
         NULL::name AS view_name,
         h.compression_enabled
    FROM timescaledb_information.hypertables AS h
   UNION ALL
  SELECT a.materialization_hypertable_schema,
         a.materialization_hypertable_name,
         a.view_schema,
         a.view_name,
         NULL::boolean
    FROM timescaledb_information.continuous_aggregates AS a
), names AS (
  -- From 2.20 on jobs name the continuous aggregate instead of the hypertable under it.
  SELECT h.hypertable_schema,
         h.hypertable_name,
         h.hypertable_schema AS job_schema,
         h.hypertable_name AS job_name
    FROM hypertables AS h
   UNION ALL
  SELECT h.hypertable_schema,
         h.hypertable_name,
         h.view_schema,
         h.view_name
    FROM hypertables AS h
   WHERE h.view_name IS NOT NULL
), policies AS MATERIALIZED (
  SELECT h.hypertable_schema,
         h.hypertable_name,
         pg_catalog.bool_or(j.proc_name = 'policy_compression') AS compression_policy,
         pg_catalog.bool_or(j.scheduled) FILTER (WHERE j.proc_name = 'policy_compression') AS compression_scheduled,
         pg_catalog.min(j.schedule_interval) FILTER (WHERE j.proc_name = 'policy_compression') AS compression_interval,
         pg_catalog.bool_or(j.proc_name = 'policy_retention') AS retention_policy,
         pg_catalog.bool_or(j.scheduled) FILTER (WHERE j.proc_name = 'policy_retention') AS retention_scheduled,
         pg_catalog.min(j.schedule_interval) FILTER (WHERE j.proc_name = 'policy_retention') AS retention_interval,
         pg_catalog.min(CASE WHEN pg_catalog.jsonb_typeof(j.config -> 'compress_after') = 'string'
                             THEN (j.config ->> 'compress_after')::interval END) AS compress_after,
         pg_catalog.min(CASE WHEN pg_catalog.jsonb_typeof(j.config -> 'drop_after') = 'string'
                             THEN (j.config ->> 'drop_after')::interval END) AS drop_after
    FROM timescaledb_information.jobs AS j
    JOIN names AS h ON h.job_schema = j.hypertable_schema AND h.job_name = j.hypertable_name
   WHERE j.proc_name IN ('policy_compression', 'policy_retention')
   GROUP BY h.hypertable_schema,
            h.hypertable_name
), chunks AS MATERIALIZED (
  SELECT c.hypertable_schema,
         c.hypertable_name,
         c.chunk_schema,
         c.chunk_name,
         c.range_start,
         c.range_end,
         c.is_compressed,
         pg_catalog.dense_rank() OVER (
           PARTITION BY c.hypertable_schema, c.hypertable_name, c.is_compressed, c.range_start > pg_catalog.now()
               ORDER BY c.range_end DESC, c.range_end_integer DESC) AS recency
    FROM timescaledb_information.chunks AS c
), due AS (
  SELECT k.hypertable_schema,
         k.hypertable_name,
         k.is_compressed,
         k.range_end + p.compress_after AS compress_due,
         k.range_end + p.drop_after AS drop_due
    FROM chunks AS k
    LEFT JOIN policies AS p ON p.hypertable_schema = k.hypertable_schema AND p.hypertable_name = k.hypertable_name
), counts AS (
  SELECT d.hypertable_schema,
         d.hypertable_name,
         pg_catalog.count(*) AS chunks,
         pg_catalog.count(*) FILTER (WHERE d.is_compressed) AS compressed_chunks,
         pg_catalog.count(*) FILTER (WHERE NOT d.is_compressed AND d.compress_due < pg_catalog.now()) AS compress_due_chunks,
         pg_catalog.min(d.compress_due) FILTER (WHERE NOT d.is_compressed AND d.compress_due < pg_catalog.now()
                                                  AND pg_catalog.isfinite(d.compress_due)) AS compress_due_since,
         pg_catalog.count(*) FILTER (WHERE d.drop_due < pg_catalog.now()) AS drop_due_chunks,
         pg_catalog.min(d.drop_due) FILTER (WHERE d.drop_due < pg_catalog.now()
                                              AND pg_catalog.isfinite(d.drop_due)) AS drop_due_since
    FROM due AS d
   GROUP BY d.hypertable_schema,
            d.hypertable_name
), listed AS MATERIALIZED (
  SELECT h.hypertable_schema,
         h.hypertable_name,
         h.view_schema,
         h.view_name,
         h.compression_enabled,
         coalesce(n.chunks, 0) AS chunks,
         coalesce(n.compressed_chunks, 0) AS compressed_chunks,
         coalesce(n.compress_due_chunks, 0) AS compress_due_chunks,
         n.compress_due_since,
         coalesce(n.drop_due_chunks, 0) AS drop_due_chunks,
         n.drop_due_since
    FROM hypertables AS h
    LEFT JOIN counts AS n ON n.hypertable_schema = h.hypertable_schema AND n.hypertable_name = h.hypertable_name
   ORDER BY chunks DESC
   LIMIT 1000
), sizes AS (
  -- The three newest ranges that are not in the future, each with all its space partitions, table, TOAST and indexes.
  SELECT k.hypertable_schema,
         k.hypertable_name,
         k.recency,
         pg_catalog.sum(c.relpages + coalesce(t.relpages, 0) + coalesce(i.pages, 0)) AS pages,
         pg_catalog.sum(coalesce(i.pages, 0)) AS index_pages,
         pg_catalog.max(1 + coalesce(i.number, 0)) AS relations
    FROM listed AS l
    JOIN chunks AS k ON k.hypertable_schema = l.hypertable_schema AND k.hypertable_name = l.hypertable_name
    JOIN pg_catalog.pg_namespace AS n ON n.nspname = k.chunk_schema
    JOIN pg_catalog.pg_class AS c ON c.relname = k.chunk_name AND c.relnamespace = n.oid
    LEFT JOIN pg_catalog.pg_class AS t ON t.oid = c.reltoastrelid AND c.reltoastrelid <> 0
    LEFT JOIN LATERAL (
           SELECT pg_catalog.count(*) AS number,
                  pg_catalog.sum(x.relpages) AS pages
             FROM pg_catalog.pg_index AS y
             JOIN pg_catalog.pg_class AS x ON x.oid = y.indexrelid
            WHERE y.indrelid = c.oid) AS i ON true
   WHERE k.recency <= 3
     AND NOT coalesce(k.is_compressed, false)
     AND coalesce(k.range_start <= pg_catalog.now(), true)
   GROUP BY k.hypertable_schema,
            k.hypertable_name,
            k.recency
), largest AS (
  SELECT DISTINCT ON (s.hypertable_schema, s.hypertable_name)
         s.hypertable_schema,
         s.hypertable_name,
         s.pages,
         s.index_pages,
         s.relations
    FROM sizes AS s
   ORDER BY s.hypertable_schema,
            s.hypertable_name,
            s.pages DESC
)
SELECT l.hypertable_schema::text AS hypertable_schema,
       l.hypertable_name::text AS hypertable_name,
       l.view_schema::text AS view_schema,
       l.view_name::text AS view_name,
       l.compression_enabled,
       coalesce(p.compression_policy, false) AS compression_policy,
       p.compression_scheduled,
       EXTRACT(EPOCH FROM p.compression_interval)::float8 AS compression_interval,
       EXTRACT(EPOCH FROM p.compress_after)::float8 AS compress_after,
       coalesce(p.retention_policy, false) AS retention_policy,
       p.retention_scheduled,
       EXTRACT(EPOCH FROM p.retention_interval)::float8 AS retention_interval,
       EXTRACT(EPOCH FROM p.drop_after)::float8 AS drop_after,
       EXTRACT(EPOCH FROM d.time_interval)::float8 AS chunk_interval,
       l.chunks,
       l.compressed_chunks,
       l.compress_due_chunks,
       l.compress_due_since,
       l.drop_due_chunks,
       l.drop_due_since,
       (g.pages * pg_catalog.current_setting('block_size')::bigint)::float8 AS newest_chunk_bytes,
       (g.index_pages * pg_catalog.current_setting('block_size')::bigint)::float8 AS newest_chunk_index_bytes,
       g.relations::bigint AS newest_chunk_relations
  FROM listed AS l
  LEFT JOIN policies AS p ON p.hypertable_schema = l.hypertable_schema AND p.hypertable_name = l.hypertable_name
  LEFT JOIN timescaledb_information.dimensions AS d
    ON d.hypertable_schema = l.hypertable_schema AND d.hypertable_name = l.hypertable_name AND d.dimension_number = 1
  LEFT JOIN largest AS g ON g.hypertable_schema = l.hypertable_schema AND g.hypertable_name = l.hypertable_name
 ORDER BY l.chunks DESC,
          l.hypertable_schema,
          l.hypertable_name
