WITH held AS MATERIALIZED (
  SELECT l.pid,
         l.locktype,
         l.mode,
         l.database,
         l.relation,
         l.transactionid,
         l.virtualtransaction,
         l.granted,
         l.waitstart
    FROM pg_catalog.pg_locks AS l
   WHERE NOT l.granted
      OR l.pid IS NULL
      OR l.locktype = 'tuple'
), oldest AS MATERIALIZED (
  SELECT DISTINCT ON (h.pid)
         h.pid,
         h.locktype,
         h.mode,
         h.transactionid,
         h.relation AS wanted,
         coalesce(h.database, t.database) AS database,
         coalesce(h.relation, t.relation) AS relation,
         h.waitstart
    FROM held AS h
    LEFT JOIN held AS t ON t.pid = h.pid AND t.locktype = 'tuple' AND t.granted
   WHERE NOT h.granted
     AND h.pid <> pg_catalog.pg_backend_pid()
   ORDER BY h.pid, h.waitstart
), waits AS MATERIALIZED (
  SELECT o.*,
         pg_catalog.pg_blocking_pids(o.pid) AS blocking_pids,
         CASE WHEN o.database = 0 OR o.database = (SELECT d.oid
                                                     FROM pg_catalog.pg_database AS d
                                                    WHERE d.datname = pg_catalog.current_database())
              THEN (SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
                      FROM pg_catalog.pg_class AS c
                      JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                     WHERE c.oid = o.relation)
              ELSE (SELECT pg_catalog.format('relation %s of database %s', o.relation, d.datname)
                      FROM pg_catalog.pg_database AS d
                     WHERE d.oid = o.database)
          END AS relation_name
    FROM (SELECT * FROM oldest ORDER BY waitstart, pid LIMIT 200) AS o
), nodes AS (
  SELECT w.pid FROM waits AS w
   UNION
  SELECT pg_catalog.unnest(w.blocking_pids) FROM waits AS w
)
SELECT n.pid,
       w.blocking_pids::text[] AS blocking_pids,
       w.locktype,
       w.mode,
       w.relation_name AS relation,
       w.waitstart,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - w.waitstart)::float8 AS wait_seconds,
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
       pg_catalog.left(a.query, 500) AS query,
       CASE WHEN n.pid = 0
            THEN (SELECT pg_catalog.array_agg(p.gid ORDER BY p.prepared)
                    FROM pg_catalog.pg_prepared_xacts AS p
                   WHERE EXISTS (SELECT
                                   FROM waits AS x
                                  WHERE x.transactionid = p.transaction
                                     OR EXISTS (SELECT
                                                  FROM held AS y
                                                  JOIN held AS z ON z.virtualtransaction = y.virtualtransaction
                                                 WHERE y.pid IS NULL
                                                   AND y.granted
                                                   AND y.relation = x.wanted
                                                   AND z.pid IS NULL
                                                   AND z.locktype = 'transactionid'
                                                   AND z.transactionid = p.transaction)))
        END AS gids
  FROM nodes AS n
  LEFT JOIN waits AS w ON w.pid = n.pid
  LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = n.pid
 ORDER BY w.waitstart, n.pid
