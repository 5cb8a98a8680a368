SELECT n.nspname AS schema,
       c.relname AS table,
       g.attname AS column,
       o.rolname AS owner,
       g.privileges
  FROM (SELECT t.attrelid,
               t.attname,
               (SELECT pg_catalog.array_agg(a.privilege_type ORDER BY a.privilege_type)
                  FROM pg_catalog.aclexplode(t.attacl) AS a
                 WHERE a.grantee = 0) AS privileges
          FROM pg_catalog.pg_attribute AS t
         WHERE t.attacl IS NOT NULL
           AND NOT t.attisdropped) AS g
  JOIN pg_catalog.pg_class AS c ON c.oid = g.attrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
 WHERE g.privileges IS NOT NULL
   AND n.nspname !~ '^pg_'
   AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      AND e.objid = c.oid
                      AND e.deptype = 'e')
 ORDER BY 1, 2, 3
 LIMIT 1000
