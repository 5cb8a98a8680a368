-- What goes wrong in real warehouses, for `pawang check` to find.

-- The last load failed, and the one before rejected rows.
INSERT INTO etl_log.job_execution (job_name, start_time, end_time, status, rows_loaded, rows_rejected)
VALUES ('dim_pegawai', now() - interval '4 hours', now() - interval '239 minutes', 'success', 1180, 20),
       ('fact_layanan', now() - interval '2 hours', now() - interval '118 minutes', 'failed', 0, 412);
INSERT INTO etl_log.error_details (execution_id, error_time, error_code, message, source_row)
SELECT max(execution_id), now() - interval '118 minutes', '23503',
       'insert or update on table "fact_layanan" violates foreign key constraint', 'U99,Layanan 3,12.5'
  FROM etl_log.job_execution;

-- Nobody scans the first, and the second is the same as fact_surat_waktu.
CREATE INDEX fact_surat_nomor_lama ON fact.fact_surat (nomor text_pattern_ops);
CREATE INDEX fact_surat_waktu_2 ON fact.fact_surat (waktu_id);

-- A queue that was emptied but for a few rows: its table and index keep their size.
CREATE TABLE etl.antrean (
  antrean_id bigint PRIMARY KEY,
  kunci uuid NOT NULL DEFAULT gen_random_uuid(),
  isi text NOT NULL
) WITH (autovacuum_enabled = off);
CREATE INDEX antrean_kunci ON etl.antrean (kunci);
INSERT INTO etl.antrean (antrean_id, isi)
SELECT n, repeat('x', 60)
  FROM generate_series(1, 150000) AS n;
DELETE FROM etl.antrean
 WHERE antrean_id % 9 <> 0;

-- A copy made by hand: no key, no statistics, and autovacuum told to keep away.
CREATE TABLE stg.surat_salinan WITH (autovacuum_enabled = off) AS
SELECT s.*
  FROM fact.fact_surat AS s;

-- The key of the letters is an integer, and its sequence is nearly used up.
SELECT setval(pg_get_serial_sequence('fact.fact_surat', 'surat_id'), 2100000000);

-- Rules that are not checked any more.
ALTER TABLE stg.surat
  ADD CONSTRAINT surat_nomor CHECK (nomor <> '') NOT VALID;
CREATE FUNCTION etl.catat() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER catat BEFORE INSERT ON fact.fact_layanan FOR EACH ROW EXECUTE FUNCTION etl.catat();
ALTER TABLE fact.fact_layanan DISABLE TRIGGER catat;

-- Everybody may read and write salaries, and create what they like.
CREATE TABLE dim.gaji (pegawai_id integer PRIMARY KEY, gaji numeric NOT NULL);
GRANT USAGE ON SCHEMA dim TO public;
GRANT SELECT, INSERT, UPDATE, DELETE ON dim.gaji TO public;
GRANT CREATE ON SCHEMA public TO public;
CREATE FUNCTION etl.reset_sandi(nama text) RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT';

-- The pooler logs in as a superuser; an analyst's password has run out.
CREATE ROLE pgbouncer LOGIN SUPERUSER PASSWORD 'demo-only';
CREATE ROLE analis LOGIN PASSWORD 'demo-only' VALID UNTIL '2025-01-01';

-- What the monitoring role may read: rows, for the loads and for column statistics.
GRANT USAGE ON SCHEMA stg, dim, fact, etl, etl_log TO monitor;
GRANT SELECT ON ALL TABLES IN SCHEMA stg, dim, fact, etl, etl_log TO monitor;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA stg, dim, fact, etl, etl_log TO monitor;
