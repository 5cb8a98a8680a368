SELECT l.lanname,
       o.rolname AS owner,
       (SELECT pg_catalog.count(*)
          FROM pg_catalog.pg_proc AS p
         WHERE p.prolang = l.oid
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                            WHERE e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                              AND e.objid = p.oid
                              AND e.deptype = 'e')) AS functions
  FROM pg_catalog.pg_language AS l
  LEFT JOIN pg_catalog.pg_roles AS o ON o.oid = l.lanowner
 WHERE l.lanispl
   AND NOT l.lanpltrusted
