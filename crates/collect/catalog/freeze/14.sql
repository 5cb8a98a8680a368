SELECT n.nspname,
       c.relname,
       c.relkind,
       c.relpersistence,
       c.toast_of,
       c.frozen_xid_age,
       c.minimum_multixact_age,
       c.freeze_max_age,
       c.multixact_freeze_max_age,
       c.relation_bytes
  FROM (SELECT r.relnamespace,
               r.relname,
               r.relkind,
               r.relpersistence,
               pg_catalog.quote_ident(pn.nspname) || '.' || pg_catalog.quote_ident(p.relname) AS toast_of,
               pg_catalog.age(r.relfrozenxid) AS frozen_xid_age,
               pg_catalog.mxid_age(r.relminmxid) AS minimum_multixact_age,
               LEAST(l.freeze_max_age,
                     CASE WHEN r.reloptions IS NOT NULL OR p.reloptions IS NOT NULL
                          THEN (SELECT o.option_value::bigint
                                  FROM pg_catalog.pg_options_to_table(coalesce(r.reloptions, p.reloptions)) AS o
                                 WHERE o.option_name = 'autovacuum_freeze_max_age')
                      END) AS freeze_max_age,
               LEAST(l.multixact_freeze_max_age,
                     CASE WHEN r.reloptions IS NOT NULL OR p.reloptions IS NOT NULL
                          THEN (SELECT o.option_value::bigint
                                  FROM pg_catalog.pg_options_to_table(coalesce(r.reloptions, p.reloptions)) AS o
                                 WHERE o.option_name = 'autovacuum_multixact_freeze_max_age')
                      END) AS multixact_freeze_max_age,
               r.relpages::bigint * l.block_size AS relation_bytes
          FROM pg_catalog.pg_class AS r
         CROSS JOIN (SELECT pg_catalog.current_setting('autovacuum_freeze_max_age')::bigint AS freeze_max_age,
                            pg_catalog.current_setting('autovacuum_multixact_freeze_max_age')::bigint AS multixact_freeze_max_age,
                            pg_catalog.current_setting('block_size')::bigint AS block_size) AS l
          LEFT JOIN pg_catalog.pg_class AS p ON r.relkind = 't' AND p.reltoastrelid = r.oid
          LEFT JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.relnamespace
         WHERE r.relkind IN ('r', 'm', 't')
           AND r.relfrozenxid <> '0'::xid) AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 ORDER BY GREATEST(c.frozen_xid_age::float8 / c.freeze_max_age,
                   c.minimum_multixact_age::float8 / c.multixact_freeze_max_age) DESC,
          c.relation_bytes DESC
 LIMIT 20
