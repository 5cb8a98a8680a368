SELECT s.promote_triggered,
       s.last_replayed_read_lsn,
       s.last_replayed_end_lsn,
       s.last_replayed_tli,
       s.replay_end_lsn,
       s.replay_end_tli,
       s.recovery_last_xact_time,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - s.recovery_last_xact_time)::float8 AS recovery_last_xact_age,
       s.current_chunk_start_time,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - s.current_chunk_start_time)::float8 AS current_chunk_start_age,
       s.pause_state
  FROM pg_catalog.pg_stat_recovery AS s
