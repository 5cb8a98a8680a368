//! Faults of the group `timescaledb`: silent when healthy, found when injected, gone when cleared.
//!
//! TimescaleDB itself is not among the servers that the tests run on. A stub takes its place: an extension of that name,
//! really created, with tables instead of views under the published names and columns of three versions. So the statements,
//! the choice among them by version, and the judgement are tested, not what TimescaleDB writes into its views.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pawang_core::{Level, Outcome};
use pawang_testbed::{Cluster, Setup, versions};

use crate::watch::Watch;

/// From here on extensions may lie outside the server's own files.
const EXTENSION_PATHS_SINCE: u32 = 18;
const NEWEST: &str = "2.29.2";

/// Version 2.0.
const TABLES: &str = "
CREATE SCHEMA timescaledb_information;
CREATE SCHEMA _timescaledb_internal;
GRANT USAGE ON SCHEMA timescaledb_information, _timescaledb_internal TO PUBLIC;
CREATE TABLE timescaledb_information.hypertables (
  hypertable_schema name, hypertable_name name, owner name, num_dimensions smallint, num_chunks bigint,
  compression_enabled boolean, tablespaces name[]);
CREATE TABLE timescaledb_information.dimensions (
  hypertable_schema name, hypertable_name name, dimension_number bigint, column_name name, column_type regtype,
  dimension_type text, time_interval interval, integer_interval bigint, integer_now_func name, num_partitions smallint);
CREATE TABLE timescaledb_information.chunks (
  hypertable_schema name, hypertable_name name, chunk_schema name, chunk_name name, primary_dimension name,
  primary_dimension_type regtype, range_start timestamptz, range_end timestamptz, range_start_integer bigint,
  range_end_integer bigint, is_compressed boolean, chunk_tablespace name);
CREATE TABLE timescaledb_information.jobs (
  job_id int, application_name name, schedule_interval interval, max_runtime interval, max_retries int,
  retry_period interval, proc_schema name, proc_name name, owner name, scheduled boolean, config jsonb,
  next_start timestamptz, hypertable_schema name, hypertable_name name);
CREATE TABLE timescaledb_information.job_stats (
  hypertable_schema name, hypertable_name name, job_id int, last_run_started_at timestamptz,
  last_successful_finish timestamptz, last_run_status text, job_status text, last_run_duration interval,
  next_start timestamptz, total_runs bigint, total_successes bigint, total_failures bigint);
CREATE TABLE timescaledb_information.continuous_aggregates (
  hypertable_schema name, hypertable_name name, view_schema name, view_name name, view_owner name,
  materialized_only boolean, materialization_hypertable_schema name, materialization_hypertable_name name,
  view_definition text);
CREATE TABLE _timescaledb_internal.bgw_job_stat (
  job_id int PRIMARY KEY, total_crashes bigint DEFAULT 0, consecutive_failures int DEFAULT 0,
  consecutive_crashes int DEFAULT 0);
";

const SINCE_2_9: &str = "
ALTER TABLE timescaledb_information.jobs ADD fixed_schedule boolean, ADD initial_start timestamptz, ALTER owner TYPE regrole
  USING owner::text::regrole;
ALTER TABLE timescaledb_information.continuous_aggregates ADD compression_enabled boolean;
CREATE TABLE timescaledb_information.job_errors (
  job_id int, proc_schema text, proc_name text, pid int, start_time timestamptz, finish_time timestamptz,
  sqlerrcode text, err_message text);
";

const SINCE_2_13: &str =
    "ALTER TABLE timescaledb_information.chunks ADD chunk_creation_time timestamptz;";

const GRANT: &str = "
GRANT SELECT ON ALL TABLES IN SCHEMA timescaledb_information, _timescaledb_internal TO PUBLIC;";

/// What users have: a hypertable with twenty chunks, the newest real, and an aggregate on it.
const OBJECTS: &str = "
CREATE TABLE public.chunk_1 (at timestamptz, note text);
CREATE INDEX ON public.chunk_1 (at);
INSERT INTO public.chunk_1 SELECT now(), 'x' FROM generate_series(1, 1000);
ANALYZE public.chunk_1;
";

