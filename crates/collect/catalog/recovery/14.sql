SELECT pg_catalog.pg_last_wal_receive_lsn() AS receive_lsn,
       pg_catalog.pg_last_wal_replay_lsn() AS replay_lsn,
       pg_catalog.pg_last_xact_replay_timestamp() AS last_xact_replay_timestamp,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp())::float8 AS last_xact_replay_age,
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_get_wal_replay_pause_state() END AS pause_state,
       c.timeline_id AS checkpoint_timeline_id,
       pg_catalog.current_setting('hot_standby_feedback') AS hot_standby_feedback,
       pg_catalog.current_setting('max_standby_streaming_delay') AS max_standby_streaming_delay
  FROM pg_catalog.pg_control_checkpoint() AS c
