SELECT d.datname,
       s.subname,
       s.subid,
       s.apply_error_count,
       s.sync_seq_error_count,
       s.sync_table_error_count,
       s.confl_insert_exists,
       s.confl_update_origin_differs,
       s.confl_update_exists,
       s.confl_update_deleted,
       s.confl_update_missing,
       s.confl_delete_origin_differs,
       s.confl_delete_missing,
       s.confl_multiple_unique_conflicts,
       s.stats_reset
  FROM pg_catalog.pg_stat_subscription_stats AS s
  JOIN pg_catalog.pg_subscription AS b ON b.oid = s.subid
  JOIN pg_catalog.pg_database AS d ON d.oid = b.subdbid
