SELECT e.extname,
       e.extversion,
       a.default_version,
       n.nspname,
       pg_catalog.pg_get_userbyid(e.extowner) AS owner
  FROM pg_catalog.pg_extension AS e
  JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
  LEFT JOIN pg_catalog.pg_available_extensions() AS a(name, default_version, comment) ON a.name = e.extname
 ORDER BY e.extname
