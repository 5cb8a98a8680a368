SELECT r.rolname AS role,
       coalesce(n.nspname::text, '') AS schema,
       CASE d.defaclobjtype WHEN 'r' THEN 'tables'
                            WHEN 'S' THEN 'sequences'
                            WHEN 'f' THEN 'functions'
                            WHEN 'T' THEN 'types'
                            WHEN 'n' THEN 'schemas'
                            ELSE 'large objects'
       END AS object_type,
       (SELECT pg_catalog.array_agg(a.privilege_type ORDER BY a.privilege_type)
          FROM pg_catalog.aclexplode(d.defaclacl) AS a
         WHERE a.grantee = 0) AS privileges
  FROM pg_catalog.pg_default_acl AS d
  LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = d.defaclrole
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = d.defaclnamespace
 WHERE EXISTS (SELECT FROM pg_catalog.aclexplode(d.defaclacl) AS a
                WHERE a.grantee = 0)
 ORDER BY 1, 2, 3
 LIMIT 1000