const HEALTHY: &str = "
TRUNCATE timescaledb_information.hypertables, timescaledb_information.dimensions, timescaledb_information.chunks,
  timescaledb_information.jobs, timescaledb_information.job_stats, timescaledb_information.continuous_aggregates,
  _timescaledb_internal.bgw_job_stat;
INSERT INTO timescaledb_information.hypertables (hypertable_schema, hypertable_name, compression_enabled)
VALUES ('public', 'Milk', true);
INSERT INTO timescaledb_information.dimensions (hypertable_schema, hypertable_name, dimension_number, time_interval)
VALUES ('public', 'Milk', 1, '1 day');
INSERT INTO timescaledb_information.chunks (hypertable_schema, hypertable_name, chunk_schema, chunk_name, range_start,
  range_end, is_compressed)
SELECT 'public', 'Milk', 'public', 'chunk_' || d, now() - make_interval(days => d), now() - make_interval(days => d - 1), d > 7
  FROM generate_series(1, 20) AS d;
INSERT INTO timescaledb_information.continuous_aggregates (hypertable_schema, hypertable_name, view_schema, view_name,
  materialized_only, materialization_hypertable_schema, materialization_hypertable_name)
VALUES ('public', 'Milk', 'public', 'milk_by_day', true, '_timescaledb_internal', '_materialized_hypertable_2');
INSERT INTO timescaledb_information.jobs (job_id, schedule_interval, max_runtime, max_retries, retry_period, proc_schema,
  proc_name, owner, scheduled, config, next_start, hypertable_schema, hypertable_name)
SELECT id, every, '0', -1, '1 h', 'p', name, 'postgres', true, config::jsonb, now() + '10 min', schema, hypertable
  FROM (VALUES
    (1, '1 day'::interval, 'policy_telemetry', NULL, NULL, NULL),
    (1000, '12 h', 'policy_compression', '{\"compress_after\": \"7 days\"}', 'public', 'Milk'),
    (1001, '1 day', 'policy_retention', '{\"drop_after\": \"30 days\"}', 'public', 'Milk'),
    (1002, '1 h', 'policy_refresh_continuous_aggregate', '{}', 'public', 'milk_by_day'),
    (1003, '1 day', 'policy_retention', '{\"drop_after\": 1000}', 'public', 'Counted'),
    (1004, '1 h', 'load_daily', NULL, NULL, NULL)) AS j(id, every, name, config, schema, hypertable);
INSERT INTO timescaledb_information.job_stats (job_id, last_run_started_at, last_successful_finish, last_run_status,
  job_status, last_run_duration, next_start, total_runs, total_successes, total_failures)
SELECT j.job_id, now() - '30 min'::interval, now() - '29 min'::interval, 'Success', 'Scheduled', '1 min', j.next_start, 5, 5, 0
  FROM timescaledb_information.jobs AS j;
INSERT INTO _timescaledb_internal.bgw_job_stat (job_id) SELECT j.job_id FROM timescaledb_information.jobs AS j;
";

const SCHEDULER: &str = "SET application_name = 'TimescaleDB Background Worker Scheduler'";

const ALL: [&str; 17] = [
    "timescaledb-job-failed",
    "timescaledb-job-late",
    "timescaledb-job-never-run",
    "timescaledb-job-overrun",
    "timescaledb-job-paused",
    "timescaledb-uncompressed-chunks",
    "timescaledb-compression-policy-missing",
    "timescaledb-retention-lag",
    "timescaledb-cagg-lag",
    "timescaledb-cagg-policy-missing",
    "timescaledb-chunk-count",
    "timescaledb-chunk-locks",
    "timescaledb-chunk-size",
    "timescaledb-scheduler",
    "timescaledb-background-workers",
    "timescaledb-restoring",
    "timescaledb-version",
];

