SELECT a.pid,
       d.datname,
       CASE WHEN a.usesysid IS NOT NULL
            THEN pg_catalog.pg_get_userbyid(a.usesysid)
        END AS usename,
       a.application_name,
       a.backend_type,
       a.state,
       a.wait_event_type,
       a.wait_event,
       a.query_id,
       CASE WHEN a.wait_event_type = 'Lock' AND a.number <= 20
            THEN pg_catalog.pg_blocking_pids(a.pid)::text[]
        END AS blocked_by,
       a.total
  FROM (SELECT s.pid,
               s.datid,
               s.usesysid,
               s.application_name,
               s.backend_type,
               s.state,
               s.wait_event_type,
               s.wait_event,
               s.query_id,
               pg_catalog.row_number() OVER (ORDER BY s.wait_event_type = 'Lock' DESC NULLS LAST, s.state, s.pid) AS number,
               pg_catalog.count(*) OVER () AS total
          FROM pg_catalog.pg_stat_get_activity(NULL) AS s
         WHERE s.pid <> pg_catalog.pg_backend_pid()
           AND s.backend_type IS NOT NULL
           AND s.wait_event_type IS DISTINCT FROM 'Activity'
           AND (s.state IS NULL
                OR s.state <> 'idle'
               AND (s.state <> 'disabled' OR s.wait_event_type IS DISTINCT FROM 'Client'))) AS a
  LEFT JOIN pg_catalog.pg_database AS d ON d.oid = a.datid
 WHERE a.number <= 1000
 ORDER BY a.number
