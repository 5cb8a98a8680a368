SELECT i.dealloc,
       s.entries,
       s.hidden,
       s.calls,
       s.total_exec_time,
       s.total_plan_time,
       s.shared_blks_read,
       s.temp_blks_written,
       s.wal_bytes,
       i.stats_reset
  FROM {schema}.pg_stat_statements_info() AS i
 CROSS JOIN (SELECT pg_catalog.count(*) AS entries,
                    pg_catalog.count(*) FILTER (WHERE queryid IS NULL) AS hidden,
                    coalesce(pg_catalog.sum(calls), 0)::float8 AS calls,
                    coalesce(pg_catalog.sum(total_exec_time), 0) AS total_exec_time,
                    coalesce(pg_catalog.sum(total_plan_time), 0) AS total_plan_time,
                    coalesce(pg_catalog.sum(shared_blks_read), 0)::float8 AS shared_blks_read,
                    coalesce(pg_catalog.sum(temp_blks_written), 0)::float8 AS temp_blks_written,
                    coalesce(pg_catalog.sum(wal_bytes), 0)::float8 AS wal_bytes
               FROM {schema}.pg_stat_statements(false)) AS s
