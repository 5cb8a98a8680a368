//! Faults of the group `wal`: silent when healthy, found when injected, gone when cleared.

use std::fs::File;
use std::time::{Duration, SystemTime};

use pawang_core::{Blind, Level, Outcome};
use pawang_testbed::{Cluster, Setup, Version, until, versions};

use crate::watch::Watch;

const SAFE_COMMAND: &str = "test ! -f ../%f && cp %p ../%f && sync ../%f";

/// Fills and switches `count` segments.
pub(crate) async fn switch_wal(cluster: &Cluster, count: u32) {
    let sql = format!(
        "SELECT pg_logical_emit_message(false, '', 'x'), pg_switch_wal() FROM generate_series(1, {count})"
    );
    cluster.sql("postgres", &sql).await;
}

pub(crate) async fn is(cluster: &Cluster, what: &str, sql: &str) {
    until(what, async || {
        let rows = cluster
            .sql("postgres", &format!("SELECT ({sql})::text"))
            .await;
        rows[0][0].as_deref() == Some("true")
    })
    .await;
}

#[tokio::test]
async fn an_archiver_that_fails_is_found_and_one_that_recovered_is_not() {
    let settings = [("archive_mode", "on"), ("archive_command", SAFE_COMMAND)];
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            settings: &settings,
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        switch_wal(&cluster, 1).await;
        is(
            &cluster,
            "a segment is archived",
            "SELECT archived_count > 0 FROM pg_stat_archiver",
        )
        .await;
        for id in [
            "archiver-failing",
            "archive-backlog",
            "archive-queue",
            "archive-command",
            "archiving-disabled",
        ] {
            watch.silent(id).await;
        }

        cluster.set("archive_command", Some("false")).await;
        switch_wal(&cluster, 130).await;
        is(
            &cluster,
            "an attempt fails",
            "SELECT failed_count > 0 FROM pg_stat_archiver",
        )
        .await;
        let finding = watch.found("archiver-failing", Level::Warning, "").await;
        assert!(
            finding.title.contains("cannot archive"),
            "{}",
            finding.title
        );
        watch.found("archive-queue", Level::Warning, "").await;
        watch.silent("archive-backlog").await;
        age_oldest_ready_file(&cluster);
        watch.found("archive-backlog", Level::Critical, "").await;
        watch.found("archiver-failing", Level::Critical, "").await;

        cluster.set("archive_command", Some("true")).await;
        watch.found("archive-command", Level::Warning, "").await;
        is(
            &cluster,
            "the queue is empty",
            "SELECT count(*) = 0 FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'",
        )
        .await;
        let works = "SELECT last_archived_time > last_failed_time FROM pg_stat_archiver";
        is(&cluster, "the statistics say so too", works).await;
        for id in ["archiver-failing", "archive-backlog", "archive-queue"] {
            watch.silent(id).await;
        }
        for (command, level) in [("cp %p ../%f", Level::Info), ("", Level::Warning)] {
            cluster.set("archive_command", Some(command)).await;
            watch.found("archive-command", level, "").await;
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file is dated back by the clock"
)]
fn age_oldest_ready_file(cluster: &Cluster) {
    let status = cluster.data_directory().join("pg_wal/archive_status");
    let files = std::fs::read_dir(status)
        .unwrap()
        .map(|file| file.unwrap().path());
    let oldest = files
        .filter(|path| path.extension().is_some_and(|e| e == "ready"))
        .min()
        .unwrap();
    let twenty_minutes_ago = SystemTime::now() - Duration::from_secs(1_200);
    let file = File::options().write(true).open(oldest).unwrap();
    file.set_modified(twenty_minutes_ago).unwrap();
}

#[tokio::test]
async fn a_server_that_archives_nothing_is_told_so() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    watch.found("archiving-disabled", Level::Info, "").await;
    let verdict = watch.verdict("archiver-failing").await;
    assert_eq!(verdict.outcome, Outcome::NotApplicable);
}

