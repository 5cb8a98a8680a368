WITH used AS MATERIALIZED (
       SELECT u.oid,
              pg_catalog.count(*) AS index_count
         FROM pg_catalog.pg_index AS i
        CROSS JOIN LATERAL (SELECT DISTINCT k.oid
                              FROM pg_catalog.unnest(i.indcollation::oid[]) AS k(oid)
                             WHERE k.oid <> 0) AS u
        WHERE i.indcollation::text NOT IN ('0', '0 0', '0 0 0', '950')
        GROUP BY u.oid)
SELECT n.nspname,
       c.collname,
       c.collprovider::text AS provider,
       c.collversion,
       pg_catalog.pg_collation_actual_version(c.oid) AS actual_version,
       u.index_count,
       false AS is_default
  FROM used AS u
  JOIN pg_catalog.pg_collation AS c ON c.oid = u.oid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.collnamespace
 WHERE c.collversion IS NOT NULL
   AND c.collversion <> pg_catalog.pg_collation_actual_version(c.oid)
