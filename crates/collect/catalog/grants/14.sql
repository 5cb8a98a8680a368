SELECT g.kind,
       g.schema,
       g.name,
       o.rolname AS owner,
       g.privileges,
       pg_catalog.count(*) OVER () AS objects
  FROM (SELECT CASE c.relkind WHEN 'v' THEN 'view'
                              WHEN 'm' THEN 'materialized view'
                              WHEN 'S' THEN 'sequence'
                              WHEN 'f' THEN 'foreign table'
                              ELSE 'table'
               END AS kind,
               n.nspname::text AS schema,
               c.relname::text AS name,
               c.relowner AS owner,
               (SELECT pg_catalog.array_agg(a.privilege_type ORDER BY a.privilege_type)
                  FROM pg_catalog.aclexplode(c.relacl) AS a
                 WHERE a.grantee = 0) AS privileges,
               'pg_catalog.pg_class'::pg_catalog.regclass AS catalog,
               c.oid
          FROM pg_catalog.pg_class AS c
          JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
         WHERE c.relacl IS NOT NULL
           -- What PUBLIC has begins with "="; this is cheaper than to take every list apart.
           AND c.relacl::text ~ '[{,]"?='
           AND n.nspname !~ '^pg_'
           AND n.nspname <> 'information_schema'
        UNION ALL
        SELECT 'schema',
               n.nspname,
               '',
               n.nspowner,
               (SELECT pg_catalog.array_agg(a.privilege_type ORDER BY a.privilege_type)
                  FROM pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) AS a
                 WHERE a.grantee = 0),
               'pg_catalog.pg_namespace'::pg_catalog.regclass,
               n.oid
          FROM pg_catalog.pg_namespace AS n
         WHERE n.nspname !~ '^pg_'
           AND n.nspname <> 'information_schema'
        UNION ALL
        SELECT 'foreign server',
               '',
               s.srvname,
               s.srvowner,
               (SELECT pg_catalog.array_agg(a.privilege_type ORDER BY a.privilege_type)
                  FROM pg_catalog.aclexplode(coalesce(s.srvacl, pg_catalog.acldefault('S', s.srvowner))) AS a
                 WHERE a.grantee = 0),
               'pg_catalog.pg_foreign_server'::pg_catalog.regclass,
               s.oid
          FROM pg_catalog.pg_foreign_server AS s) AS g
  LEFT JOIN pg_catalog.pg_roles AS o ON o.oid = g.owner
 WHERE g.privileges IS NOT NULL
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = g.catalog
                      AND e.objid = g.oid
                      AND e.deptype = 'e')
 ORDER BY g.kind <> 'schema', g.schema, g.name
 LIMIT 1000
