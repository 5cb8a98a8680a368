SELECT t.evtname,
       t.evtevent,
       t.evtenabled::text,
       o.rolname AS owner,
       pg_catalog.format('%I.%I', n.nspname, p.proname) AS function
  FROM pg_catalog.pg_event_trigger AS t
  JOIN pg_catalog.pg_proc AS p ON p.oid = t.evtfoid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
  LEFT JOIN pg_catalog.pg_roles AS o ON o.oid = t.evtowner
 ORDER BY t.evtname
 LIMIT 1000
