WITH held AS MATERIALIZED (
  SELECT l.virtualtransaction,
         l.locktype,
         l.relation,
         l.transactionid,
         l.granted
    FROM pg_catalog.pg_locks AS l
   WHERE NOT l.granted
      OR l.pid IS NULL
)
SELECT p.gid,
       p.owner,
       p.database,
       p.prepared
  FROM pg_catalog.pg_prepared_xacts AS p
 WHERE EXISTS (SELECT
                 FROM held AS x
                WHERE NOT x.granted
                  AND (x.transactionid = p.transaction
                       OR EXISTS (SELECT
                                    FROM held AS y
                                    JOIN held AS z ON z.virtualtransaction = y.virtualtransaction
                                   WHERE y.granted
                                     AND y.relation = x.relation
                                     AND z.granted
                                     AND z.locktype = 'transactionid'
                                     AND z.transactionid = p.transaction)))
 ORDER BY p.prepared
 LIMIT 100
