SELECT p.parname,
       CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE coalesce(r.rolname::text, a.grantee::text) END AS grantee,
       pg_catalog.array_agg(a.privilege_type ORDER BY a.privilege_type) AS privileges
  FROM pg_catalog.pg_parameter_acl AS p
 CROSS JOIN pg_catalog.aclexplode(p.paracl) AS a
  LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
 WHERE a.grantee <> 10
 GROUP BY 1, 2
 ORDER BY 1, 2
 LIMIT 1000
