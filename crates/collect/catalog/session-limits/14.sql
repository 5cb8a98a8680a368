SELECT 'role' AS kind,
       r.rolname AS name,
       r.rolconnlimit AS connection_limit,
       (SELECT count(*)
          FROM pg_catalog.pg_stat_activity AS a
         WHERE a.usesysid = r.oid
           AND a.backend_type = 'client backend') AS sessions
  FROM pg_catalog.pg_roles AS r
 WHERE r.rolconnlimit >= 0
   AND r.rolcanlogin
   AND NOT r.rolsuper
 UNION ALL
SELECT 'database',
       d.datname,
       d.datconnlimit,
       (SELECT count(*)
          FROM pg_catalog.pg_stat_activity AS a
         WHERE a.datid = d.oid
           AND a.backend_type = 'client backend')
  FROM pg_catalog.pg_database AS d
 WHERE d.datconnlimit >= 0
   AND d.datallowconn
 LIMIT 1000
