//! Faults of the group `io`: silent when healthy, found when injected, gone when cleared.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use pawang_core::{Blind, Level, Outcome, Role, Value};
use pawang_testbed::{Cluster, Setup, Stop, Version, versions};

use crate::connections::strict;
use crate::wal::{Story, grew, is, text};
use crate::watch::Watch;

/// Runs statements and waits until their session has handed in its statistics.
async fn counted(cluster: &Cluster, sql: &str, column: &str, at_least: i64) {
    let now = format!("SELECT {column} FROM pg_stat_database WHERE datname = 'postgres'");
    let before = cluster.sql("postgres", &now).await[0][0].clone().unwrap();
    cluster.sql("postgres", sql).await;
    is(
        cluster,
        "the statistics are in",
        &format!("({now}) >= {before} + {at_least}"),
    )
    .await;
}

/// Before PostgreSQL 15 a process collects statistics, and a new server has none for a moment.
async fn settled(cluster: &Cluster) {
    let sql = "SELECT stats_reset IS NOT NULL AND xact_commit > 0 FROM pg_stat_database WHERE datname = 'postgres'";
    if cluster.version() < Version(15) {
        is(cluster, "there are statistics", sql).await;
    }
}

/// Resets the database's statistics and waits until that is seen.
async fn reset(cluster: &Cluster) {
    cluster.sql("postgres", "SELECT pg_stat_reset()").await;
    let sql = "SELECT temp_files = 0 AND checksum_failures = 0 AND stats_reset IS NOT NULL \
               FROM pg_stat_database WHERE datname = 'postgres'";
    is(cluster, "the statistics are reset", sql).await;
}

#[tokio::test]
async fn scans_that_do_not_fit_into_the_cache_are_found() {
    let ids = [
        "cache-hit-ratio",
        "backend-writes",
        "buffer-turnover",
        "slru-misses",
        "backend-fsyncs",
    ];
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            settings: &[("shared_buffers", "1MB")],
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        settled(&cluster).await;
        watch.look(&ids).await;
        assert_eq!(watch.look(&ids).await.level(), Level::Ok, "idle");
        let fill = "CREATE TABLE big AS SELECT g, repeat('x', 900) AS filler FROM generate_series(1, 100000) AS g; \
                    UPDATE big SET g = g + 1";
        counted(&cluster, fill, "tup_inserted", 100_000).await;
        counted(&cluster, "SELECT count(*) FROM big", "blks_read", 10_000).await;
        let seen = watch.look(&ids).await;
        let verdict = |id: &str| seen.verdicts.iter().find(|v| v.check == id).unwrap();
        let ratio = verdict("cache-hit-ratio");
        assert_eq!(ratio.level, Level::Warning, "{ratio:#?}");
        assert_eq!(ratio.findings[0].object, "database \"postgres\"");
        let writes = verdict("backend-writes");
        if version >= Version(16) {
            assert_eq!(writes.level, Level::Warning, "{writes:#?}");
        } else {
            assert_eq!(writes.outcome, Outcome::NotApplicable);
        }
        assert_eq!(watch.look(&ids).await.level(), Level::Ok, "idle again");
    }
}