/// A server with the stub's files; `None` where extensions can only lie among the server's own files.
async fn start() -> Option<Cluster> {
    let version = versions().pop()?;
    if version.0 < EXTENSION_PATHS_SINCE {
        return None;
    }
    let settings = [
        ("max_connections", "50"),
        ("max_worker_processes", "24"),
        ("timescaledb.max_background_workers", "16"),
        ("timescaledb.restoring", "off"),
    ];
    let cluster = Cluster::start(&Setup {
        version: Some(version),
        settings: &settings,
        ..Setup::default()
    })
    .await;
    let files = cluster.folder("share/extension");
    let share = cluster.folder("share");
    offer(&files, NEWEST);
    let parts: [(&str, &[&str]); 3] = [
        ("2.0.2", &[TABLES, GRANT]),
        ("2.9.0", &[TABLES, SINCE_2_9, GRANT]),
        (NEWEST, &[TABLES, SINCE_2_9, SINCE_2_13, GRANT]),
    ];
    for (version, parts) in parts {
        let script = files.join(format!("timescaledb--{version}.sql"));
        std::fs::write(&script, parts.concat()).unwrap();
    }
    let path = format!("$system:{}", share.display());
    cluster.set("extension_control_path", Some(&path)).await;
    Some(cluster)
}

fn offer(files: &Path, version: &str) {
    let control = format!("default_version = '{version}'\nrelocatable = false\n");
    std::fs::write(files.join("timescaledb.control"), control).unwrap();
}

fn files(cluster: &Cluster) -> PathBuf {
    cluster.socket_directory().join("share/extension")
}

/// Injects each fault alone into database "postgres", and clears it.
async fn faults(cluster: &Cluster, watch: &mut Watch, faults: &[(&str, String, Level, &str)]) {
    for (id, fault, level, object) in faults {
        cluster
            .sql(
                "postgres",
                &format!("SET search_path TO timescaledb_information; {fault}"),
            )
            .await;
        watch.found(id, *level, object).await;
        cluster.sql("postgres", HEALTHY).await;
        watch.silent(id).await;
    }
}

/// A database with the stub, in which nothing is wrong while a process calls itself its scheduler.
async fn healthy(cluster: &Cluster, database: &str, version: &str) -> Watch {
    let create = format!("CREATE EXTENSION timescaledb VERSION '{version}'");
    cluster.sql(database, &create).await;
    cluster.sql(database, OBJECTS).await;
    cluster.sql(database, HEALTHY).await;
    let mut watch = Watch::start(cluster).await;
    for id in ALL {
        watch.silent(id).await;
    }
    watch
}

#[tokio::test]
async fn without_the_extension_nothing_applies() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    for verdict in watch.look(&ALL).await.verdicts {
        assert_eq!(verdict.outcome, Outcome::NotApplicable, "{verdict:#?}");
    }
}

/// Changes one job.
fn job(set: &str, id: i32) -> String {
    format!("UPDATE jobs SET {set} WHERE job_id = {id}")
}

/// Lets the last runs of one job fail.
fn failed(count: i32, id: i32) -> String {
    format!(
        "UPDATE job_stats SET last_run_status = 'Failed', total_failures = 9 WHERE job_id = {id}; \
         UPDATE _timescaledb_internal.bgw_job_stat SET consecutive_failures = {count} WHERE job_id = {id}"
    )
}

#[tokio::test]
async fn jobs_that_fail_are_found() {
    let Some(cluster) = start().await else {
        return;
    };
    let _scheduler = cluster.hold("postgres", SCHEDULER).await;
    let mut watch = healthy(&cluster, "postgres", NEWEST).await;
    let id = "timescaledb-job-failed";
    let given_up = format!("{}; {}", failed(3, 1002), job("scheduled = false", 1002));
    let crashed = "UPDATE job_stats SET last_run_status = NULL WHERE job_id = 1004; \
                   UPDATE _timescaledb_internal.bgw_job_stat SET consecutive_crashes = 3 WHERE job_id = 1004";
    let named = "policy_compression of public.Milk (job 1000)";
    let cases = [
        (id, failed(1, 1000), Level::Warning, named),
        (id, failed(6, 1000), Level::Critical, named),
        (id, given_up, Level::Critical, "job 1002"),
        (id, failed(6, 1), Level::Info, "policy_telemetry (job 1)"),
        (
            id,
            crashed.to_owned(),
            Level::Warning,
            "load_daily (job 1004)",
        ),
    ];
    faults(&cluster, &mut watch, &cases).await;

    let error = "INSERT INTO timescaledb_information.job_errors (job_id, start_time, sqlerrcode, err_message) \
                 VALUES (1000, now(), '40P01', 'secret')";
    cluster.sql("postgres", error).await;
    let fault = failed(1, 1000);
    let fault = format!("SET search_path TO timescaledb_information; {fault}");
    cluster.sql("postgres", &fault).await;
    let finding = watch.found(id, Level::Warning, named).await;
    let finding = format!("{finding:?}");
    assert!(finding.contains("40P01"), "{finding}");
    assert!(!finding.contains("secret"), "{finding}");
}

