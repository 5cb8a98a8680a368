SELECT j.job_id::bigint,
       j.application_name::text,
       j.proc_name::text,
       j.owner::text,
       j.scheduled,
       EXTRACT(EPOCH FROM j.schedule_interval)::float8 AS schedule_interval_s,
       EXTRACT(EPOCH FROM j.max_runtime)::float8 AS max_runtime_s,
       j.hypertable_schema::text,
       j.hypertable_name::text,
       NULLIF(s.next_start, '-infinity') AS next_start,
       NULLIF(s.last_run_started_at, '-infinity') AS last_run_started_at,
       NULLIF(s.last_successful_finish, '-infinity') AS last_successful_finish,
       s.last_run_status::text,
       s.job_status::text,
       EXTRACT(EPOCH FROM s.last_run_duration)::float8 AS last_run_duration_s,
       s.total_runs::bigint,
       s.total_successes::bigint,
       s.total_failures::bigint
  FROM timescaledb_information.jobs AS j
  LEFT JOIN timescaledb_information.job_stats AS s ON s.job_id = j.job_id
 ORDER BY j.job_id
 LIMIT 5000
