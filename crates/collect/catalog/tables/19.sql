WITH wanted AS MATERIALIZED (
       SELECT pg_catalog.array_agg(k.oid) AS tables,
              pg_catalog.array_agg(k.oid) || pg_catalog.array_agg(k.reltoastrelid) AS tables_and_toast
         FROM pg_catalog.pg_class AS k
        WHERE k.relkind = 'p'
           OR k.relkind IN ('r', 'm', 't')
              AND (k.relpages >= 64
                   OR pg_catalog.pg_stat_get_live_tuples(k.oid) + pg_catalog.pg_stat_get_dead_tuples(k.oid) >= 1000)),
     owners AS MATERIALIZED (
       SELECT o.reltoastrelid,
              o.oid AS toast_of_relid,
              pg_catalog.format('%I.%I', n.nspname, o.relname) AS toast_of,
              o.reloptions
         FROM pg_catalog.pg_class AS o
         JOIN pg_catalog.pg_namespace AS n ON n.oid = o.relnamespace
        WHERE o.relkind IN ('r', 'm')
          AND o.reltoastrelid IN (SELECT pg_catalog.unnest(w.tables) FROM wanted AS w)),
     index_sums AS MATERIALIZED (
       SELECT i.indrelid,
              pg_catalog.count(*) AS index_count,
              pg_catalog.bool_or(i.indisprimary) AS has_primary_key,
              pg_catalog.bool_or(i.indisreplident) AS has_replica_identity,
              pg_catalog.sum(pg_catalog.pg_stat_get_numscans(i.indexrelid))::bigint AS idx_scan,
              pg_catalog.max(pg_catalog.pg_stat_get_lastscan(i.indexrelid)) AS last_idx_scan,
              pg_catalog.sum(pg_catalog.pg_stat_get_tuples_fetched(i.indexrelid))::bigint AS idx_tup_fetch,
              pg_catalog.sum(pg_catalog.pg_stat_get_blocks_fetched(i.indexrelid) - pg_catalog.pg_stat_get_blocks_hit(i.indexrelid))::bigint AS idx_blks_read,
              pg_catalog.sum(pg_catalog.pg_stat_get_blocks_hit(i.indexrelid))::bigint AS idx_blks_hit
         FROM pg_catalog.pg_index AS i
        WHERE i.indrelid IN (SELECT pg_catalog.unnest(w.tables_and_toast) FROM wanted AS w)
        GROUP BY i.indrelid)
SELECT n.nspname AS schemaname,
       c.relname,
       c.oid AS relid,
       c.relkind::text,
       c.relpersistence::text,
       c.relispartition,
       c.relreplident::text,
       c.relnatts,
       c.relhastriggers,
       m.toast_of,
       m.toast_of_relid,
       coalesce(c.reloptions, m.reloptions) AS reloptions,
       c.relpages,
       c.reltuples::float8,
       c.relallvisible,
       c.relallfrozen,
       c.relpages * pg_catalog.current_setting('block_size')::bigint AS size_bytes,
       CASE WHEN c.relfrozenxid <> '0'::xid THEN pg_catalog.age(c.relfrozenxid) END AS frozen_xid_age,
       CASE WHEN c.relminmxid <> '0'::xid THEN pg_catalog.mxid_age(c.relminmxid) END AS minimum_multixact_age,
       coalesce(x.index_count, 0) AS index_count,
       coalesce(x.has_primary_key, false) AS has_primary_key,
       coalesce(x.has_replica_identity, false) AS has_replica_identity,
       pg_catalog.pg_stat_get_numscans(c.oid) AS seq_scan,
       pg_catalog.pg_stat_get_lastscan(c.oid) AS last_seq_scan,
       pg_catalog.pg_stat_get_tuples_returned(c.oid) AS seq_tup_read,
       x.idx_scan,
       x.last_idx_scan,
       x.idx_tup_fetch + pg_catalog.pg_stat_get_tuples_fetched(c.oid) AS idx_tup_fetch,
       pg_catalog.pg_stat_get_tuples_inserted(c.oid) AS n_tup_ins,
       pg_catalog.pg_stat_get_tuples_updated(c.oid) AS n_tup_upd,
       pg_catalog.pg_stat_get_tuples_deleted(c.oid) AS n_tup_del,
       pg_catalog.pg_stat_get_tuples_hot_updated(c.oid) AS n_tup_hot_upd,
       pg_catalog.pg_stat_get_tuples_newpage_updated(c.oid) AS n_tup_newpage_upd,
       pg_catalog.pg_stat_get_live_tuples(c.oid) AS n_live_tup,
       pg_catalog.pg_stat_get_dead_tuples(c.oid) AS n_dead_tup,
       pg_catalog.pg_stat_get_mod_since_analyze(c.oid) AS n_mod_since_analyze,
       pg_catalog.pg_stat_get_ins_since_vacuum(c.oid) AS n_ins_since_vacuum,
       pg_catalog.pg_stat_get_last_vacuum_time(c.oid) AS last_vacuum,
       pg_catalog.pg_stat_get_last_autovacuum_time(c.oid) AS last_autovacuum,
       pg_catalog.pg_stat_get_last_analyze_time(c.oid) AS last_analyze,
       pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid) AS last_autoanalyze,
       pg_catalog.pg_stat_get_vacuum_count(c.oid) AS vacuum_count,
       pg_catalog.pg_stat_get_autovacuum_count(c.oid) AS autovacuum_count,
       pg_catalog.pg_stat_get_analyze_count(c.oid) AS analyze_count,
       pg_catalog.pg_stat_get_autoanalyze_count(c.oid) AS autoanalyze_count,
       pg_catalog.pg_stat_get_total_vacuum_time(c.oid) AS total_vacuum_time,
       pg_catalog.pg_stat_get_total_autovacuum_time(c.oid) AS total_autovacuum_time,
       pg_catalog.pg_stat_get_total_analyze_time(c.oid) AS total_analyze_time,
       pg_catalog.pg_stat_get_total_autoanalyze_time(c.oid) AS total_autoanalyze_time,
       pg_catalog.pg_stat_get_blocks_fetched(c.oid) - pg_catalog.pg_stat_get_blocks_hit(c.oid) AS heap_blks_read,
       pg_catalog.pg_stat_get_blocks_hit(c.oid) AS heap_blks_hit,
       x.idx_blks_read,
       x.idx_blks_hit,
       CASE WHEN c.reltoastrelid <> 0 THEN pg_catalog.pg_stat_get_blocks_fetched(c.reltoastrelid) - pg_catalog.pg_stat_get_blocks_hit(c.reltoastrelid) END AS toast_blks_read,
       CASE WHEN c.reltoastrelid <> 0 THEN pg_catalog.pg_stat_get_blocks_hit(c.reltoastrelid) END AS toast_blks_hit,
       t.idx_blks_read AS tidx_blks_read,
       t.idx_blks_hit AS tidx_blks_hit,
       pg_catalog.pg_stat_get_stat_reset_time(c.oid) AS stats_reset
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN owners AS m ON m.reltoastrelid = c.oid
  LEFT JOIN index_sums AS x ON x.indrelid = c.oid
  LEFT JOIN index_sums AS t ON t.indrelid = c.reltoastrelid
 WHERE c.oid = ANY ((SELECT w.tables FROM wanted AS w)::oid[])
 ORDER BY c.relpages DESC, c.oid
 LIMIT 10000
