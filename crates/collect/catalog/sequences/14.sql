WITH busiest AS MATERIALIZED (
       SELECT s.*
         FROM pg_catalog.pg_sequence AS s
        ORDER BY pg_catalog.pg_stat_get_blocks_fetched(s.seqrelid) DESC NULLS LAST, s.seqrelid
        LIMIT 500),
     locked AS MATERIALIZED (
       SELECT l.relation
         FROM pg_catalog.pg_locks AS l
        WHERE l.locktype = 'relation'
          AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
SELECT q.schemaname,
       q.sequencename,
       q.relid,
       q.table_schema,
       q.table_name,
       q.column_name,
       q.column_type,
       q.column_max,
       q.data_type,
       q.start_value,
       q.min_value,
       q.max_value,
       q.increment_by,
       q.cycle,
       q.cache_size,
       CASE WHEN q.readable AND NOT q.locked THEN pg_catalog.pg_sequence_last_value(q.relid) END AS last_value,
       q.readable,
       q.locked
  FROM (SELECT n.nspname AS schemaname,
               c.relname AS sequencename,
               c.oid AS relid,
               tn.nspname AS table_schema,
               t.relname AS table_name,
               a.attname AS column_name,
               CASE a.atttypid
                 WHEN 21 THEN 'smallint'
                 WHEN 23 THEN 'integer'
                 WHEN 20 THEN 'bigint'
               END AS column_type,
               CASE a.atttypid
                 WHEN 21 THEN 32767
                 WHEN 23 THEN 2147483647
               END::bigint AS column_max,
               pg_catalog.format_type(s.seqtypid, NULL) AS data_type,
               s.seqstart AS start_value,
               s.seqmin AS min_value,
               s.seqmax AS max_value,
               s.seqincrement AS increment_by,
               s.seqcycle AS cycle,
               s.seqcache AS cache_size,
               pg_catalog.has_sequence_privilege(c.oid, 'SELECT,USAGE') AS readable,
               EXISTS (SELECT FROM locked AS l WHERE l.relation = c.oid) AS locked
          FROM busiest AS s
          JOIN pg_catalog.pg_class AS c ON c.oid = s.seqrelid
          JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
          LEFT JOIN LATERAL (SELECT e.refobjid,
                                    e.refobjsubid
                               FROM pg_catalog.pg_depend AS e
                              WHERE e.classid = 'pg_catalog.pg_class'::regclass
                                AND e.objid = c.oid
                                AND e.objsubid = 0
                                AND e.refclassid = 'pg_catalog.pg_class'::regclass
                                AND e.refobjsubid > 0
                                AND e.deptype IN ('a', 'i')
                              LIMIT 1) AS d ON true
          LEFT JOIN pg_catalog.pg_class AS t ON t.oid = d.refobjid
          LEFT JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
          LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
         WHERE c.relpersistence <> 't'
         OFFSET 0) AS q
 WHERE q.max_value < 9007199254740992
    OR q.column_max IS NOT NULL
 ORDER BY q.schemaname, q.sequencename
