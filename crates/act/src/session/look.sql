WITH asked AS MATERIALIZED (
  SELECT l.pid,
         l.locktype,
         l.mode,
         l.database,
         l.relation,
         l.granted,
         l.waitstart
    FROM pg_catalog.pg_locks AS l
   WHERE NOT l.granted
      OR l.locktype = 'tuple'
), activity AS MATERIALIZED (
  SELECT a.*
    FROM pg_catalog.pg_stat_activity AS a
), waiters AS MATERIALIZED (
  -- A worker waits for its leader's statement: the leader is who waits.
  SELECT DISTINCT ON (coalesce(a.leader_pid, w.pid))
         coalesce(a.leader_pid, w.pid) AS pid,
         w.locktype,
         w.mode,
         coalesce(w.database, t.database) AS database,
         coalesce(w.relation, t.relation) AS relation,
         w.waitstart
    FROM asked AS w
    LEFT JOIN asked AS t ON t.pid = w.pid AND t.locktype = 'tuple' AND t.granted
    LEFT JOIN activity AS a ON a.pid = w.pid
   WHERE NOT w.granted
     AND w.pid <> pg_catalog.pg_backend_pid()
   ORDER BY coalesce(a.leader_pid, w.pid), w.waitstart
), ranked AS MATERIALIZED (
  SELECT w.*,
         row_number() OVER (ORDER BY w.waitstart, w.pid) AS place
    FROM waiters AS w
), waits AS MATERIALIZED (
  -- Each call stops the whole lock table for an instant: only the longest waits are followed.
  SELECT r.*,
         CASE WHEN r.place <= 200 THEN pg_catalog.pg_blocking_pids(r.pid) END AS blockers,
         CASE WHEN r.database = 0 OR r.database = (SELECT d.oid
                                                     FROM pg_catalog.pg_database AS d
                                                    WHERE d.datname = pg_catalog.current_database())
              THEN (SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
                      FROM pg_catalog.pg_class AS c
                      JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                     WHERE c.oid = r.relation)
              ELSE (SELECT pg_catalog.format('relation %s of database %s', r.relation, d.datname)
                      FROM pg_catalog.pg_database AS d
                     WHERE d.oid = r.database
                       AND r.relation IS NOT NULL)
          END AS relation_name
    FROM ranked AS r
)
SELECT a.pid,
       a.backend_start,
       a.query_start,
       a.xact_start,
       a.state_change,
       a.leader_pid,
       a.datname,
       a.usename,
       a.application_name,
       pg_catalog.host(a.client_addr) AS client_addr,
       a.backend_type,
       a.state,
       a.wait_event_type,
       a.wait_event,
       pg_catalog.left(a.query, 500) AS query,
       coalesce(r.rolsuper, false) AS superuser,
       w.pid IS NOT NULL AS waiting,
       w.blockers::text[] AS blockers,
       w.locktype,
       w.mode,
       w.relation_name AS relation,
       w.waitstart,
       t.now
  FROM activity AS a
 CROSS JOIN (SELECT pg_catalog.clock_timestamp() AS now OFFSET 0) AS t
  LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.usesysid
  LEFT JOIN waits AS w ON w.pid = a.pid
 WHERE a.pid <> pg_catalog.pg_backend_pid()
 ORDER BY w.waitstart, a.state IS NOT DISTINCT FROM 'idle', a.xact_start, a.pid
 LIMIT 10000