#[tokio::test]
async fn spills_are_found_and_a_reset_is_not_taken_for_silence() {
    let ids = ["temp-bytes", "temp-files", "temp-space"];
    let cluster = Cluster::start(&Setup {
        settings: &[("work_mem", "64kB")],
        ..Setup::default()
    })
    .await;
    let mut watch = Watch::start(&cluster).await;
    settled(&cluster).await;
    watch.look(&ids).await;
    assert_eq!(watch.look(&ids).await.level(), Level::Ok, "idle");
    let large =
        "SELECT count(*) FROM (SELECT g FROM generate_series(1, 6000000) AS g OFFSET 0) AS s";
    counted(&cluster, large, "temp_bytes", 64 << 20).await;
    // How many that is in a second is the machine's business; what the shipped limit says of it is judged below.
    let verdict = strict(&mut watch, "temp-bytes", 1.0).await;
    assert_eq!(verdict.level, Level::Warning, "{verdict:#?}");
    assert!(
        verdict.findings[0].object.contains("postgres"),
        "{verdict:#?}"
    );
    watch.silent("temp-bytes").await;

    let small = "DO $$ BEGIN FOR i IN 1..150 LOOP PERFORM g FROM generate_series(1, 20000) AS g ORDER BY -g; END LOOP; END $$";
    watch.look(&ids).await;
    counted(&cluster, small, "temp_files", 150).await;
    let verdict = strict(&mut watch, "temp-files", 0.01).await;
    assert_eq!(verdict.level, Level::Warning, "{verdict:#?}");
    watch.silent("temp-files").await;

    reset(&cluster).await;
    let finding = watch.found("temp-files", Level::Unknown, "postgres").await;
    assert!(finding.title.contains("reset"), "{}", finding.title);
    watch.silent("temp-files").await;
}

#[tokio::test]
async fn times_that_are_not_taken_are_unknown() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    let verdict = watch.verdict("read-latency").await;
    let setting = "track_io_timing = on".to_owned();
    assert_eq!(verdict.findings[0].blind, Some(Blind::Disabled { setting }));
    cluster.set("track_io_timing", Some("on")).await;
    watch.look(&["read-latency"]).await;
    watch.silent("read-latency").await;
}

#[tokio::test]
async fn a_damaged_block_is_found() {
    let mut cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    watch.silent("checksum-failures").await;
    cluster
        .sql(
            "postgres",
            "CREATE TABLE damaged AS SELECT g FROM generate_series(1, 100) AS g",
        )
        .await;
    let file = cluster
        .sql("postgres", "SELECT pg_relation_filepath('damaged')")
        .await[0][0]
        .clone()
        .unwrap();
    cluster.stop(Stop::Fast).await;
    let file = OpenOptions::new()
        .write(true)
        .open(cluster.data_directory().join(file))
        .unwrap();
    file.write_all_at(&[0xAA; 64], 4_096).unwrap();
    cluster.start_again().await;
    let read = "DO $$ BEGIN PERFORM count(*) FROM damaged; EXCEPTION WHEN data_corrupted THEN NULL; END $$";
    counted(&cluster, read, "checksum_failures", 1).await;
    let finding = watch
        .found("checksum-failures", Level::Critical, "postgres")
        .await;
    assert!(finding.since.is_some());
    cluster.sql("postgres", "DROP TABLE damaged").await;
    reset(&cluster).await;
    watch.silent("checksum-failures").await;
}

#[tokio::test]
async fn parallel_workers_that_were_not_to_be_had_are_found() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            settings: &[
                ("max_parallel_workers", "0"),
                ("parallel_setup_cost", "0"),
                ("parallel_tuple_cost", "0"),
                ("min_parallel_table_scan_size", "0"),
            ],
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        if version < Version(18) {
            assert_eq!(
                watch.verdict("parallel-workers").await.outcome,
                Outcome::NotApplicable
            );
            continue;
        }
        watch.look(&["parallel-workers"]).await;
        watch.silent("parallel-workers").await;
        cluster
            .sql(
                "postgres",
                "CREATE TABLE t AS SELECT g FROM generate_series(1, 100000) AS g",
            )
            .await;
        let scans = "SELECT count(*) FROM t; ".repeat(60);
        counted(&cluster, &scans, "parallel_workers_to_launch", 50).await;
        watch
            .found("parallel-workers", Level::Warning, "postgres")
            .await;
        watch.silent("parallel-workers").await;
    }
}

