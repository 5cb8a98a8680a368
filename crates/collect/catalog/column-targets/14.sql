-- The default is -1, and NULL since 17.
SELECT n.nspname AS schemaname,
       c.relname,
       a.attname,
       c.oid AS relid,
       a.attnum,
       a.attstattarget
  FROM pg_catalog.pg_attribute AS a
  JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE a.attstattarget >= 0
   AND a.attnum > 0
   AND NOT a.attisdropped
   AND c.relkind IN ('r', 'm', 'p', 'f')
   AND c.relpersistence <> 't'
   AND n.nspname <> 'pg_catalog'
 ORDER BY n.nspname, c.relname, a.attnum
 LIMIT 10000
