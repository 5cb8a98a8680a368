-- Before 2.20 jobs name the hypertable under the view, since then the view.
WITH aggregates AS MATERIALIZED (
  SELECT a.view_schema,
         a.view_name,
         a.materialized_only,
         a.materialization_hypertable_schema,
         a.materialization_hypertable_name
    FROM timescaledb_information.continuous_aggregates AS a
), names AS (
  SELECT a.view_schema,
         a.view_name,
         a.view_schema AS job_schema,
         a.view_name AS job_name
    FROM aggregates AS a
   UNION ALL
  SELECT a.view_schema,
         a.view_name,
         a.materialization_hypertable_schema,
         a.materialization_hypertable_name
    FROM aggregates AS a
), refreshes AS (
  SELECT DISTINCT ON (j.job_id)
         n.view_schema,
         n.view_name,
         j.job_id,
         j.scheduled,
         j.schedule_interval,
         s.job_status,
         s.last_run_status,
         s.last_run_started_at,
         s.last_successful_finish
    FROM timescaledb_information.jobs AS j
    JOIN names AS n ON n.job_schema = j.hypertable_schema AND n.job_name = j.hypertable_name
    LEFT JOIN timescaledb_information.job_stats AS s ON s.job_id = j.job_id
   WHERE j.proc_name = 'policy_refresh_continuous_aggregate'
   ORDER BY j.job_id,
            (s.job_status = 'Running') DESC
)
SELECT a.view_schema::text AS view_schema,
       a.view_name::text AS view_name,
       a.materialized_only,
       r.job_id,
       r.scheduled,
       EXTRACT(EPOCH FROM r.schedule_interval)::float8 AS schedule_interval,
       r.job_status,
       r.last_run_status,
       CASE WHEN pg_catalog.isfinite(r.last_run_started_at) THEN r.last_run_started_at END AS last_run_started_at,
       CASE WHEN pg_catalog.isfinite(r.last_successful_finish) THEN r.last_successful_finish END AS last_successful_finish
  FROM aggregates AS a
  LEFT JOIN refreshes AS r ON r.view_schema = a.view_schema AND r.view_name = a.view_name
 ORDER BY r.last_successful_finish NULLS FIRST,
          a.view_schema,
          a.view_name
 LIMIT 2000
