SELECT s.pid,
       s.datid,
       s.datname,
       s.relid,
       s.command,
       s.type,
       s.bytes_processed,
       s.bytes_total,
       s.tuples_processed,
       s.tuples_excluded
  FROM pg_catalog.pg_stat_progress_copy AS s
