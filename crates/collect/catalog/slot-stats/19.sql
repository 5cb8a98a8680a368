SELECT s.slot_name,
       s.spill_txns,
       s.spill_count,
       s.spill_bytes,
       s.stream_txns,
       s.stream_count,
       s.stream_bytes,
       s.mem_exceeded_count,
       s.total_txns,
       s.total_bytes,
       s.slotsync_skip_count,
       s.slotsync_last_skip,
       s.stats_reset
  FROM pg_catalog.pg_stat_replication_slots AS s
