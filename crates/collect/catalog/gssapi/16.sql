SELECT s.gss_authenticated,
       s.encrypted,
       pg_catalog.bool_or(s.credentials_delegated) AS credentials_delegated,
       pg_catalog.count(s.pid) AS sessions
  FROM pg_catalog.pg_stat_gssapi AS s
 GROUP BY s.gss_authenticated, s.encrypted
