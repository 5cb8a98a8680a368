SELECT s.pid,
       s.datid,
       s.datname,
       s.relid,
       s.command,
       s.phase,
       s.cluster_index_relid,
       s.heap_tuples_scanned,
       s.heap_tuples_written,
       s.heap_blks_total,
       s.heap_blks_scanned,
       s.index_rebuild_count
  FROM pg_catalog.pg_stat_progress_cluster AS s
