SELECT pg_catalog.clock_timestamp() AS server_time
