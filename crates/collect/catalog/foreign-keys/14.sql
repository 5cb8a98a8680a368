SELECT n.nspname AS schemaname,
       c.relname,
       f.conname,
       ARRAY(SELECT a.attname::text
               FROM pg_catalog.unnest(f.conkey) WITH ORDINALITY AS k(attnum, position)
               JOIN pg_catalog.pg_attribute AS a ON a.attrelid = f.conrelid AND a.attnum = k.attnum
              ORDER BY k.position) AS columns,
       rn.nspname AS referenced_schema,
       r.relname AS referenced_table,
       f.confdeltype::text AS on_delete,
       f.confupdtype::text AS on_update,
       c.relpages * pg_catalog.current_setting('block_size')::bigint AS size_bytes,
       c.reltuples::float8,
       pg_catalog.pg_stat_get_tuples_deleted(r.oid) AS referenced_deletes,
       pg_catalog.pg_stat_get_tuples_updated(r.oid) AS referenced_updates
  FROM pg_catalog.pg_constraint AS f
  JOIN pg_catalog.pg_class AS c ON c.oid = f.conrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class AS r ON r.oid = f.confrelid
  JOIN pg_catalog.pg_namespace AS rn ON rn.oid = r.relnamespace
 WHERE f.contype = 'f'
   AND c.relkind = 'r'
   AND c.relpages >= 64
   AND NOT EXISTS (SELECT
                     FROM pg_catalog.pg_index AS i
                    WHERE i.indrelid = f.conrelid
                      AND i.indisvalid
                      AND i.indpred IS NULL
                      AND (i.indkey::int2[])[0:pg_catalog.cardinality(f.conkey) - 1] @> f.conkey)
 ORDER BY c.relpages DESC, f.oid
 LIMIT 1000
