SELECT s.gss_authenticated,
       s.encrypted,
       pg_catalog.count(s.pid) AS sessions
  FROM pg_catalog.pg_stat_gssapi AS s
 GROUP BY s.gss_authenticated, s.encrypted
