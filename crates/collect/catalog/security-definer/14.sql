SELECT n.nspname AS schema,
       p.proname AS function,
       pg_catalog.pg_get_function_identity_arguments(p.oid) AS arguments,
       CASE WHEN p.prorettype IN ('pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype) THEN 'trigger'
            WHEN p.prokind = 'p' THEN 'procedure'
            ELSE 'function'
       END AS kind,
       l.lanname AS language,
       o.rolname AS owner,
       o.rolsuper AS owner_superuser,
       (SELECT pg_catalog.substr(c.setting, 13)
          FROM pg_catalog.unnest(p.proconfig) AS c (setting)
         WHERE c.setting ~~ 'search_path=%') AS search_path,
       EXISTS (SELECT FROM pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS a
                WHERE a.grantee = 0
                  AND a.privilege_type = 'EXECUTE') AS public_execute
  FROM pg_catalog.pg_proc AS p
  JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
  LEFT JOIN pg_catalog.pg_roles AS o ON o.oid = p.proowner
 WHERE p.prosecdef
   AND n.nspname !~ '^pg_'
   AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                      AND e.objid = p.oid
                      AND e.deptype = 'e')
 ORDER BY 1, 2, 3
 LIMIT 1000
