SELECT a.view_schema::text,
       a.view_name::text,
       a.hypertable_schema::text,
       a.hypertable_name::text,
       a.materialized_only,
       j.job_id::bigint AS refresh_job_id,
       EXTRACT(EPOCH FROM j.schedule_interval)::float8 AS refresh_interval_s,
       NULLIF(s.last_successful_finish, '-infinity') AS last_successful_finish
  FROM timescaledb_information.continuous_aggregates AS a
  LEFT JOIN timescaledb_information.jobs AS j
    ON j.proc_name = 'policy_refresh_continuous_aggregate'
   AND j.hypertable_schema = a.materialization_hypertable_schema
   AND j.hypertable_name = a.materialization_hypertable_name
  LEFT JOIN timescaledb_information.job_stats AS s ON s.job_id = j.job_id
 ORDER BY a.view_schema, a.view_name
 LIMIT 1000
