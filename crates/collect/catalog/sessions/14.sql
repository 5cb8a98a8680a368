SELECT s.client_backends,
       s.active,
       s.idle,
       s.idle_in_transaction,
       s.idle_in_transaction_aborted,
       s.fastpath_function_call,
       s.starting,
       s.disabled,
       s.hidden,
       s.waiting_lock,
       s.waiting_lwlock,
       s.waiting_io,
       s.waiting_client,
       s.waiting_ipc,
       s.waiting_other,
       l.max_connections - l.superuser_reserved_connections - l.reserved_connections AS usable_connections,
       l.max_connections,
       l.superuser_reserved_connections,
       l.reserved_connections
  FROM (SELECT count(*) FILTER (WHERE a.backend_type = 'client backend') AS client_backends,
               count(*) FILTER (WHERE a.foreign_client AND a.state = 'active') AS active,
               count(*) FILTER (WHERE a.foreign_client AND a.state = 'idle') AS idle,
               count(*) FILTER (WHERE a.foreign_client AND a.state = 'idle in transaction') AS idle_in_transaction,
               count(*) FILTER (WHERE a.foreign_client AND a.state = 'idle in transaction (aborted)') AS idle_in_transaction_aborted,
               count(*) FILTER (WHERE a.foreign_client AND a.state = 'fastpath function call') AS fastpath_function_call,
               count(*) FILTER (WHERE a.foreign_client AND a.state = 'starting') AS starting,
               count(*) FILTER (WHERE a.foreign_client AND a.state = 'disabled') AS disabled,
               count(*) FILTER (WHERE a.query = '<insufficient privilege>') AS hidden,
               count(*) FILTER (WHERE a.foreign_client AND a.state = 'active' AND a.wait_event_type = 'Lock') AS waiting_lock,
               count(*) FILTER (WHERE a.foreign_client AND a.state = 'active' AND a.wait_event_type = 'LWLock') AS waiting_lwlock,
               count(*) FILTER (WHERE a.foreign_client AND a.state = 'active' AND a.wait_event_type = 'IO') AS waiting_io,
               count(*) FILTER (WHERE a.foreign_client AND a.state = 'active' AND a.wait_event_type = 'Client') AS waiting_client,
               count(*) FILTER (WHERE a.foreign_client AND a.state = 'active' AND a.wait_event_type = 'IPC') AS waiting_ipc,
               count(*) FILTER (WHERE a.foreign_client AND a.state = 'active'
                                  AND a.wait_event_type NOT IN ('Lock', 'LWLock', 'IO', 'Client', 'IPC')) AS waiting_other
          FROM (SELECT b.*,
                       b.backend_type = 'client backend'
                       AND b.pid <> pg_catalog.pg_backend_pid()
                       AND b.application_name NOT LIKE 'pawang:%' AS foreign_client
                  FROM pg_catalog.pg_stat_activity AS b) AS a) AS s
 CROSS JOIN (SELECT pg_catalog.current_setting('max_connections')::bigint AS max_connections,
                    pg_catalog.current_setting('superuser_reserved_connections')::bigint AS superuser_reserved_connections,
                    coalesce(pg_catalog.current_setting('reserved_connections', true), '0')::bigint AS reserved_connections) AS l
