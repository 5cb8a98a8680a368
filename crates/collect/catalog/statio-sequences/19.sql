SELECT n.nspname AS schemaname,
       c.relname,
       c.relid,
       c.blks_read,
       c.blks_hit,
       pg_catalog.pg_stat_get_stat_reset_time(c.relid) AS stats_reset
  FROM (SELECT s.oid AS relid,
               s.relname,
               s.relnamespace,
               pg_catalog.pg_stat_get_blocks_fetched(s.oid) - pg_catalog.pg_stat_get_blocks_hit(s.oid) AS blks_read,
               pg_catalog.pg_stat_get_blocks_hit(s.oid) AS blks_hit
          FROM pg_catalog.pg_class AS s
         WHERE s.relkind = 'S') AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.blks_read + c.blks_hit > 0
 ORDER BY c.blks_read DESC, c.relid
 LIMIT 1000
