SELECT p.gid,
       p.database,
       p.owner,
       p.prepared,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - p.prepared)::float8 AS age_seconds,
       p.transaction::text::bigint AS transaction,
       pg_catalog.age(p.transaction) AS transaction_age
  FROM pg_catalog.pg_prepared_xacts AS p
 ORDER BY p.prepared
 LIMIT 1000
