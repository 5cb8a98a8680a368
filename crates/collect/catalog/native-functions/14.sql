SELECT n.nspname AS schema,
       p.proname AS function,
       pg_catalog.pg_get_function_identity_arguments(p.oid) AS arguments,
       o.rolname AS owner,
       p.probin AS library
  FROM pg_catalog.pg_proc AS p
  JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
  LEFT JOIN pg_catalog.pg_roles AS o ON o.oid = p.proowner
 WHERE p.prolang = 13
   AND p.oid >= 16384
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                      AND e.objid = p.oid
                      AND e.deptype = 'e')
 ORDER BY 1, 2, 3
 LIMIT 1000
