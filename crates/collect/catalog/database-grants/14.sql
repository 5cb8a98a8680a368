SELECT d.datname,
       o.rolname AS owner,
       d.datistemplate,
       d.datallowconn,
       (SELECT pg_catalog.array_agg(a.privilege_type ORDER BY a.privilege_type)
          FROM pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) AS a
         WHERE a.grantee = 0) AS privileges
  FROM pg_catalog.pg_database AS d
  LEFT JOIN pg_catalog.pg_roles AS o ON o.oid = d.datdba
