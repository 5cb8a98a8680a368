WITH wanted AS MATERIALIZED (
       SELECT i.oid AS indexrelid,
              c.oid AS relid,
              n.nspname AS schemaname,
              c.relname,
              i.relname AS indexrelname,
              i.relpages,
              i.reltuples,
              c.reltuples AS table_reltuples,
              c.relkind AS table_relkind,
              i.reloptions,
              x.indisunique,
              x.indnatts,
              x.indnkeyatts,
              x.indkey,
              x.indclass,
              x.indcollation,
              x.indpred IS NOT NULL AS is_partial,
              x.indexprs IS NOT NULL AS has_expressions
         FROM pg_catalog.pg_class AS i
         JOIN pg_catalog.pg_index AS x ON x.indexrelid = i.oid
         JOIN pg_catalog.pg_class AS c ON c.oid = x.indrelid
         JOIN pg_catalog.pg_namespace AS n ON n.oid = i.relnamespace
        WHERE i.relkind = 'i'
          AND i.relam = 403
          AND i.relpages >= {pages_min}
          AND (i.relpages, i.oid) < ({below_pages}, {below_oid}::oid)
          AND i.relpersistence <> 't'
          AND x.indisvalid
        ORDER BY i.relpages DESC, i.oid DESC
        LIMIT {relations}),
k AS MATERIALIZED (
       SELECT w.*,
              CASE WHEN w.indkey[a.attnum - 1] = 0 THEN w.indexrelname ELSE w.relname END AS statistics_of,
               a.attnum,
               coalesce(h.attname, a.attname) AS attname,
               a.attlen,
               a.attalign::text,
               coalesce(h.attnotnull, false) AS not_null,
               300 * greatest(h.attstattarget, pg_catalog.current_setting('default_statistics_target')::int) AS sample_rows,
               coalesce(nullif(t.typbasetype, 0), t.oid)::bigint AS base_type,
               a.attnum <= w.indnkeyatts
               AND EXISTS (SELECT
                             FROM pg_catalog.pg_opclass AS o
                             JOIN pg_catalog.pg_amproc AS e ON e.amprocfamily = o.opcfamily
                                                           AND e.amproclefttype = o.opcintype
                                                           AND e.amprocrighttype = o.opcintype
                                                           AND e.amprocnum = 4
                            WHERE o.oid = w.indclass[a.attnum - 1]
                              AND (e.amproc <> 'pg_catalog.btvarstrequalimage'::regproc
                                   OR EXISTS (SELECT
                                                FROM pg_catalog.pg_collation AS l
                                               WHERE l.oid = w.indcollation[a.attnum - 1]
                                                 AND l.collisdeterministic))) AS deduplicates,
               CASE
                 WHEN h.attnum IS NOT NULL THEN pg_catalog.has_column_privilege(w.relid, h.attnum, 'SELECT')
                 ELSE pg_catalog.has_table_privilege(w.relid, 'SELECT')
               END AS readable
          FROM wanted AS w
          JOIN pg_catalog.pg_attribute AS a ON a.attrelid = w.indexrelid
          JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
          LEFT JOIN pg_catalog.pg_attribute AS h ON h.attrelid = w.relid
                                                AND h.attnum = w.indkey[a.attnum - 1]
                                                AND h.attnum <> 0)