#[tokio::test]
async fn forced_checkpoints_are_found_between_two_samples() {
    let ids = [
        "requested-checkpoints",
        "checkpoint-interval",
        "checkpoint-sync-time",
        "checkpoint-overdue",
    ];
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        let first = watch.look(&ids[..1]).await;
        assert_eq!(
            first.verdicts[0].findings[0].blind,
            Some(Blind::FirstSample)
        );
        watch.look(&ids).await;
        assert_eq!(watch.look(&ids).await.level(), Level::Ok, "idle");

        let requested = if version >= Version(17) {
            "SELECT num_requested FROM pg_stat_checkpointer"
        } else {
            "SELECT checkpoints_req FROM pg_stat_bgwriter"
        };
        let before = cluster.sql("postgres", requested).await[0][0]
            .clone()
            .unwrap();
        for _ in 0..5 {
            switch_wal(&cluster, 1).await;
            cluster.sql("postgres", "CHECKPOINT").await;
        }
        is(
            &cluster,
            "the checkpoints are counted",
            &format!("({requested}) >= {before} + 5"),
        )
        .await;
        let seen = watch.look(&ids).await;
        let level = |id: &str| seen.verdicts.iter().find(|v| v.check == id).unwrap().level;
        assert_eq!(level("requested-checkpoints"), Level::Warning, "{seen:#?}");
        assert_eq!(level("checkpoint-interval"), Level::Warning, "{seen:#?}");
        assert_eq!(level("checkpoint-overdue"), Level::Ok, "{seen:#?}");
        assert_eq!(watch.look(&ids).await.level(), Level::Ok, "no more of them");
    }
}

#[tokio::test]
async fn statistics_that_were_reset_between_two_samples_give_no_rate() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    watch.look(&["full-page-images"]).await;
    watch.silent("full-page-images").await;
    let last = "SELECT stats_reset::text FROM pg_stat_wal";
    let before = cluster.sql("postgres", last).await[0][0].clone().unwrap();
    cluster
        .sql("postgres", "SELECT pg_stat_reset_shared('wal')")
        .await;
    let changed = format!("({last}) <> '{before}'");
    is(&cluster, "the statistics are reset", &changed).await;
    let verdict = watch.verdict("full-page-images").await;
    assert_eq!(
        (verdict.outcome, verdict.level),
        (Outcome::Unknown, Level::Unknown)
    );
    assert!(
        matches!(verdict.findings[0].blind, Some(Blind::Reset { .. })),
        "{verdict:#?}"
    );
    watch.silent("full-page-images").await;
}

#[tokio::test]
async fn whoever_keeps_wal_is_named() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    watch.silent("wal-directory-size").await;
    watch.silent("wal-retention").await;
    cluster
        .sql(
            "postgres",
            "SELECT pg_create_physical_replication_slot('gone', true)",
        )
        .await;
    switch_wal(&cluster, 270).await;
    cluster.sql("postgres", "CHECKPOINT").await;
    let finding = watch.found("wal-directory-size", Level::Critical, "").await;
    assert!(
        finding.title.contains("slot \"gone\" keeps"),
        "{}",
        finding.title
    );
    assert_eq!(finding.remedy, "SELECT pg_drop_replication_slot('gone');");
    cluster
        .sql("postgres", "SELECT pg_drop_replication_slot('gone')")
        .await;
    switch_wal(&cluster, 1).await;
    cluster.sql("postgres", "CHECKPOINT").await;
    watch.silent("wal-directory-size").await;
}

#[tokio::test]
async fn what_the_server_does_not_time_is_not_judged() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    let verdict = watch.verdict("wal-sync-latency").await;
    let setting = "track_wal_io_timing = on".to_owned();
    assert_eq!(verdict.findings[0].blind, Some(Blind::Disabled { setting }));
    cluster.set("track_wal_io_timing", Some("on")).await;
    watch.look(&["wal-sync-latency"]).await;
    watch.silent("wal-sync-latency").await;
}

#[tokio::test]
async fn the_wal_summarizer_is_judged_where_there_is_one() {
    for version in versions() {
        let newer = version >= Version(17);
        let settings = [("summarize_wal", "on")];
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            settings: if newer { &settings } else { &[] },
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        if !newer {
            let verdict = watch.verdict("wal-summarizer-lag").await;
            assert_eq!(verdict.outcome, Outcome::NotApplicable);
            continue;
        }
        is(
            &cluster,
            "the summarizer runs",
            "SELECT summarizer_pid IS NOT NULL FROM pg_get_wal_summarizer_state()",
        )
        .await;
        watch.silent("wal-summarizer-lag").await;
        cluster.set("summarize_wal", Some("off")).await;
        let verdict = watch.verdict("wal-summarizer-lag").await;
        assert_eq!(verdict.outcome, Outcome::NotApplicable);
    }
}
