SELECT n.nspname AS schemaname,
       c.relname,
       k.conname,
       k.contype::text,
       k.convalidated,
       c.relpages * pg_catalog.current_setting('block_size')::bigint AS size_bytes
  FROM pg_catalog.pg_constraint AS k
  JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE (NOT k.convalidated)
   AND k.conparentid = 0
 ORDER BY c.relpages DESC, k.oid
 LIMIT 1000