#[test]
fn counters_of_io_are_judged_by_their_growth() {
    let server = || Story::new(16, Role::Primary);
    let normal = [
        ("backend_type", text("client backend")),
        ("object", text("relation")),
        ("context", text("normal")),
    ];
    for (evictions, level) in [(100.0, Level::Ok), (1e4, Level::Warning)] {
        let sized = || server().setting("shared_buffers", "1000");
        grew(
            sized,
            "buffer-turnover",
            "io",
            &normal,
            &[("evictions", evictions)],
            level,
        );
    }
    for (fsyncs, level) in [(60.0, Level::Ok), (600.0, Level::Warning)] {
        grew(
            server,
            "backend-fsyncs",
            "io",
            &normal,
            &[("fsyncs", fsyncs)],
            level,
        );
        let old = || Story::new(15, Role::Primary);
        grew(
            old,
            "backend-fsyncs",
            "bgwriter",
            &[],
            &[("buffers_backend_fsync", fsyncs)],
            level,
        );
    }
    for (rounds, level) in [(6.0, Level::Ok), (120.0, Level::Warning)] {
        grew(
            server,
            "bgwriter-maxwritten",
            "bgwriter",
            &[],
            &[("maxwritten_clean", rounds)],
            level,
        );
    }
}

#[test]
fn reads_and_writes_are_judged_by_their_growth() {
    let server = || Story::new(16, Role::Primary);
    let relation = [
        ("backend_type", text("checkpointer")),
        ("object", text("relation")),
    ];
    let cache = [("name", text("Subtrans"))];
    for (read, level) in [
        (500.0, Level::Ok),
        (1.2e4, Level::Warning),
        (1e5, Level::Critical),
    ] {
        grew(
            server,
            "slru-misses",
            "slru",
            &cache,
            &[("blks_read", read)],
            level,
        );
    }
    let timed = || server().setting("track_io_timing", "on");
    let database = [("datname", text("dwh"))];
    for (spent, level) in [
        (2e3, Level::Ok),
        (4e4, Level::Warning),
        (2e5, Level::Critical),
    ] {
        let reads = [("blks_read", 2e3), ("blk_read_time", spent)];
        grew(timed, "read-latency", "database", &database, &reads, level);
        let writes = [("writes", 2e3), ("write_time", spent)];
        grew(timed, "write-latency", "io", &relation, &writes, level);
    }
}

#[test]
fn spills_are_judged_by_their_growth() {
    let server = || Story::new(16, Role::Primary);
    let database = [("datname", text("dwh"))];
    for (id, column, growth, level) in [
        ("temp-bytes", "temp_bytes", 1e8, Level::Ok),
        ("temp-bytes", "temp_bytes", 1.2e9, Level::Warning),
        ("temp-files", "temp_files", 300.0, Level::Ok),
        ("temp-files", "temp_files", 1.2e3, Level::Warning),
        ("temp-files", "temp_files", 1.2e4, Level::Critical),
    ] {
        grew(
            server,
            id,
            "database",
            &database,
            &[(column, growth)],
            level,
        );
    }
}

#[test]
fn huge_pages_matter_only_to_large_servers() {
    for (status, buffers, level) in [
        ("off", "16384", Level::Ok),
        ("on", "4194304", Level::Ok),
        ("off", "4194304", Level::Warning),
    ] {
        let story = Story::new(17, Role::Primary)
            .setting("huge_pages_status", status)
            .setting("block_size", "8192")
            .setting("shared_buffers", buffers);
        assert_eq!(
            story.now("huge-pages-status").level,
            level,
            "{status} {buffers}"
        );
    }
    let old = Story::new(15, Role::Primary).setting("shared_buffers", "4194304");
    assert_eq!(old.now("huge-pages-status").outcome, Outcome::NotApplicable);
}

#[test]
fn temporary_files_that_fill_the_disk_are_found() {
    for (bytes, level) in [
        (1 << 20, Level::Ok),
        (20 << 30, Level::Warning),
        (200 << 30, Level::Critical),
    ] {
        let row = [
            ("temporary_bytes", Value::Int(bytes)),
            ("temporary_files", Value::Int(3)),
        ];
        let story = Story::new(15, Role::Primary).row("wal-directory", &row);
        assert_eq!(story.now("temp-space").level, level, "{bytes}");
    }
}
