SELECT coalesce(d.datname::text, '') AS datname,
       coalesce(r.rolname::text, '') AS rolname,
       pg_catalog.split_part(c.setting, '=', 1) AS name,
       pg_catalog.substr(c.setting, pg_catalog.strpos(c.setting, '=') + 1) AS setting
  FROM pg_catalog.pg_db_role_setting AS s
 CROSS JOIN pg_catalog.unnest(s.setconfig) AS c (setting)
  LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
  LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
 ORDER BY 1, 2, 3
 LIMIT 5000