SELECT k.schemaname,
       k.relname,
       k.indexrelname,
       k.attnum,
       k.relid,
       k.indexrelid,
       k.table_relkind::text,
       k.relpages,
       k.reltuples::float8,
       k.table_reltuples::float8,
       k.reloptions,
       k.indisunique,
       k.is_partial,
       k.indnkeyatts,
       k.indkey::text,
       k.attname,
       k.attlen,
       k.attalign,
       k.not_null,
       k.deduplicates,
       k.readable,
       k.sample_rows,
       s.null_frac::float8,
       s.avg_width,
       s.n_distinct::float8,
       s.correlation::float8,
       s.mcv_count,
       s.mcv_share,
       s.mcv_skew,
       p.sample_width / nullif(p.sample_weight, 0) AS sample_width,
       p.sample_constant,
       p.sample_long / nullif(p.sample_weight, 0) AS sample_long_share,
       CASE WHEN p.sample_weight > 0 THEN ARRAY[(coalesce(p.residue_0, 0) / p.sample_weight)::float4::text,
             (coalesce(p.residue_1, 0) / p.sample_weight)::float4::text,
             (coalesce(p.residue_2, 0) / p.sample_weight)::float4::text,
             (coalesce(p.residue_3, 0) / p.sample_weight)::float4::text,
             (coalesce(p.residue_4, 0) / p.sample_weight)::float4::text,
             (coalesce(p.residue_5, 0) / p.sample_weight)::float4::text,
             (coalesce(p.residue_6, 0) / p.sample_weight)::float4::text,
             (coalesce(p.residue_7, 0) / p.sample_weight)::float4::text] END AS sample_residues
  FROM k
  LEFT JOIN LATERAL (
       SELECT s.schemaname,
              s.tablename,
              s.attname,
              s.null_frac,
              s.avg_width,
              s.n_distinct,
              s.correlation,
              s.most_common_vals,
              s.most_common_freqs,
              s.histogram_bounds,
              pg_catalog.cardinality(s.most_common_freqs)::bigint AS mcv_count,
              f.mcv_share,
              (s.most_common_freqs[1] / nullif(s.most_common_freqs[pg_catalog.cardinality(s.most_common_freqs)], 0))::float8 AS mcv_skew,
              greatest(1 - s.null_frac - coalesce(f.mcv_share, 0), 0)::float8 AS rest,
              pg_catalog.array_length(s.histogram_bounds, 1) AS bounds
         FROM pg_catalog.pg_stats AS s
         LEFT JOIN LATERAL (
              SELECT pg_catalog.sum(q.frequency)::float8 AS mcv_share
                FROM pg_catalog.unnest(s.most_common_freqs) AS q(frequency)) AS f ON k.attlen < 0 OR k.indnatts = 1 AND NOT k.indisunique
        WHERE s.schemaname = k.schemaname
          AND s.tablename = k.statistics_of
          AND s.attname = k.attname
          AND NOT s.inherited
       OFFSET 0) AS s ON true
  LEFT JOIN LATERAL (
       SELECT pg_catalog.sum(v.weight) AS sample_weight,
              pg_catalog.sum(v.weight * v.width) AS sample_width,
              pg_catalog.min(v.width) = pg_catalog.max(v.width) AS sample_constant,
              pg_catalog.sum(v.weight) FILTER (WHERE v.width > 127) AS sample_long,
              pg_catalog.sum(v.weight) FILTER (WHERE v.width % 8 = 0) AS residue_0,
              pg_catalog.sum(v.weight) FILTER (WHERE v.width % 8 = 1) AS residue_1,
              pg_catalog.sum(v.weight) FILTER (WHERE v.width % 8 = 2) AS residue_2,
              pg_catalog.sum(v.weight) FILTER (WHERE v.width % 8 = 3) AS residue_3,
              pg_catalog.sum(v.weight) FILTER (WHERE v.width % 8 = 4) AS residue_4,
              pg_catalog.sum(v.weight) FILTER (WHERE v.width % 8 = 5) AS residue_5,
              pg_catalog.sum(v.weight) FILTER (WHERE v.width % 8 = 6) AS residue_6,
              pg_catalog.sum(v.weight) FILTER (WHERE v.width % 8 = 7) AS residue_7
         FROM (SELECT t.weight,
                      CASE
                        WHEN k.base_type = 2275 THEN pg_catalog.octet_length(t.value) + 1
                        WHEN k.base_type = 17 THEN (pg_catalog.octet_length(t.value) - 2) / 2 + CASE WHEN pg_catalog.octet_length(t.value) <= 254 THEN 1 ELSE 4 END
                        WHEN pg_catalog.octet_length(t.value) <= 126 THEN pg_catalog.octet_length(t.value) + 1
                        ELSE pg_catalog.octet_length(t.value) + 4
                      END AS width
                 FROM (SELECT m.value,
                              m.weight::float8
                         FROM unnest(CASE WHEN k.base_type IN (17, 25, 1042, 1043, 2275) THEN s.most_common_vals::text::text[] END, s.most_common_freqs) AS m(value, weight)
                        WHERE m.value IS NOT NULL
                       UNION ALL
                       SELECT b.value,
                              s.rest / s.bounds
                         FROM pg_catalog.unnest(CASE WHEN k.base_type IN (17, 25, 1042, 1043, 2275) THEN s.histogram_bounds::text::text[] END) AS b(value)) AS t
                UNION ALL
               SELECT m.weight::float8,
                      pg_catalog.pg_column_size(m.value + 0) - 3
                 FROM unnest(CASE WHEN k.base_type = 1700 THEN s.most_common_vals::text::numeric[] END, s.most_common_freqs) AS m(value, weight)
                WHERE k.base_type = 1700
                  AND m.value IS NOT NULL
                UNION ALL
               SELECT s.rest / s.bounds,
                      pg_catalog.pg_column_size(b.value + 0) - 3
                 FROM pg_catalog.unnest(CASE WHEN k.base_type = 1700 THEN s.histogram_bounds::text::numeric[] END) AS b(value)
                WHERE k.base_type = 1700) AS v
        WHERE k.attlen < 0) AS p ON true
 ORDER BY k.relpages DESC, k.indexrelid DESC, k.attnum
