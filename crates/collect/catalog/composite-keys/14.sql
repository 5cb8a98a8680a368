SELECT n.nspname AS schemaname,
       c.relname,
       f.conname,
       c.oid AS relid,
       ARRAY(SELECT a.attname::text
               FROM pg_catalog.unnest(f.conkey) AS k(attnum)
               JOIN pg_catalog.pg_attribute AS a ON a.attrelid = f.conrelid AND a.attnum = k.attnum
              ORDER BY a.attname) AS columns,
       c.reltuples::float8,
       rn.nspname AS referenced_schema,
       r.relname AS referenced_table,
       r.reltuples::float8 AS referenced_rows
  FROM pg_catalog.pg_constraint AS f
  JOIN pg_catalog.pg_class AS c ON c.oid = f.conrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class AS r ON r.oid = f.confrelid
  JOIN pg_catalog.pg_namespace AS rn ON rn.oid = r.relnamespace
 WHERE f.contype = 'f'
   AND c.relkind = 'r'
   AND c.relpages >= 64
   AND pg_catalog.cardinality(f.conkey) >= 2
 ORDER BY c.relpages DESC, f.oid
 LIMIT 1000
