SELECT (SELECT count(*) FROM pg_catalog.pg_stat_activity AS a WHERE a.backend_type = 'client backend') AS client_backends,
       (SELECT sum(CASE s.name WHEN 'max_connections' THEN s.setting::bigint ELSE - s.setting::bigint END)
          FROM pg_catalog.pg_settings AS s
         WHERE s.name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections'))::bigint
       AS usable_connections
