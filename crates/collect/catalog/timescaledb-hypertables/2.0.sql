WITH policies AS (
  SELECT j.hypertable_schema,
         j.hypertable_name,
         max(EXTRACT(EPOCH FROM (j.config ->> 'compress_after')::interval)::float8)
           FILTER (WHERE j.proc_name IN ('policy_compression', 'policy_recompression')
                     AND j.config ->> 'compress_after' ~ '[^0-9]') AS compress_after_s,
         max(EXTRACT(EPOCH FROM (j.config ->> 'drop_after')::interval)::float8)
           FILTER (WHERE j.proc_name = 'policy_retention'
                     AND j.config ->> 'drop_after' ~ '[^0-9]') AS drop_after_s
    FROM timescaledb_information.jobs AS j
   WHERE j.hypertable_name IS NOT NULL
   GROUP BY j.hypertable_schema, j.hypertable_name
)
SELECT h.hypertable_schema::text,
       h.hypertable_name::text,
       h.num_dimensions::int,
       h.num_chunks::bigint AS chunks,
       h.compression_enabled,
       c.uncompressed_chunks,
       p.compress_after_s,
       c.eligible_uncompressed_chunks,
       c.oldest_chunk_end,
       c.newest_chunk_end,
       p.drop_after_s,
       c.chunk_interval_s
  FROM timescaledb_information.hypertables AS h
  LEFT JOIN policies AS p
    ON p.hypertable_schema = h.hypertable_schema
   AND p.hypertable_name = h.hypertable_name
  LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE NOT k.is_compressed) AS uncompressed_chunks,
           count(*) FILTER (WHERE NOT k.is_compressed
                              AND k.range_end < pg_catalog.now() - pg_catalog.make_interval(secs => p.compress_after_s))
             AS eligible_uncompressed_chunks,
           min(k.range_end) AS oldest_chunk_end,
           max(k.range_end) AS newest_chunk_end,
           max(EXTRACT(EPOCH FROM k.range_end - k.range_start)::float8) AS chunk_interval_s
      FROM timescaledb_information.chunks AS k
     WHERE k.hypertable_schema = h.hypertable_schema
       AND k.hypertable_name = h.hypertable_name
  ) AS c ON true
 ORDER BY h.num_chunks DESC
 LIMIT 1000
