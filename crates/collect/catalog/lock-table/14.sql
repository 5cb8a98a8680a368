WITH held AS MATERIALIZED (
  SELECT l.locktype,
         l.database,
         l.relation,
         l.page,
         l.tuple,
         l.virtualxid,
         l.transactionid,
         l.classid,
         l.objid,
         l.objsubid,
         l.mode,
         l.granted,
         l.fastpath
    FROM pg_catalog.pg_locks AS l
   WHERE l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
)
SELECT (SELECT count(*)
          FROM (SELECT DISTINCT h.locktype, h.database, h.relation, h.page, h.tuple, h.virtualxid, h.transactionid::text,
                       h.classid, h.objid, h.objsubid
                  FROM held AS h
                 WHERE NOT h.fastpath
                   AND h.mode <> 'SIReadLock') AS e) AS entries,
       s.max_locks_per_transaction * s.processes AS capacity,
       (SELECT count(*) FROM held) AS locks,
       (SELECT count(*) FROM held AS h WHERE h.fastpath) AS fast_path,
       (SELECT count(*) FROM held AS h WHERE NOT h.granted) AS waiting,
       (SELECT count(*) FROM held AS h WHERE h.locktype = 'advisory') AS advisory,
       (SELECT count(*) FROM held AS h WHERE h.mode = 'AccessExclusiveLock') AS access_exclusive,
       (SELECT count(*) FROM held AS h WHERE h.mode = 'SIReadLock') AS predicate,
       s.max_locks_per_transaction
  FROM (SELECT pg_catalog.current_setting('max_locks_per_transaction')::bigint AS max_locks_per_transaction,
               pg_catalog.current_setting('max_connections')::bigint
               + pg_catalog.current_setting('max_prepared_transactions')::bigint
               + pg_catalog.current_setting('max_worker_processes')::bigint
               + pg_catalog.current_setting('max_wal_senders')::bigint
               + coalesce(pg_catalog.current_setting('autovacuum_worker_slots', true),
                          pg_catalog.current_setting('autovacuum_max_workers'))::bigint
               + 1 AS processes) AS s
