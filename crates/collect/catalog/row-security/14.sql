SELECT n.nspname AS schema,
       c.relname AS table,
       o.rolname AS owner,
       c.relrowsecurity,
       c.relforcerowsecurity,
       coalesce(p.policies, 0) AS policies
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
  LEFT JOIN (SELECT y.polrelid, pg_catalog.count(*) AS policies
               FROM pg_catalog.pg_policy AS y
              GROUP BY y.polrelid) AS p ON p.polrelid = c.oid
 WHERE (c.relrowsecurity OR p.policies > 0)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      AND e.objid = c.oid
                      AND e.deptype = 'e')
 ORDER BY 1, 2
 LIMIT 1000
