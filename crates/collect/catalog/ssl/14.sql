SELECT s.ssl,
       s.version,
       s.cipher,
       s.bits,
       pg_catalog.count(s.pid) AS sessions,
       pg_catalog.count(a.client_addr) AS remote_sessions,
       pg_catalog.count(s.client_dn) AS certificate_sessions
  FROM pg_catalog.pg_stat_ssl AS s
  JOIN pg_catalog.pg_stat_activity AS a ON a.pid = s.pid
 WHERE a.backend_type = 'client backend'
 GROUP BY s.ssl, s.version, s.cipher, s.bits
