SELECT n.nspname AS schema,
       c.relname AS table,
       o.rolname AS owner,
       c.relrowsecurity,
       c.relforcerowsecurity,
       (SELECT pg_catalog.count(*)
          FROM pg_catalog.pg_policy AS y
         WHERE y.polrelid = c.oid) AS policies
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
 WHERE c.relkind IN ('r', 'p')
   AND (c.relrowsecurity OR c.oid IN (SELECT y.polrelid FROM pg_catalog.pg_policy AS y))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      AND e.objid = c.oid
                      AND e.deptype = 'e')
 ORDER BY 1, 2
 LIMIT 1000
