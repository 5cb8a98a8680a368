SELECT s.subname,
       r.srsubstate::text AS srsubstate,
       pg_catalog.count(*) AS tables
  FROM pg_catalog.pg_subscription_rel AS r
  JOIN pg_catalog.pg_subscription AS s ON s.oid = r.srsubid
 GROUP BY s.subname, r.srsubstate
