-- The names of processes are visible to every role, their types are not.
SELECT a.schedulers,
       a.launchers,
       j.scheduled_jobs,
       j.running_jobs,
       j.waiting_jobs,
       j.waiting_since,
       pg_catalog.current_setting('timescaledb.restoring', true)::boolean AS restoring,
       pg_catalog.current_setting('timescaledb.max_background_workers', true)::bigint AS max_background_workers,
       pg_catalog.current_setting('max_worker_processes')::bigint AS max_worker_processes
  FROM (SELECT pg_catalog.count(*) FILTER (WHERE p.datname = pg_catalog.current_database()
                                             AND p.application_name = 'TimescaleDB Background Worker Scheduler') AS schedulers,
               pg_catalog.count(*) FILTER (WHERE p.application_name = 'TimescaleDB Background Worker Launcher') AS launchers
          FROM pg_catalog.pg_stat_activity AS p) AS a
 CROSS JOIN (SELECT pg_catalog.count(DISTINCT b.job_id) FILTER (WHERE b.scheduled) AS scheduled_jobs,
                    pg_catalog.count(DISTINCT b.job_id) FILTER (WHERE s.job_status = 'Running') AS running_jobs,
                    pg_catalog.count(DISTINCT b.job_id) FILTER (WHERE b.scheduled
                                                                  AND s.job_status IS DISTINCT FROM 'Running'
                                                                  AND pg_catalog.isfinite(b.next_start)
                                                                  AND b.next_start < pg_catalog.now() - '2 min'::interval) AS waiting_jobs,
                    pg_catalog.min(b.next_start) FILTER (WHERE b.scheduled
                                                           AND s.job_status IS DISTINCT FROM 'Running'
                                                           AND pg_catalog.isfinite(b.next_start)
                                                           AND b.next_start < pg_catalog.now() - '2 min'::interval) AS waiting_since
               FROM timescaledb_information.jobs AS b
               LEFT JOIN timescaledb_information.job_stats AS s ON s.job_id = b.job_id) AS j
