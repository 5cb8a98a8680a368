SELECT s.checkpoints_timed AS num_timed,
       s.checkpoints_req AS num_requested,
       s.checkpoint_write_time AS write_time,
       s.checkpoint_sync_time AS sync_time,
       s.buffers_checkpoint AS buffers_written,
       c.checkpoint_time,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - c.checkpoint_time)::float8 AS checkpoint_age,
       c.redo_lsn,
       c.timeline_id,
       s.stats_reset
  FROM pg_catalog.pg_stat_bgwriter AS s,
       pg_catalog.pg_control_checkpoint() AS c
