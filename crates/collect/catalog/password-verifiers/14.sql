SELECT a.rolname,
       a.rolcanlogin,
       a.rolsuper,
       CASE WHEN a.rolpassword ~ '^SCRAM-SHA-256[$]' THEN 'scram-sha-256'
            WHEN a.rolpassword ~ '^md5[0-9a-f]{32}$' THEN 'md5'
            ELSE 'other'
       END AS kind
  FROM pg_catalog.pg_authid AS a
 WHERE a.rolpassword IS NOT NULL
 ORDER BY a.rolsuper DESC, a.oid
 LIMIT 10000
