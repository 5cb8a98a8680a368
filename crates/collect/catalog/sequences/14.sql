SELECT k.schemaname,
       k.sequencename,
       k.relid,
       k.table_schema,
       k.table_name,
       k.column_name,
       k.column_type,
       k.column_max,
       k.data_type,
       k.start_value,
       k.min_value,
       k.max_value,
       k.increment_by,
       k.cycle,
       k.cache_size,
       CASE WHEN k.readable AND NOT k.locked THEN pg_catalog.pg_sequence_last_value(k.relid) END AS last_value,
       k.readable,
       k.locked
  FROM (SELECT n.nspname AS schemaname,
               c.relname AS sequencename,
               c.oid AS relid,
               tn.nspname AS table_schema,
               t.relname AS table_name,
               a.attname AS column_name,
               y.typname AS column_type,
               m.column_max,
               pg_catalog.format_type(s.seqtypid, NULL) AS data_type,
               s.seqstart AS start_value,
               s.seqmin AS min_value,
               s.seqmax AS max_value,
               s.seqincrement AS increment_by,
               s.seqcycle AS cycle,
               s.seqcache AS cache_size,
               pg_catalog.has_sequence_privilege(c.oid, 'SELECT,USAGE') AS readable,
               c.oid = ANY (ARRAY(SELECT l.relation
                                    FROM pg_catalog.pg_locks AS l
                                   WHERE l.locktype = 'relation'
                                     AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))) AS locked
          FROM pg_catalog.pg_sequence AS s
          JOIN pg_catalog.pg_class AS c ON c.oid = s.seqrelid
          JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
          LEFT JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_class'::regclass
                                             AND d.objid = c.oid
                                             AND d.refclassid = 'pg_catalog.pg_class'::regclass
                                             AND d.refobjsubid > 0
                                             AND d.deptype IN ('a', 'i')
          LEFT JOIN pg_catalog.pg_class AS t ON t.oid = d.refobjid
          LEFT JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
          LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
          LEFT JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid
         CROSS JOIN LATERAL (SELECT CASE y.typname
                                      WHEN 'int2' THEN 32767
                                      WHEN 'int4' THEN 2147483647
                                    END::bigint AS column_max) AS m
         WHERE c.relpersistence <> 't'
           AND (s.seqmax < 9007199254740992 OR m.column_max IS NOT NULL)
         ORDER BY coalesce(t.reltuples, 1000000) DESC, c.oid
         LIMIT 500) AS k
 ORDER BY k.schemaname, k.sequencename
