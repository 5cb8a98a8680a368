SELECT 'data' AS purpose,
       '' AS name,
       pg_catalog.current_setting('data_directory') AS path,
       NULL::int AS pid,
       NULL AS value
UNION ALL
SELECT 'log',
       '',
       pg_catalog.current_setting('log_directory'),
       NULL,
       NULL
 WHERE pg_catalog.current_setting('logging_collector')::bool
UNION ALL
SELECT *
  FROM (SELECT 'tablespace',
               t.spcname::text,
               pg_catalog.pg_tablespace_location(t.oid),
               NULL::int,
               NULL
          FROM pg_catalog.pg_tablespace AS t
         WHERE t.spcname NOT IN ('pg_default', 'pg_global')
         ORDER BY t.spcname
         LIMIT 1000) AS tablespaces
UNION ALL
SELECT 'process',
       a.backend_type,
       NULL,
       a.pid,
       NULL
  FROM pg_catalog.pg_stat_activity AS a
 WHERE a.backend_type = 'checkpointer'
UNION ALL
SELECT 'setting',
       s.name,
       NULL,
       NULL,
       pg_catalog.current_setting(s.name)
  FROM (VALUES ('log_line_prefix'), ('log_timezone')) AS s (name)
