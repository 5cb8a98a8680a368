-- Times of "-infinity" mean "not yet" and are NULL here. Before 2.23 a job that never ran is not in job_stats.
WITH stats AS (
  SELECT DISTINCT ON (s.job_id)
         s.job_id,
         s.job_status,
         s.last_run_status,
         s.last_run_started_at,
         s.last_successful_finish,
         s.last_run_duration,
         s.total_runs,
         s.total_successes,
         s.total_failures
    FROM timescaledb_information.job_stats AS s
   ORDER BY s.job_id,
            (s.job_status = 'Running') DESC
)
SELECT j.job_id,
       j.application_name::text AS application_name,
       j.proc_schema::text AS proc_schema,
       j.proc_name::text AS proc_name,
       j.owner::text AS owner,
       j.hypertable_schema::text AS hypertable_schema,
       j.hypertable_name::text AS hypertable_name,
       j.scheduled,
       EXTRACT(EPOCH FROM j.schedule_interval)::float8 AS schedule_interval,
       EXTRACT(EPOCH FROM j.max_runtime)::float8 AS max_runtime,
       j.max_retries,
       EXTRACT(EPOCH FROM j.retry_period)::float8 AS retry_period,
       s.job_status,
       s.last_run_status,
       CASE WHEN pg_catalog.isfinite(s.last_run_started_at) THEN s.last_run_started_at END AS last_run_started_at,
       CASE WHEN pg_catalog.isfinite(s.last_successful_finish) THEN s.last_successful_finish END AS last_successful_finish,
       -- Both times are finite whenever the view gives a duration, except after a crash.
       CASE WHEN pg_catalog.isfinite(s.last_run_started_at) THEN EXTRACT(EPOCH FROM s.last_run_duration)::float8 END AS last_run_duration,
       CASE WHEN pg_catalog.isfinite(j.next_start) THEN j.next_start END AS next_start,
       s.total_runs,
       s.total_successes,
       s.total_failures,
       b.total_crashes,
       b.consecutive_failures,
       b.consecutive_crashes
  FROM timescaledb_information.jobs AS j
  LEFT JOIN stats AS s ON s.job_id = j.job_id
  LEFT JOIN _timescaledb_internal.bgw_job_stat AS b ON b.job_id = j.job_id
 ORDER BY coalesce(b.consecutive_failures, 0) + coalesce(b.consecutive_crashes, 0) DESC,
          j.next_start,
          j.job_id
 LIMIT 5000
