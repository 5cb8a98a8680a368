SELECT a.pid,
       a.datid,
       a.datname,
       a.leader_pid,
       a.usesysid,
       a.usename,
       a.application_name,
       pg_catalog.host(a.client_addr) AS client_addr,
       a.client_hostname,
       a.client_port,
       a.backend_start,
       a.xact_start,
       a.query_start,
       a.state_change,
       a.wait_event_type,
       a.wait_event,
       a.state,
       a.backend_xid::text::bigint AS backend_xid,
       a.backend_xmin::text::bigint AS backend_xmin,
       a.query_id,
       pg_catalog.left(a.query, 500) AS query,
       a.backend_type,
       EXTRACT(EPOCH FROM t.now - a.backend_start)::float8 AS backend_age_seconds,
       EXTRACT(EPOCH FROM t.now - a.xact_start)::float8 AS xact_age_seconds,
       EXTRACT(EPOCH FROM t.now - a.query_start)::float8 AS query_age_seconds,
       EXTRACT(EPOCH FROM t.now - a.state_change)::float8 AS state_age_seconds,
       pg_catalog.age(a.backend_xid) AS backend_xid_age,
       pg_catalog.age(a.backend_xmin) AS backend_xmin_age,
       s.ssl,
       g.encrypted
  FROM pg_catalog.pg_stat_activity AS a
 CROSS JOIN (SELECT pg_catalog.clock_timestamp() AS now OFFSET 0) AS t
  LEFT JOIN pg_catalog.pg_stat_ssl AS s ON s.pid = a.pid
  LEFT JOIN pg_catalog.pg_stat_gssapi AS g ON g.pid = a.pid
 WHERE a.pid <> pg_catalog.pg_backend_pid()
 ORDER BY a.state IS NOT DISTINCT FROM 'idle', a.xact_start, a.pid
 LIMIT 5000
