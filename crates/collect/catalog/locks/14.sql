WITH held AS MATERIALIZED (
  SELECT l.pid,
         count(*) AS locks,
         count(*) FILTER (WHERE NOT l.granted) AS waiting,
         count(*) FILTER (WHERE l.fastpath) AS fast_path,
         count(*) FILTER (WHERE l.locktype = 'relation') AS relations,
         count(*) FILTER (WHERE l.locktype = 'relation'
                            AND NOT l.fastpath
                            AND l.granted
                            AND l.database <> 0
                            AND l.mode IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')) AS relations_not_fast_path,
         count(*) FILTER (WHERE l.locktype = 'advisory' AND l.granted) AS advisory,
         count(*) FILTER (WHERE l.mode = 'SIReadLock') AS predicate,
         pg_catalog.array_agg(pg_catalog.format('%I.%I', n.nspname, c.relname)) FILTER (WHERE c.oid IS NOT NULL) AS access_exclusive
    FROM pg_catalog.pg_locks AS l
    LEFT JOIN pg_catalog.pg_class AS c ON c.oid = l.relation
          AND l.locktype = 'relation'
          AND l.mode = 'AccessExclusiveLock'
          AND l.granted
          AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
          AND c.relkind IN ('r', 'p', 'm')
          AND c.relpersistence <> 't'
    LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
   WHERE l.pid <> pg_catalog.pg_backend_pid()
   GROUP BY l.pid
)
SELECT h.pid,
       h.locks,
       h.waiting,
       h.fast_path,
       h.relations,
       h.relations_not_fast_path,
       h.advisory,
       h.predicate,
       h.access_exclusive[1:10] AS access_exclusive,
       a.datname,
       a.usename,
       a.application_name,
       pg_catalog.host(a.client_addr) AS client_addr,
       a.backend_type,
       a.state,
       a.xact_start,
       a.state_change,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - a.xact_start)::float8 AS xact_age_seconds,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - a.state_change)::float8 AS state_age_seconds,
       pg_catalog.left(a.query, 500) AS query
  FROM held AS h
  LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = h.pid
 ORDER BY h.access_exclusive IS NULL, h.locks DESC, h.pid
 LIMIT 200
