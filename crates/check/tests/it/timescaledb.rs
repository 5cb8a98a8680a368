//! Faults of TimescaleDB, on a stub: tables with the published columns of its information schema and a row in
//! `pg_extension`, because the extension itself cannot be installed here. The statements and the judgement are real.

use pawang_core::Level;
use pawang_testbed::{Cluster, Setup};

use crate::watch::Watch;

const STUB: &str = "
SET allow_system_table_mods = on;
INSERT INTO pg_catalog.pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
VALUES (999999, 'timescaledb', 10, 2200, false, '2.14.2');
CREATE SCHEMA timescaledb_information;
GRANT USAGE ON SCHEMA timescaledb_information TO PUBLIC;
CREATE TABLE timescaledb_information.hypertables (
  hypertable_schema name, hypertable_name name, owner name, num_dimensions smallint, num_chunks bigint,
  compression_enabled boolean, tablespaces name[]);
CREATE TABLE timescaledb_information.chunks (
  hypertable_schema name, hypertable_name name, chunk_schema name, chunk_name name, primary_dimension name,
  primary_dimension_type regtype, range_start timestamptz, range_end timestamptz, range_start_integer bigint,
  range_end_integer bigint, is_compressed boolean, chunk_tablespace name, data_nodes name[], chunk_creation_time timestamptz);
CREATE TABLE timescaledb_information.jobs (
  job_id int, application_name name, schedule_interval interval, max_runtime interval, max_retries int,
  retry_period interval, proc_schema name, proc_name name, owner name, scheduled boolean, fixed_schedule boolean,
  config jsonb, next_start timestamptz, initial_start timestamptz, hypertable_schema name, hypertable_name name,
  check_schema name, check_name name);
CREATE TABLE timescaledb_information.job_stats (
  hypertable_schema name, hypertable_name name, job_id int, last_run_started_at timestamptz,
  last_successful_finish timestamptz, last_run_status text, job_status text, last_run_duration interval,
  next_start timestamptz, total_runs bigint, total_successes bigint, total_failures bigint);
CREATE TABLE timescaledb_information.continuous_aggregates (
  hypertable_schema name, hypertable_name name, view_schema name, view_name name, view_owner name,
  materialized_only boolean, compression_enabled boolean, materialization_hypertable_schema name,
  materialization_hypertable_name name, view_definition text, finalized boolean);
GRANT SELECT ON ALL TABLES IN SCHEMA timescaledb_information TO PUBLIC;
INSERT INTO timescaledb_information.hypertables VALUES ('public', 'Milk', 'postgres', 1, 3, true, NULL);
INSERT INTO timescaledb_information.chunks
SELECT 'public', 'Milk', '_timescaledb_internal', 'c' || d, 'at', 'timestamptz',
       now() - make_interval(days => d), now() - make_interval(days => d - 1), NULL, NULL, d > 7, NULL, NULL, now()
  FROM generate_series(1, 20) AS d;
INSERT INTO timescaledb_information.jobs VALUES
  (1000, 'Compression [1000]', '12 hours', '0', -1, '1 hour', 's', 'policy_compression', 'postgres', true, false,
   '{\"compress_after\": \"7 days\"}', NULL, NULL, 'public', 'Milk', NULL, NULL),
  (1001, 'Retention [1001]', '1 day', '0', -1, '1 hour', 's', 'policy_retention', 'postgres', true, false,
   '{\"drop_after\": \"30 days\"}', NULL, NULL, 'public', 'Milk', NULL, NULL),
  (1002, 'Refresh [1002]', '1 hour', '0', -1, '1 hour', 's', 'policy_refresh_continuous_aggregate', 'postgres', true,
   false, '{}', NULL, NULL, '_ts', '_materialized_2', NULL, NULL);
INSERT INTO timescaledb_information.job_stats
SELECT NULL, NULL, j.job_id, now() - interval '10 min', now() - interval '9 min', 'Success', 'Scheduled', '1 min',
       now() + interval '10 min', 5, 5, 0
  FROM timescaledb_information.jobs AS j;
INSERT INTO timescaledb_information.continuous_aggregates VALUES
  ('public', 'Milk', 'public', 'milk_by_day', 'postgres', true, false, '_ts', '_materialized_2', '', true);
";

const ALL: [&str; 10] = [
    "timescaledb-jobs-failed",
    "timescaledb-jobs-late",
    "timescaledb-jobs-never-run",
    "timescaledb-jobs-disabled",
    "timescaledb-chunks",
    "timescaledb-uncompressed",
    "timescaledb-no-compression-policy",
    "timescaledb-retention",
    "timescaledb-refresh",
    "timescaledb-workers",
];

#[tokio::test]
async fn jobs_and_policies_that_do_not_do_their_work_are_found() {
    let settings = [
        ("timescaledb.max_background_workers", "4"),
        ("max_worker_processes", "16"),
    ];
    let cluster = Cluster::start(&Setup {
        settings: &settings,
        ..Setup::default()
    })
    .await;
    let mut watch = Watch::start(&cluster).await;
    let verdict = watch.verdict("timescaledb-jobs-failed").await;
    assert_eq!(
        verdict.outcome,
        pawang_core::Outcome::NotApplicable,
        "{verdict:?}"
    );
    cluster.sql("postgres", STUB).await;
    for id in ALL {
        watch.silent(id).await;
    }
    let faults = [
        (
            "timescaledb-jobs-failed",
            "job_stats SET last_run_status = 'Failed' WHERE job_id = 1000",
            Level::Critical,
            "job 1000",
        ),
        (
            "timescaledb-jobs-late",
            "job_stats SET next_start = now() - interval '3 days' WHERE job_id = 1000",
            Level::Critical,
            "job 1000",
        ),
        (
            "timescaledb-jobs-never-run",
            "job_stats SET total_runs = 0, next_start = now() - interval '1 day' WHERE job_id = 1001",
            Level::Warning,
            "job 1001",
        ),
        (
            "timescaledb-jobs-disabled",
            "jobs SET scheduled = false WHERE job_id = 1002",
            Level::Warning,
            "job 1002",
        ),
        (
            "timescaledb-refresh",
            "job_stats SET last_successful_finish = now() - interval '30 hours' WHERE job_id = 1002",
            Level::Critical,
            "milk_by_day",
        ),
        (
            "timescaledb-chunks",
            "hypertables SET num_chunks = 2500",
            Level::Warning,
            "public.Milk",
        ),
        (
            "timescaledb-uncompressed",
            "chunks SET is_compressed = false",
            Level::Warning,
            "public.Milk",
        ),
        (
            "timescaledb-retention",
            "jobs SET config = '{\"drop_after\": \"10 days\"}' WHERE job_id = 1001",
            Level::Warning,
            "public.Milk",
        ),
        (
            "timescaledb-no-compression-policy",
            "jobs SET proc_name = 'other' WHERE job_id = 1000",
            Level::Warning,
            "public.Milk",
        ),
    ];
    for (id, fault, level, object) in faults {
        cluster
            .sql(
                "postgres",
                &format!("UPDATE timescaledb_information.{fault}"),
            )
            .await;
        watch.found(id, level, object).await;
    }
}