#[tokio::test]
async fn jobs_that_wait_last_rest_or_never_run_are_found() {
    let Some(cluster) = start().await else {
        return;
    };
    let _scheduler = cluster.hold("postgres", SCHEDULER).await;
    let mut watch = healthy(&cluster, "postgres", NEWEST).await;
    let late = |age: &str| job(&format!("next_start = now() - '{age}'::interval"), 1000);
    let long = "UPDATE job_stats SET last_run_duration = '2 h' WHERE job_id = 1004";
    let hangs = "UPDATE job_stats SET job_status = 'Running', last_run_started_at = now() - '3 h'::interval, \
                 last_run_duration = NULL, last_run_status = NULL WHERE job_id = 1004";
    let never = |times: &str| {
        let times = job(times, 1001);
        format!("DELETE FROM job_stats WHERE job_id = 1001; {times}")
    };
    let due = never("next_start = NULL, initial_start = now() - '2 h'::interval");
    let young = never("next_start = '-infinity'");
    let paused = job("scheduled = false", 1004);
    use Level::{Critical, Info, Warning};
    let cases = [
        ("timescaledb-job-late", late("1 h"), Warning, "job 1000"),
        ("timescaledb-job-late", late("1 day"), Critical, "job 1000"),
        ("timescaledb-job-never-run", due, Warning, "job 1001"),
        ("timescaledb-job-never-run", young, Info, "job 1001"),
        (
            "timescaledb-job-overrun",
            long.to_owned(),
            Warning,
            "load_daily",
        ),
        (
            "timescaledb-job-overrun",
            hangs.to_owned(),
            Warning,
            "load_daily",
        ),
        ("timescaledb-job-paused", paused, Info, "load_daily"),
    ];
    faults(&cluster, &mut watch, &cases).await;
}

#[tokio::test]
async fn a_run_in_progress_is_neither_late_nor_failed_nor_never_run() {
    let Some(cluster) = start().await else {
        return;
    };
    let _scheduler = cluster.hold("postgres", SCHEDULER).await;
    let mut watch = healthy(&cluster, "postgres", NEWEST).await;
    // This is how TimescaleDB leaves it at the start of a run: the crash is counted in advance.
    let start = "SET search_path TO timescaledb_information; \
                 UPDATE jobs SET next_start = '-infinity'; \
                 UPDATE job_stats SET next_start = '-infinity', last_run_started_at = now(), last_run_status = NULL, \
                   last_run_duration = NULL, job_status = 'Running', total_runs = 1, last_successful_finish = '-infinity'; \
                 UPDATE _timescaledb_internal.bgw_job_stat SET consecutive_crashes = 1, total_crashes = 1;";
    cluster.sql("postgres", start).await;
    for id in ALL {
        watch.silent(id).await;
    }
    let hidden = "UPDATE timescaledb_information.job_stats SET job_status = 'Scheduled'";
    cluster.sql("postgres", hidden).await;
    for id in ALL {
        watch.silent(id).await;
    }
}

#[tokio::test]
async fn a_job_seen_without_a_run_long_ago_never_ran() {
    let Some(cluster) = start().await else {
        return;
    };
    let _scheduler = cluster.hold("postgres", SCHEDULER).await;
    let mut watch = healthy(&cluster, "postgres", NEWEST).await;
    let fresh = "UPDATE timescaledb_information.jobs SET next_start = NULL WHERE job_id = 1004; \
                 DELETE FROM timescaledb_information.job_stats WHERE job_id = 1004";
    cluster.sql("postgres", fresh).await;
    let id = "timescaledb-job-never-run";
    watch.found(id, Level::Info, "load_daily").await;
    let older = watch.older.as_mut().unwrap();
    for snapshot in older.sightings.iter_mut().flat_map(|s| &mut s.seen) {
        Arc::make_mut(snapshot).at -= jiff::SignedDuration::from_hours(2);
    }
    watch.found(id, Level::Warning, "load_daily").await;
}

