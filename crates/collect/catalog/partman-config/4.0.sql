SELECT p.parent_table,
       (SELECT n.nspname
          FROM pg_catalog.pg_extension AS e
          JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
         WHERE e.extname = 'pg_partman') AS extension_schema,
       pg_catalog.to_regclass(p.parent_table)::oid AS relid,
       p.partition_interval::text,
       p.premake,
       p.automatic_maintenance,
       p.retention,
       p.retention_keep_table,
       p.infinite_time_partitions
  FROM {schema}.part_config AS p
 ORDER BY p.parent_table
 LIMIT 1000
