-- Three years of invented data, the same at every run.

-- A standby was to follow, and never came: its slot keeps the WAL of all that is written from here on.
SELECT pg_create_physical_replication_slot('mart_2', true);

SELECT setseed(0.28);

CALL etl.load_dim_waktu((current_date - interval '3 years')::date, current_date + 30);

INSERT INTO dim.dim_unit_kerja (kode, nama)
SELECT format('U%s', lpad(n::text, 2, '0')), format('Unit kerja %s', n)
  FROM generate_series(1, 40) AS n;

INSERT INTO dim.dim_pegawai (nip, nama, unit_id, berlaku_dari)
SELECT lpad((19700000 + n)::text, 18, '0'), format('Pegawai %s', n), 1 + n % 40, date '2020-01-01'
  FROM generate_series(1, 1200) AS n;

INSERT INTO dim.dim_jenis_surat
SELECT n, format('J%s', n), format('Jenis surat %s', n)
  FROM generate_series(1, 12) AS n;

INSERT INTO dim.dim_layanan
SELECT n, format('Layanan %s', n), 8 * (1 + n % 5)
  FROM generate_series(1, 30) AS n;

INSERT INTO fact.fact_surat (waktu_id, unit_id, pegawai_id, jenis_id, nomor, hari_proses, dimuat_pada)
SELECT to_char(current_date - (n % 1090), 'YYYYMMDD')::integer,
       1 + (random() * 39)::integer,
       1 + (random() * 1199)::integer,
       1 + (random() * 11)::integer,
       format('%s/UN/%s', n, 2020 + n % 6),
       round((random() * 14)::numeric, 2),
       now() - interval '2 hours' * (n % 5)
  FROM generate_series(1, 150000) AS n;

INSERT INTO fact.fact_layanan (waktu_id, layanan_id, unit_id, jam_selesai, nilai, dimuat_pada)
SELECT to_char(current_date - (n % 1090), 'YYYYMMDD')::integer,
       1 + (random() * 29)::integer,
       1 + (random() * 39)::integer,
       round((random() * 72)::numeric, 2),
       1 + (random() * 4)::integer,
       now() - interval '3 days'
  FROM generate_series(1, 100000) AS n;

INSERT INTO etl_log.job_execution (job_name, start_time, end_time, status, rows_loaded, rows_rejected)
SELECT job, d, d + interval '7 minutes', 'success', 130 + extract(day FROM d)::bigint, 0
  FROM generate_series(now() - interval '30 days', now() - interval '5 hours', interval '1 day') AS d
 CROSS JOIN unnest(ARRAY['fact_surat', 'fact_layanan', 'dim_pegawai']) AS job;

ANALYZE;
