WITH segment AS (
    SELECT f.name,
           f.size,
           (('x' || pg_catalog.substr(f.name, 9, 8))::bit(32)::bigint << 32)
           + ('x' || pg_catalog.substr(f.name, 17, 8))::bit(32)::bigint * b.segment_bytes AS lsn,
           b.segment_bytes,
           b.current_lsn
      FROM pg_catalog.pg_ls_waldir() AS f,
           (SELECT s.setting::bigint AS segment_bytes,
                   (CASE WHEN pg_catalog.pg_is_in_recovery()
                         THEN COALESCE(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())
                         ELSE pg_catalog.pg_current_wal_lsn()
                    END - '0/0'::pg_catalog.pg_lsn)::bigint AS current_lsn
              FROM pg_catalog.pg_settings AS s
             WHERE s.name = 'wal_segment_size') AS b
     WHERE f.name ~ '^[0-9A-F]{24}$'
),
wal AS (
    SELECT pg_catalog.count(*) AS segments,
           pg_catalog.sum(g.size)::bigint AS segment_bytes,
           pg_catalog.min(g.segment_bytes) AS segment_size,
           pg_catalog.count(*) FILTER (WHERE g.lsn > g.current_lsn) AS recycled_segments,
           pg_catalog.min(g.lsn) AS oldest_lsn,
           pg_catalog.max(g.current_lsn) AS current_lsn
      FROM segment AS g
),
archive AS (
    SELECT pg_catalog.count(*) FILTER (WHERE f.name LIKE '%.ready') AS ready_files,
           pg_catalog.count(*) FILTER (WHERE f.name LIKE '%.done') AS done_files,
           pg_catalog.min(f.modification) FILTER (WHERE f.name LIKE '%.ready') AS oldest_ready,
           pg_catalog.min(f.name) FILTER (WHERE f.name LIKE '%.ready') AS first_ready
      FROM pg_catalog.pg_ls_archive_statusdir() AS f
),
temporary AS (
    SELECT pg_catalog.count(*) AS temporary_files,
           COALESCE(pg_catalog.sum(f.size), 0)::bigint AS temporary_bytes
      FROM pg_catalog.pg_tablespace AS t,
           pg_catalog.pg_ls_tmpdir(t.oid) AS f
     WHERE t.spcname <> 'pg_global'
)
SELECT w.segments,
       w.segment_bytes,
       w.segment_size,
       w.recycled_segments,
       w.oldest_lsn,
       w.current_lsn,
       a.ready_files,
       a.done_files,
       a.oldest_ready,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - a.oldest_ready)::float8 AS oldest_ready_age,
       a.first_ready,
       t.temporary_files,
       t.temporary_bytes
  FROM wal AS w,
       archive AS a,
       temporary AS t
