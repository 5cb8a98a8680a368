SELECT s.pid,
       s.datid,
       s.datname,
       s.relid,
       s.phase,
       s.sample_blks_total,
       s.sample_blks_scanned,
       s.ext_stats_total,
       s.ext_stats_computed,
       s.child_tables_total,
       s.child_tables_done,
       s.current_child_table_relid,
       s.delay_time
  FROM pg_catalog.pg_stat_progress_analyze AS s
