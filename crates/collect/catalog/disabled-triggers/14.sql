SELECT n.nspname AS schemaname,
       c.relname,
       t.tgisinternal AS internal,
       pg_catalog.array_agg(t.tgname::text ORDER BY t.tgname) AS triggers,
       pg_catalog.array_agg(DISTINCT k.conname::text) FILTER (WHERE k.conname IS NOT NULL) AS constraints
  FROM pg_catalog.pg_trigger AS t
  JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_constraint AS k ON k.oid = t.tgconstraint
 WHERE t.tgenabled = 'D'
 GROUP BY n.nspname, c.relname, t.tgisinternal
 ORDER BY n.nspname, c.relname, t.tgisinternal
 LIMIT 1000
