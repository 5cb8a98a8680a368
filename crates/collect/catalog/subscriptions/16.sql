SELECT d.datname,
       s.subname,
       s.relid,
       s.pid,
       s.leader_pid,
       s.subid,
       b.subenabled,
       b.subslotname::text AS subslotname,
       b.subdisableonerr,
       s.received_lsn,
       s.last_msg_send_time,
       s.last_msg_receipt_time,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - s.last_msg_receipt_time)::float8 AS last_msg_receipt_age,
       s.latest_end_lsn,
       s.latest_end_time,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - s.latest_end_time)::float8 AS latest_end_age
  FROM pg_catalog.pg_stat_subscription AS s
  JOIN pg_catalog.pg_subscription AS b ON b.oid = s.subid
  JOIN pg_catalog.pg_database AS d ON d.oid = b.subdbid
 ORDER BY d.datname, s.subname, s.relid NULLS FIRST
 LIMIT 1000
