SELECT n.nspname AS schemaname,
       c.relname,
       i.relname AS indexrelname,
       c.oid AS relid,
       i.oid AS indexrelid,
       i.relkind::text,
       a.amname AS access_method,
       c.relkind::text AS table_relkind,
       i.relpersistence::text,
       c.relpages AS table_pages,
       i.relpages,
       i.reltuples::float8,
       i.relpages * pg_catalog.current_setting('block_size')::bigint AS size_bytes,
       i.reloptions,
       x.indisunique,
       x.indisprimary,
       x.indisexclusion,
       x.indisvalid,
       x.indisready,
       x.indislive,
       x.indisreplident,
       x.indisclustered,
       x.indnullsnotdistinct AS nulls_not_distinct,
       x.indnatts,
       x.indnkeyatts,
       x.indkey::text,
       x.indclass::text,
       x.indcollation::text,
       x.indoption::text,
       ARRAY(SELECT k.attname::text
               FROM pg_catalog.pg_attribute AS k
              WHERE k.attrelid = i.oid
              ORDER BY k.attnum) AS key_columns,
       pg_catalog.md5(x.indpred::text) AS predicate_hash,
       pg_catalog.md5(x.indexprs::text) AS expressions_hash,
       (SELECT pg_catalog.min(t.contype::text)
          FROM pg_catalog.pg_constraint AS t
         WHERE t.conrelid = x.indrelid
           AND t.conindid = i.oid) AS constraint_type,
       i.relispartition AS is_partition,
       EXISTS (SELECT
                 FROM pg_catalog.pg_stat_progress_create_index AS p
                WHERE p.datname = pg_catalog.current_database()
                  AND p.relid = c.oid) AS in_progress,
       pg_catalog.pg_stat_get_numscans(i.oid) AS idx_scan,
       pg_catalog.pg_stat_get_lastscan(i.oid) AS last_idx_scan,
       pg_catalog.pg_stat_get_tuples_returned(i.oid) AS idx_tup_read,
       pg_catalog.pg_stat_get_tuples_fetched(i.oid) AS idx_tup_fetch,
       pg_catalog.pg_stat_get_blocks_fetched(i.oid) - pg_catalog.pg_stat_get_blocks_hit(i.oid) AS idx_blks_read,
       pg_catalog.pg_stat_get_blocks_hit(i.oid) AS idx_blks_hit,
       pg_catalog.pg_stat_get_stat_reset_time(i.oid) AS stats_reset
  FROM pg_catalog.pg_index AS x
  JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
  JOIN pg_catalog.pg_class AS c ON c.oid = x.indrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_am AS a ON a.oid = i.relam
 WHERE (i.relpages >= 64 OR NOT x.indisvalid OR NOT x.indisready OR NOT x.indislive)
 ORDER BY i.relpages DESC, i.oid
 LIMIT 10000
