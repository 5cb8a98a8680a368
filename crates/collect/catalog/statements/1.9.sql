WITH s AS MATERIALIZED (
        SELECT pg_catalog.row_number() OVER () AS number,
               p.userid,
               p.dbid,
               p.toplevel,
               p.queryid,
               p.plans,
               p.total_plan_time,
               p.min_plan_time,
               p.max_plan_time,
               p.mean_plan_time,
               p.stddev_plan_time,
               p.calls,
               p.total_exec_time,
               p.min_exec_time,
               p.max_exec_time,
               p.mean_exec_time,
               p.stddev_exec_time,
               p.rows,
               p.shared_blks_hit,
               p.shared_blks_read,
               p.shared_blks_dirtied,
               p.shared_blks_written,
               p.local_blks_hit,
               p.local_blks_read,
               p.local_blks_dirtied,
               p.local_blks_written,
               p.temp_blks_read,
               p.temp_blks_written,
               p.blk_read_time,
               p.blk_write_time,
               p.wal_records,
               p.wal_fpi,
               p.wal_bytes
          FROM {schema}.pg_stat_statements(false) AS p)
SELECT coalesce(d.datname::text, s.dbid::text) AS datname,
       coalesce(a.rolname::text, s.userid::text) AS rolname,
       s.userid,
       s.dbid,
       s.toplevel,
       s.queryid,
       s.plans,
       s.total_plan_time,
       s.min_plan_time,
       s.max_plan_time,
       s.mean_plan_time,
       s.stddev_plan_time,
       s.calls,
       s.total_exec_time,
       s.min_exec_time,
       s.max_exec_time,
       s.mean_exec_time,
       s.stddev_exec_time,
       s.rows,
       s.shared_blks_hit,
       s.shared_blks_read,
       s.shared_blks_dirtied,
       s.shared_blks_written,
       s.local_blks_hit,
       s.local_blks_read,
       s.local_blks_dirtied,
       s.local_blks_written,
       s.temp_blks_read,
       s.temp_blks_written,
       s.blk_read_time,
       s.blk_write_time,
       s.wal_records,
       s.wal_fpi,
       s.wal_bytes::float8 AS wal_bytes
  FROM s
  LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.dbid
  LEFT JOIN pg_catalog.pg_roles AS a ON a.oid = s.userid
 WHERE s.number IN (
        (SELECT s.number FROM s ORDER BY s.total_exec_time + s.total_plan_time DESC LIMIT 100)
          UNION
        (SELECT s.number FROM s ORDER BY s.calls DESC LIMIT 100)
          UNION
        (SELECT s.number FROM s ORDER BY s.shared_blks_read DESC LIMIT 100)
          UNION
        (SELECT s.number FROM s ORDER BY s.temp_blks_written DESC LIMIT 100)
          UNION
        (SELECT s.number FROM s ORDER BY s.wal_bytes DESC LIMIT 100))
