SELECT p.parent_table,
       (SELECT n.nspname
          FROM pg_catalog.pg_extension AS e
          JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
         WHERE e.extname = 'pg_partman') AS extension_schema,
       -- pg_partman keeps names without quotes.
       (SELECT c.oid
          FROM pg_catalog.pg_class AS c
          JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
         WHERE n.nspname = pg_catalog.split_part(p.parent_table, '.', 1)
           AND c.relname = pg_catalog.substr(p.parent_table, pg_catalog.strpos(p.parent_table, '.') + 1)) AS relid,
       p.partition_interval::text,
       p.premake,
       p.automatic_maintenance,
       p.retention,
       p.retention_keep_table,
       p.infinite_time_partitions
  FROM {schema}.part_config AS p
 ORDER BY p.parent_table
 LIMIT 1000