#[tokio::test]
async fn chunks_that_policies_should_have_compressed_or_dropped_are_found() {
    let Some(cluster) = start().await else {
        return;
    };
    let _scheduler = cluster.hold("postgres", SCHEDULER).await;
    let mut watch = healthy(&cluster, "postgres", NEWEST).await;
    let compress = "timescaledb-uncompressed-chunks";
    let retain = "timescaledb-retention-lag";
    let open =
        "UPDATE chunks SET is_compressed = false WHERE chunk_name IN ('chunk_11', 'chunk_12')";
    let all_open = "UPDATE chunks SET is_compressed = false";
    let shorter = "UPDATE jobs SET config = '{\"drop_after\": \"14 days\"}' WHERE job_id = 1001";
    let by_creation = "UPDATE chunks SET chunk_creation_time = now() - '9 days'::interval; \
                       UPDATE jobs SET config = '{\"drop_created_before\": \"5 days\"}' WHERE job_id = 1001";
    let without = "UPDATE chunks SET is_compressed = false; DELETE FROM jobs WHERE job_id = 1000";
    let missing = "timescaledb-compression-policy-missing";
    let cases = [
        (compress, open, Level::Warning, "public.Milk"),
        (compress, all_open, Level::Critical, "public.Milk"),
        (retain, shorter, Level::Warning, "public.Milk"),
        (retain, by_creation, Level::Warning, "public.Milk"),
        (missing, without, Level::Info, "public.Milk"),
    ]
    .map(|(id, fault, level, object)| (id, fault.to_owned(), level, object));
    faults(&cluster, &mut watch, &cases).await;
    // Late rows made old chunks just now: the policy has not had its turn yet.
    let late = format!(
        "SET search_path TO timescaledb_information; {all_open}; {shorter}; UPDATE chunks SET chunk_creation_time = now()"
    );
    cluster.sql("postgres", &late).await;
    watch.silent(compress).await;
    watch.silent(retain).await;
}

#[tokio::test]
async fn aggregates_that_are_not_refreshed_are_found() {
    let Some(cluster) = start().await else {
        return;
    };
    let _scheduler = cluster.hold("postgres", SCHEDULER).await;
    let mut watch = healthy(&cluster, "postgres", NEWEST).await;
    let stale = |age: &str| {
        format!(
            "UPDATE job_stats SET last_successful_finish = now() - '{age}'::interval WHERE job_id = 1002"
        )
    };
    // Before 2.20 the job names the hypertable under the aggregate.
    let old_name = "hypertable_schema = '_timescaledb_internal', hypertable_name = '_materialized_hypertable_2'";
    let old_name = format!("{}; {}", job(old_name, 1002), stale("20 h"));
    let never = "UPDATE job_stats SET last_successful_finish = '-infinity', last_run_status = 'Failed' WHERE job_id = 1002";
    let alone = "DELETE FROM jobs WHERE job_id = 1002";
    let lag = "timescaledb-cagg-lag";
    let view = "public.milk_by_day";
    let cases = [
        (lag, stale("4 h"), Level::Warning, view),
        (lag, old_name, Level::Critical, view),
        (lag, never.to_owned(), Level::Warning, view),
        (
            "timescaledb-cagg-policy-missing",
            alone.to_owned(),
            Level::Info,
            view,
        ),
    ];
    faults(&cluster, &mut watch, &cases).await;
}

#[tokio::test]
async fn too_many_and_too_large_chunks_are_found() {
    let Some(cluster) = start().await else {
        return;
    };
    let _scheduler = cluster.hold("postgres", SCHEDULER).await;
    let mut watch = healthy(&cluster, "postgres", NEWEST).await;
    let many = "INSERT INTO chunks (hypertable_schema, hypertable_name, chunk_schema, chunk_name, range_end, is_compressed) \
                SELECT 'public', 'Milk', 'public', 'old_' || i, now() - make_interval(days => i), true \
                  FROM generate_series(21, 2600) AS i";
    let cases = [
        ("timescaledb-chunk-count", Level::Warning),
        ("timescaledb-chunk-locks", Level::Critical),
    ]
    .map(|(id, level)| (id, many.to_owned(), level, "public.Milk"));
    faults(&cluster, &mut watch, &cases).await;
    let pages = |pages: u32| {
        format!(
            "SET allow_system_table_mods = on; UPDATE pg_class SET relpages = {pages} WHERE relname = 'chunk_1'"
        )
    };
    cluster.sql("postgres", &pages(300_000)).await;
    let id = "timescaledb-chunk-size";
    watch.found(id, Level::Warning, "public.Milk").await;
    cluster.sql("postgres", &pages(10)).await;
    watch.silent(id).await;
}

