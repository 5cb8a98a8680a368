SELECT r.rolname,
       r.oid,
       r.rolsuper,
       r.rolinherit,
       r.rolcreaterole,
       r.rolcreatedb,
       r.rolcanlogin,
       r.rolreplication,
       r.rolbypassrls,
       r.rolconnlimit,
       CASE WHEN pg_catalog.isfinite(r.rolvaliduntil) THEN r.rolvaliduntil END AS rolvaliduntil,
       r.rolconfig
  FROM pg_catalog.pg_roles AS r
 ORDER BY r.rolsuper DESC, r.oid
 LIMIT 10000
