WITH limits AS MATERIALIZED (
  SELECT pg_catalog.current_setting('autovacuum_freeze_max_age')::bigint AS freeze_max_age,
         pg_catalog.current_setting('autovacuum_multixact_freeze_max_age')::bigint AS multixact_freeze_max_age,
         pg_catalog.current_setting('block_size')::bigint AS block_size
), candidates AS MATERIALIZED (
  (SELECT c.oid
     FROM pg_catalog.pg_class AS c
    CROSS JOIN limits AS l
    WHERE c.relkind IN ('r', 'm', 't')
      AND c.relfrozenxid <> '0'::xid
    ORDER BY GREATEST(pg_catalog.age(c.relfrozenxid)::float8 / l.freeze_max_age,
                      pg_catalog.mxid_age(c.relminmxid)::float8 / l.multixact_freeze_max_age) DESC,
             c.relpages DESC
    LIMIT 20)
   UNION
  (SELECT pg_catalog.unnest(ARRAY[c.oid, c.reltoastrelid])
     FROM pg_catalog.pg_class AS c
    WHERE c.reloptions IS NOT NULL
      AND c.reloptions::text LIKE '%freeze_max_age%'
    LIMIT 2000)
)
SELECT n.nspname,
       c.relname,
       c.relid,
       c.relkind,
       c.relpersistence,
       c.toast_of,
       c.toast_of_relid,
       c.frozen_xid_age,
       c.minimum_multixact_age,
       c.freeze_max_age,
       c.multixact_freeze_max_age,
       c.relation_bytes
  FROM (SELECT r.oid AS relid,
               r.relnamespace,
               r.relname,
               r.relkind,
               r.relpersistence,
               pg_catalog.quote_ident(pn.nspname) || '.' || pg_catalog.quote_ident(p.relname) AS toast_of,
               p.oid AS toast_of_relid,
               pg_catalog.age(r.relfrozenxid) AS frozen_xid_age,
               pg_catalog.mxid_age(r.relminmxid) AS minimum_multixact_age,
               LEAST(l.freeze_max_age,
                     (SELECT o.option_value::bigint
                        FROM pg_catalog.pg_options_to_table(coalesce(r.reloptions, p.reloptions)) AS o
                       WHERE o.option_name = 'autovacuum_freeze_max_age')) AS freeze_max_age,
               LEAST(l.multixact_freeze_max_age,
                     (SELECT o.option_value::bigint
                        FROM pg_catalog.pg_options_to_table(coalesce(r.reloptions, p.reloptions)) AS o
                       WHERE o.option_name = 'autovacuum_multixact_freeze_max_age')) AS multixact_freeze_max_age,
               r.relpages::bigint * l.block_size AS relation_bytes
          FROM candidates AS k
          JOIN pg_catalog.pg_class AS r ON r.oid = k.oid
         CROSS JOIN limits AS l
          LEFT JOIN pg_catalog.pg_class AS p
            -- A TOAST table is named after its table, and there is no index by which to find it otherwise.
            ON p.oid = CASE WHEN r.relname ~ '^pg_toast_[0-9]+$' THEN pg_catalog.substr(r.relname, 10)::oid END
               AND p.reltoastrelid = r.oid
          LEFT JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.relnamespace
         WHERE r.relfrozenxid <> '0'::xid) AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 ORDER BY GREATEST(c.frozen_xid_age::float8 / c.freeze_max_age,
                   c.minimum_multixact_age::float8 / c.multixact_freeze_max_age) DESC,
          c.relation_bytes DESC
 LIMIT 20