#[tokio::test]
async fn jobs_that_cannot_run_at_all_are_found() {
    let Some(cluster) = start().await else {
        return;
    };
    let scheduler = cluster.hold("postgres", SCHEDULER).await;
    let mut watch = healthy(&cluster, "postgres", NEWEST).await;
    let id = "timescaledb-scheduler";
    scheduler
        .batch_execute("SET application_name = ''")
        .await
        .unwrap();
    watch.found(id, Level::Info, "").await;
    let due = "UPDATE timescaledb_information.jobs SET next_start = now() - '1 h'::interval WHERE job_id = 1004";
    cluster.sql("postgres", due).await;
    watch.found(id, Level::Critical, "").await;
    scheduler.batch_execute(SCHEDULER).await.unwrap();
    watch.silent(id).await;

    let id = "timescaledb-background-workers";
    watch.silent(id).await;
    let workers = |count: &str| {
        format!("ALTER DATABASE postgres SET timescaledb.max_background_workers = {count}")
    };
    let busy =
        "UPDATE timescaledb_information.job_stats SET job_status = 'Running' WHERE job_id = 1000";
    cluster.sql("postgres", &workers("3")).await;
    watch.silent(id).await;
    cluster.sql("postgres", busy).await;
    watch.found(id, Level::Warning, "").await;
    cluster.sql("postgres", &workers("2")).await;
    watch.found(id, Level::Critical, "").await;
    cluster.sql("postgres", &workers("0")).await;
    watch.found(id, Level::Warning, "").await;
    cluster.sql("postgres", &workers("DEFAULT")).await;
    watch.silent(id).await;

    let id = "timescaledb-restoring";
    let restoring =
        |state: &str| format!("ALTER DATABASE postgres SET timescaledb.restoring = {state}");
    cluster.sql("postgres", &restoring("on")).await;
    watch.found(id, Level::Warning, "").await;
    cluster.sql("postgres", &restoring("DEFAULT")).await;
    watch.silent(id).await;

    let id = "timescaledb-version";
    offer(&files(&cluster), "2.30.0");
    watch.found(id, Level::Warning, "").await;
    offer(&files(&cluster), NEWEST);
    watch.silent(id).await;
}

#[tokio::test]
async fn older_versions_of_the_extension_are_asked_what_they_have() {
    let Some(cluster) = start().await else {
        return;
    };
    for (database, version) in [("two_zero", "2.0.2"), ("two_nine", "2.9.0")] {
        cluster
            .sql("postgres", &format!("CREATE DATABASE {database}"))
            .await;
        offer(&files(&cluster), version);
        let _scheduler = cluster.hold(database, SCHEDULER).await;
        let mut watch = healthy(&cluster, database, version).await;
        let fault = "SET search_path TO timescaledb_information; \
                     UPDATE job_stats SET last_run_status = 'Failed' WHERE job_id = 1000; \
                     UPDATE chunks SET is_compressed = false; \
                     UPDATE jobs SET config = '{\"drop_after\": \"5 days\"}' WHERE job_id = 1001; \
                     UPDATE job_stats SET last_successful_finish = now() - '20 h'::interval WHERE job_id = 1002";
        cluster.sql(database, fault).await;
        watch
            .found("timescaledb-job-failed", Level::Warning, "public.Milk")
            .await;
        for (id, object) in [
            ("timescaledb-uncompressed-chunks", "public.Milk"),
            ("timescaledb-retention-lag", "public.Milk"),
            ("timescaledb-cagg-lag", "public.milk_by_day"),
        ] {
            watch.found(id, Level::Critical, object).await;
        }
        cluster.sql(database, "DROP EXTENSION timescaledb").await;
    }
}
