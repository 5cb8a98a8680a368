SELECT a.pid,
       s.subxact_count,
       s.subxact_overflowed,
       a.datname,
       a.usename,
       a.application_name,
       pg_catalog.host(a.client_addr) AS client_addr,
       a.backend_type,
       a.state,
       a.xact_start,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - a.xact_start)::float8 AS xact_age_seconds,
       pg_catalog.left(a.query, 500) AS query
  FROM pg_catalog.pg_stat_get_backend_idset() AS b (id)
 CROSS JOIN LATERAL pg_catalog.pg_stat_get_backend_subxact(b.id) AS s (subxact_count, subxact_overflowed)
  JOIN pg_catalog.pg_stat_activity AS a ON a.pid = pg_catalog.pg_stat_get_backend_pid(b.id)
 WHERE s.subxact_count > 0
    OR s.subxact_overflowed
 ORDER BY s.subxact_overflowed DESC, s.subxact_count DESC
 LIMIT 200
