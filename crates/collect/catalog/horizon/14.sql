(SELECT 'session' AS kind,
        a.pid::text AS name,
        a.datname,
        a.usename,
        a.application_name,
        pg_catalog.host(a.client_addr) AS client_addr,
        a.backend_type,
        a.state,
        a.xact_start AS since,
        EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - a.xact_start)::float8 AS age_seconds,
        GREATEST(pg_catalog.age(a.backend_xid), pg_catalog.age(a.backend_xmin)) AS xmin_age,
        true AS active,
        pg_catalog.left(a.query, 500) AS query
   FROM pg_catalog.pg_stat_activity AS a
  WHERE a.pid <> pg_catalog.pg_backend_pid()
    AND coalesce(a.backend_xid, a.backend_xmin) IS NOT NULL
    AND a.leader_pid IS NULL
    AND a.backend_type IS DISTINCT FROM 'walsender'
    AND NOT (a.backend_type IS NOT DISTINCT FROM 'autovacuum worker' AND a.query LIKE 'autovacuum: VACUUM%')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_vacuum AS v WHERE v.pid = a.pid)
  ORDER BY xmin_age DESC
  LIMIT 50)
 UNION ALL
SELECT 'standby',
       r.application_name,
       NULL,
       r.usename,
       r.application_name,
       pg_catalog.host(r.client_addr),
       'walsender',
       r.state,
       NULL,
       NULL,
       pg_catalog.age(r.backend_xmin),
       true,
       NULL
  FROM pg_catalog.pg_stat_replication AS r
 WHERE r.backend_xmin IS NOT NULL
 UNION ALL
SELECT 'slot',
       s.slot_name,
       s.database,
       NULL,
       NULL,
       NULL,
       s.slot_type,
       CASE WHEN s.active THEN 'active' ELSE 'inactive' END,
       NULL,
       NULL,
       pg_catalog.age(s.xmin),
       s.active,
       NULL
  FROM pg_catalog.pg_replication_slots AS s
 WHERE s.xmin IS NOT NULL
 UNION ALL
SELECT 'slot-catalog',
       s.slot_name,
       s.database,
       NULL,
       NULL,
       NULL,
       s.slot_type,
       CASE WHEN s.active THEN 'active' ELSE 'inactive' END,
       NULL,
       NULL,
       pg_catalog.age(s.catalog_xmin),
       s.active,
       NULL
  FROM pg_catalog.pg_replication_slots AS s
 WHERE s.catalog_xmin IS NOT NULL
 UNION ALL
SELECT 'prepared-transaction',
       p.gid,
       p.database,
       p.owner,
       NULL,
       NULL,
       NULL,
       'prepared',
       p.prepared,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - p.prepared)::float8,
       pg_catalog.age(p.transaction),
       true,
       NULL
  FROM pg_catalog.pg_prepared_xacts AS p
