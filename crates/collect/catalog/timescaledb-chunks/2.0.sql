-- Chunks of integer time have no instants and are not listed.
SELECT k.hypertable_schema::text AS hypertable_schema,
       k.hypertable_name::text AS hypertable_name,
       k.chunk_schema::text AS chunk_schema,
       k.chunk_name::text AS chunk_name,
       h.oid AS hypertable_relid,
       c.oid AS chunk_relid,
       CASE WHEN pg_catalog.isfinite(k.range_start) THEN k.range_start END AS range_start,
       k.range_end,
       k.is_compressed,
       c.relpages,
       c.relpages * pg_catalog.current_setting('block_size')::bigint AS size_bytes
  FROM timescaledb_information.chunks AS k
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = k.chunk_schema
  JOIN pg_catalog.pg_class AS c ON c.relname = k.chunk_name AND c.relnamespace = n.oid
  LEFT JOIN pg_catalog.pg_namespace AS hn ON hn.nspname = k.hypertable_schema
  LEFT JOIN pg_catalog.pg_class AS h ON h.relname = k.hypertable_name AND h.relnamespace = hn.oid
 WHERE k.range_end <= pg_catalog.now()
   AND pg_catalog.isfinite(k.range_end)
 ORDER BY k.range_end, k.chunk_schema, k.chunk_name
 LIMIT 10000
