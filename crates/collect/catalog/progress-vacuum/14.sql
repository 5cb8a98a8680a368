SELECT s.pid,
       s.datid,
       s.datname,
       s.relid,
       s.phase,
       s.heap_blks_total,
       s.heap_blks_scanned,
       s.heap_blks_vacuumed,
       s.index_vacuum_count,
       s.max_dead_tuples,
       s.num_dead_tuples
  FROM pg_catalog.pg_stat_progress_vacuum AS s
