WITH wanted AS MATERIALIZED (
       SELECT c.oid AS relid,
              n.nspname AS schemaname,
              c.relname,
              c.relpages,
              c.reltuples,
              c.relnatts,
              c.reloptions
         FROM pg_catalog.pg_class AS c
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
         JOIN pg_catalog.pg_am AS m ON m.oid = c.relam
        WHERE c.relkind IN ('r', 'm')
          AND c.relpages >= {pages_min}
          AND (c.relpages, c.oid) < ({below_pages}, {below_oid}::oid)
          AND c.relpersistence <> 't'
          AND m.amname = 'heap'
        ORDER BY c.relpages DESC, c.oid DESC
        LIMIT {relations})
SELECT k.schemaname,
       k.relname,
       k.attnum,
       k.relid,
       k.relpages,
       k.reltuples::float8,
       k.relnatts,
       k.reloptions,
       k.attname,
       k.attisdropped,
       k.attlen,
       k.attalign,
       k.not_null,
       k.readable,
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
  FROM (SELECT w.*,
               a.attnum,
               a.attname,
               a.attisdropped,
               a.attlen,
               a.attalign::text,
               a.attnotnull AS not_null,
               coalesce(nullif(t.typbasetype, 0), t.oid)::bigint AS base_type,
               a.attisdropped OR pg_catalog.has_column_privilege(w.relid, a.attnum, 'SELECT') AS readable
          FROM wanted AS w
          JOIN pg_catalog.pg_attribute AS a ON a.attrelid = w.relid AND a.attnum > 0
          LEFT JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid) AS k
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
                FROM pg_catalog.unnest(s.most_common_freqs) AS q(frequency)) AS f ON k.attlen < 0
        WHERE s.schemaname = k.schemaname
          AND s.tablename = k.relname
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
 ORDER BY k.relpages DESC, k.relid DESC, k.attnum
