SELECT pg_catalog.current_setting('summarize_wal') AS summarize_wal,
       s.summarized_tli,
       s.summarized_lsn,
       s.pending_lsn,
       s.summarizer_pid,
       CASE WHEN pg_catalog.pg_is_in_recovery()
            THEN COALESCE(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())
            ELSE pg_catalog.pg_current_wal_lsn()
       END AS current_lsn
  FROM pg_catalog.pg_get_wal_summarizer_state() AS s
