SELECT e.extversion::text,
       a.default_version::text,
       pg_catalog.current_setting('timescaledb.max_background_workers', true)::int AS max_background_workers,
       pg_catalog.current_setting('max_worker_processes')::int AS max_worker_processes,
       (SELECT count(*) FROM timescaledb_information.jobs AS j WHERE j.scheduled) AS scheduled_jobs
  FROM pg_catalog.pg_extension AS e
  LEFT JOIN pg_catalog.pg_available_extensions AS a ON a.name = e.extname
 WHERE e.extname = 'timescaledb'
