//! Faults of the group `wal`: silent when healthy, found when injected, gone when cleared.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pawang_check::{CHECKS, Group, find};
use pawang_collect::{Catalog, Scope};
use pawang_core::{
    Blind, Cost, Epoch, Facts, Finding, Instance, Level, Outcome, Role, Server, Sighting, Snapshot,
    Timestamp, Value, Verdict,
};
use pawang_testbed::{Cluster, Setup, Version, until, versions};

use crate::watch::{Watch, evaluate};

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

/// What a server would have said: rows of built-in collectors, with NULL in the columns that are not named.
pub(crate) struct Story {
    pub(crate) major: u32,
    pub(crate) role: Role,
    pub(crate) seen: Vec<(&'static str, Vec<(&'static str, Value)>)>,
}

impl Story {
    pub(crate) fn new(major: u32, role: Role) -> Story {
        Story {
            major,
            role,
            seen: Vec::new(),
        }
    }

    /// Adds a row of a collector.
    pub(crate) fn row(mut self, collector: &'static str, row: &[(&'static str, Value)]) -> Story {
        self.seen.push((collector, row.to_vec()));
        self
    }

    /// Adds a setting.
    pub(crate) fn setting(self, name: &str, value: &str) -> Story {
        self.row(
            "settings",
            &[("name", text(name)), ("setting", text(value))],
        )
    }

    /// Tells it as facts, so many seconds after the beginning.
    pub(crate) fn facts(&self, seconds: i64) -> Facts {
        let at = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(1_800_000_000 + seconds);
        let catalog = Catalog::built_in();
        let names: BTreeSet<&str> = self.seen.iter().map(|(name, _)| *name).collect();
        let sightings = names.into_iter().map(|name| {
            let header = &catalog.collector(name).header;
            let database = (header.scope == Scope::Database).then(|| "postgres".to_owned());
            let rows = self.seen.iter().filter(|(collector, _)| *collector == name);
            let value = |row: &[(&str, Value)], column: &str| {
                let found = row.iter().find(|(name, _)| *name == column);
                found.map_or(Value::Null, |(_, value)| value.clone())
            };
            let rows = rows.map(|(_, row)| {
                let known = |name: &str| header.columns.iter().any(|column| column.name == name);
                assert!(
                    row.iter().all(|(column, _)| known(column)),
                    "{name}: {row:?}"
                );
                header
                    .columns
                    .iter()
                    .map(|column| value(row, &column.name))
                    .collect()
            });
            Sighting {
                collector: name.to_owned(),
                database: database.clone(),
                seen: Ok(Arc::new(Snapshot {
                    collector: name.to_owned(),
                    database,
                    at,
                    epoch: Some(Epoch::default()),
                    cost: Cost::default(),
                    columns: header.columns.clone(),
                    rows: rows.collect(),
                })),
            }
        });
        Facts {
            instance: Instance::default(),
            at,
            server: Ok(self.server()),
            down: None,
            databases: vec!["postgres".to_owned()],
            sightings: sightings.collect(),
            notes: Vec::new(),
        }
    }

    fn server(&self) -> Server {
        Server {
            version: self.major * 10_000,
            version_text: self.major.to_string(),
            role: self.role,
            epoch: Epoch::default(),
            user: "monitor".to_owned(),
            superuser: false,
            monitor: true,
            database: "postgres".to_owned(),
            data_directory: None,
            local: false,
        }
    }

    /// Judges this story, a minute after an earlier one.
    pub(crate) fn after(&self, earlier: &Story, id: &str) -> Verdict {
        let (newer, older) = (self.facts(60), earlier.facts(0));
        evaluate(find(id).unwrap(), &newer, Some(&older), &()).unwrap()
    }

    /// Judges this story alone.
    pub(crate) fn now(&self, id: &str) -> Verdict {
        evaluate(find(id).unwrap(), &self.facts(60), None, &()).unwrap()
    }
}

pub(crate) fn text(value: &str) -> Value {
    Value::Text(value.into())
}

