SELECT s.pid,
       s.phase,
       s.backup_total,
       s.backup_streamed,
       s.tablespaces_total,
       s.tablespaces_streamed,
       s.backup_type
  FROM pg_catalog.pg_stat_progress_basebackup AS s
