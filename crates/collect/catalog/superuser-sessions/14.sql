SELECT a.usename,
       a.application_name,
       pg_catalog.host(a.client_addr) AS client_addr,
       pg_catalog.count(*) AS sessions,
       pg_catalog.min(a.backend_start) AS oldest_backend_start
  FROM pg_catalog.pg_stat_activity AS a
  JOIN pg_catalog.pg_roles AS r ON r.oid = a.usesysid
 WHERE r.rolsuper
   AND a.backend_type = 'client backend'
   AND a.client_addr IS NOT NULL
   AND a.pid <> pg_catalog.pg_backend_pid()
 GROUP BY a.usename, a.application_name, a.client_addr
 ORDER BY 4 DESC
 LIMIT 200