/// Asserts what a check says when one counter row grew by these amounts in a minute.
pub(crate) fn grew(
    story: impl Fn() -> Story,
    id: &str,
    collector: &'static str,
    labels: &[(&'static str, Value)],
    growth: &[(&'static str, f64)],
    level: Level,
) {
    let row = |factor: f64| {
        let counters = growth
            .iter()
            .map(|(name, by)| (*name, Value::Float(1e6 + factor * by)));
        labels.iter().cloned().chain(counters).collect::<Vec<_>>()
    };
    let older = story().row(collector, &row(0.0));
    let verdict = story().row(collector, &row(1.0)).after(&older, id);
    assert_eq!(
        (verdict.outcome, verdict.level),
        (Outcome::Judged, level),
        "{growth:?} {verdict:#?}"
    );
}

#[test]
fn counters_of_wal_are_judged_by_their_growth() {
    let primary = || Story::new(15, Role::Primary);
    for (bytes, level) in [(6e7, Level::Ok), (1.8e10, Level::Warning)] {
        grew(
            primary,
            "wal-rate",
            "wal",
            &[],
            &[("wal_bytes", bytes)],
            level,
        );
    }
    for (images, level) in [(1e3, Level::Ok), (2.4e5, Level::Warning)] {
        let growth = [("wal_bytes", 2.2e9), ("wal_fpi", images)];
        grew(primary, "full-page-images", "wal", &[], &growth, level);
    }
    let idle = [("wal_bytes", 8_192.0), ("wal_fpi", 1.0)];
    grew(primary, "full-page-images", "wal", &[], &idle, Level::Ok);
    for (times, level) in [(60.0, Level::Ok), (6_000.0, Level::Warning)] {
        grew(
            primary,
            "wal-buffers-full",
            "wal",
            &[],
            &[("wal_buffers_full", times)],
            level,
        );
    }
    for (spent, level) in [
        (1e3, Level::Ok),
        (2e4, Level::Warning),
        (7e4, Level::Critical),
    ] {
        let growth = [
            ("num_timed", 1.0),
            ("num_requested", 0.0),
            ("sync_time", spent),
        ];
        grew(
            primary,
            "checkpoint-sync-time",
            "checkpointer",
            &[],
            &growth,
            level,
        );
    }
    for (spent, level) in [(200.0, Level::Ok), (6e3, Level::Warning)] {
        let growth = [("wal_sync", 200.0), ("wal_sync_time", spent)];
        let timed = || primary().setting("track_wal_io_timing", "on");
        grew(timed, "wal-sync-latency", "wal", &[], &growth, level);
    }
}

#[test]
fn a_checkpoint_is_overdue_only_where_wal_was_written() {
    for (written, age, level) in [
        (1_000_000, 86_400.0, Level::Ok),
        (1 << 30, 200.0, Level::Ok),
        (1 << 30, 1_000.0, Level::Warning),
        (1 << 30, 10_000.0, Level::Critical),
    ] {
        let story = Story::new(15, Role::Primary)
            .setting("checkpoint_timeout", "300")
            .row(
                "checkpointer",
                &[
                    ("redo_lsn", Value::Int(0)),
                    ("checkpoint_age", Value::Float(age)),
                ],
            )
            .row("wal", &[("current_lsn", Value::Int(written))]);
        assert_eq!(
            story.now("checkpoint-overdue").level,
            level,
            "{written} {age}"
        );
    }
}

#[test]
fn a_wal_summarizer_that_does_not_run_or_lags_is_found() {
    for (pid, behind, level) in [
        (Value::Int(7), 1_000, Level::Ok),
        (Value::Null, 1_000, Level::Warning),
        (Value::Int(7), 2 << 30, Level::Warning),
        (Value::Int(7), 11 << 30, Level::Critical),
    ] {
        let story = Story::new(17, Role::Primary).row(
            "wal-summarizer",
            &[
                ("summarize_wal", text("on")),
                ("summarizer_pid", pid),
                ("pending_lsn", Value::Int(1 << 40)),
                ("current_lsn", Value::Int((1 << 40) + behind)),
            ],
        );
        assert_eq!(story.now("wal-summarizer-lag").level, level, "{behind}");
    }
}

/// Two looks at a primary and its standby that have nothing to do.
#[tokio::test]
async fn a_fresh_server_and_its_standby_are_not_alarming() {
    let groups = [Group::Wal, Group::Replication, Group::Io];
    let ids: Vec<&str> = CHECKS
        .iter()
        .filter(|check| groups.contains(&check.group))
        .map(|check| check.id)
        .collect();
    for version in versions() {
        let primary = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&primary).await;
        let standby = primary.standby("s1").await;
        let mut there = Watch::over(&standby.url_as("monitor", "postgres"));
        for watch in [&mut watch, &mut there] {
            watch.look(&ids).await;
            for verdict in watch.look(&ids).await.verdicts {
                let alarming = |finding: &Finding| {
                    finding.level > Level::Info
                        && !matches!(finding.blind, Some(Blind::Disabled { .. }))
                };
                assert!(!verdict.findings.iter().any(alarming), "{verdict:#?}");
            }
        }
    }
}
