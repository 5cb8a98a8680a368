//! Faults of repositories: silent when healthy, found when injected, gone when cleared; the server beside them is a real one.

use std::time::Duration;

use jiff::SignedDuration;
use pawang_core::backup::{
    BackupFacts, BackupPromise, BackupState, BackupSummary, OtherDrill, ProofSummary,
    RepositoryFacts, Survey, WalGap, WalInterval, WalSummary,
};
use pawang_core::{Blind, Level, Lsn, Outcome, Timestamp};
use pawang_testbed::{Cluster, Setup, until};

use crate::watch::{Watch, now};

const DAY: Duration = Duration::from_secs(86_400);
const OF_REPOSITORIES: [&str; 7] = [
    "backup-age",
    "wal-gap",
    "drill-age",
    "verify-age",
    "repository-space",
    "rpo",
    "rto",
];

fn ago(minutes: i64) -> Timestamp {
    now() - SignedDuration::from_mins(minutes)
}

fn drill(minutes_ago: i64, passed: bool) -> ProofSummary {
    ProofSummary {
        at: ago(minutes_ago),
        state: BackupState::Proven,
        passed,
        detail: "probe 1 answered f".to_owned(),
        rto: Some(Duration::from_secs(120)),
    }
}

/// Returns a repository in which all is well for a server that writes at a position.
fn healthy(here: Lsn) -> BackupFacts {
    let at = ago(300);
    let backup = BackupSummary {
        id: "01M0000000000000000000000A".to_owned(),
        kind: "full".to_owned(),
        parent: None,
        state: BackupState::Proven,
        started_at: at,
        ended_at: at,
        timeline: 1,
        start: Lsn(100),
        stop: Lsn(200),
        data_bytes: 4 << 30,
        stored_bytes: 1 << 30,
        pages_checked: 9,
        pages_wrong: 0,
        proofs: vec![drill(60, true)],
        read_since: Some(at),
        rotten: None,
        held: None,
        marked_at: None,
        fate: "it is the newest".to_owned(),
        broken: None,
    };
    let wal = WalSummary {
        intervals: vec![WalInterval {
            timeline: 1,
            from: Lsn(0),
            to: here,
            stored_at: Some(ago(40)),
        }],
        durable: Some(here),
        timeline: Some(1),
        durable_at: Some(ago(40)),
        ..WalSummary::default()
    };
    let survey = Survey {
        backups: vec![backup],
        wal,
        used_bytes: 2 << 30,
        free_bytes: Some(8 << 30),
        ..Survey::default()
    };
    BackupFacts {
        repositories: vec![RepositoryFacts {
            name: "main".to_owned(),
            place: "/srv/backup".to_owned(),
            at: now(),
            survey: Ok(survey),
            troubles: Vec::new(),
        }],
        others: Vec::new(),
        promise: BackupPromise {
            rpo: Some(Duration::from_secs(60)),
            rto: Some(Duration::from_secs(600)),
            drill_every: 7 * DAY,
            verify_every: 30 * DAY,
            slot: None,
        },
    }
}

/// Changes what the only repository holds.
fn with(facts: &BackupFacts, change: impl FnOnce(&mut Survey)) -> BackupFacts {
    let mut facts = facts.clone();
    change(facts.repositories[0].survey.as_mut().unwrap());
    facts
}

async fn position(cluster: &Cluster) -> Lsn {
    let sql = "SELECT pg_current_wal_lsn()::text";
    let rows = cluster.sql("postgres", sql).await;
    rows[0][0].as_ref().unwrap().parse().unwrap()
}

#[tokio::test]
async fn repositories_are_judged_by_what_is_in_them() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    for id in [
        "wal-gap",
        "drill-age",
        "verify-age",
        "repository-space",
        "rpo",
        "rto",
        "slot-risk",
    ] {
        assert_eq!(
            watch.verdict(id).await.outcome,
            Outcome::NotApplicable,
            "{id}"
        );
    }
    // A server that nobody uses writes nothing more once it has settled; the position far ahead stands for that.
    let settled = healthy(Lsn(position(&cluster).await.0 + (1 << 30)));
    watch.repositories = settled.clone();
    for id in OF_REPOSITORIES {
        watch.silent(id).await;
    }

    watch.repositories = with(&settled, |survey| {
        let gap = WalGap {
            timeline: 1,
            from: Lsn(300),
            to: Lsn(400),
            needed: true,
            healed: false,
        };
        survey.wal.gaps.push(gap);
    });
    let finding = watch.found("wal-gap", Level::Critical, "main").await;
    assert!(
        finding.title.contains("from 0/12C to 0/190"),
        "{}",
        finding.title
    );
    watch.repositories = with(&watch.repositories, |survey| {
        survey.wal.gaps[0].healed = true
    });
    watch.found("wal-gap", Level::Warning, "main").await;
    watch.repositories = with(&settled, |survey| survey.wal.conflicts.push("x".to_owned()));
    watch.found("wal-gap", Level::Critical, "main").await;

    failed_drills(&mut watch, &settled).await;
    for (days, level) in [(8, Level::Warning), (15, Level::Critical)] {
        watch.repositories = with(&settled, |survey| {
            survey.backups[0].proofs = vec![drill(days * 24 * 60, true)];
        });
        watch.found("drill-age", level, "main").await;
    }
    watch.repositories = with(&settled, |survey| survey.backups[0].proofs.clear());
    watch.found("drill-age", Level::Warning, "main").await;
    watch.found("rto", Level::Warning, "main").await;
    watch.repositories.promise.rto = None;
    assert_eq!(watch.verdict("rto").await.outcome, Outcome::NotApplicable);
    watch.repositories = settled.clone();
    watch.repositories.promise.rto = Some(Duration::from_secs(100));
    watch.found("rto", Level::Critical, "main").await;

    watch.repositories = settled;
    for id in OF_REPOSITORIES {
        watch.silent(id).await;
    }
}

async fn failed_drills(watch: &mut Watch, settled: &BackupFacts) {
    watch.repositories = with(settled, |survey| {
        survey.backups[0].proofs.push(drill(1, false))
    });
    let finding = watch.found("drill-age", Level::Critical, "main").await;
    assert!(
        finding.title.contains("probe 1 answered f"),
        "{}",
        finding.title
    );
    // Also where that leaves no backup that counts.
    watch.repositories = with(&watch.repositories, |survey| {
        survey.backups[0].state = BackupState::Failed;
    });
    watch.found("drill-age", Level::Critical, "main").await;
}

#[tokio::test]
async fn drills_of_other_tools_are_judged_too() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    let other = |minutes: i64, passed: bool| OtherDrill {
        tool: "pgbackrest".to_owned(),
        set: "main".to_owned(),
        at: ago(minutes),
        passed,
        detail: "replay: it ended before it was open".to_owned(),
        proven: Some(("20261101-020000F".to_owned(), ago(minutes + 1))),
    };
    // No repository of ours is needed for that.
    watch.repositories.promise.drill_every = 7 * DAY;
    watch.repositories.others = vec![other(60, true)];
    watch.silent("drill-age").await;
    for (minutes, passed, level) in [
        (8 * 24 * 60, true, Level::Warning),
        (15 * 24 * 60, true, Level::Critical),
        (1, false, Level::Critical),
    ] {
        watch.repositories.others = vec![other(minutes, passed)];
        let finding = watch.found("drill-age", level, "pgbackrest main").await;
        let command = "drill run -i";
        assert!(finding.remedy.contains(command), "{}", finding.remedy);
    }
    let here = Lsn(position(&cluster).await.0 + (1 << 30));
    watch.repositories = healthy(here);
    watch.repositories.others = vec![other(1, false)];
    watch
        .found("drill-age", Level::Critical, "pgbackrest main")
        .await;
    watch.repositories.others.clear();
    watch.silent("drill-age").await;
}

#[tokio::test]
async fn what_rots_or_is_not_read_again_is_told() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    let settled = healthy(Lsn(position(&cluster).await.0 + (1 << 30)));
    for (days, level) in [(31, Level::Warning), (61, Level::Critical)] {
        watch.repositories = with(&settled, |survey| {
            survey.backups[0].read_since = Some(ago(days * 24 * 60));
        });
        watch.found("verify-age", level, "main").await;
    }
    watch.repositories = with(&settled, |survey| {
        survey.backups[0].rotten = Some("\"part-00000.tar.zst\" has the SHA-256 ff".to_owned());
    });
    let finding = watch.found("verify-age", Level::Critical, "main").await;
    let named = finding.title.contains("part-00000.tar.zst");
    assert!(named, "{}", finding.title);
    // A restore that failed says nothing about stored bytes, and has its own check.
    watch.repositories = with(&settled, |survey| {
        survey.backups[0].state = BackupState::Failed;
        survey.backups[0].proofs.push(drill(1, false));
    });
    watch.silent("verify-age").await;
    watch.repositories = settled;
    watch.silent("verify-age").await;
}

#[tokio::test]
async fn room_and_wrong_pages() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    let settled = healthy(Lsn(position(&cluster).await.0 + (1 << 30)));
    watch.repositories = with(&settled, |survey| survey.free_bytes = Some(200 << 20));
    watch
        .found("repository-space", Level::Critical, "main")
        .await;
    watch.repositories = with(&settled, |survey| survey.space_bytes = Some(2400 << 20));
    watch
        .found("repository-space", Level::Warning, "main")
        .await;

    watch.repositories = with(&settled, |survey| survey.backups[0].pages_wrong = 1);
    watch.found("backup-failed", Level::Critical, "main").await;
    watch.found("backup-age", Level::Critical, "main").await;
    watch.found("rpo", Level::Critical, "main").await;

    watch.repositories = settled;
    for id in OF_REPOSITORIES {
        watch.silent(id).await;
    }
}

#[tokio::test]
async fn a_repository_that_cannot_be_looked_at_is_never_ok() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    let facts = healthy(Lsn(1 << 40));
    let mut away = facts.repositories[0].clone();
    away.name = "away".to_owned();
    away.survey = Err(Blind::Unreachable {
        what: "could not list \"cluster\" in repository s3://away".to_owned(),
        hint: None,
    });
    watch.repositories = facts;
    watch.repositories.repositories.push(away);
    for id in [
        "backup-age",
        "wal-gap",
        "drill-age",
        "verify-age",
        "repository-space",
        "rto",
    ] {
        let finding = watch.found(id, Level::Unknown, "away").await;
        assert!(
            finding.title.contains("could not list"),
            "{}",
            finding.title
        );
    }
    // What is in one repository is not lost, whatever is with the other.
    watch.silent("rpo").await;
    watch.repositories.repositories.remove(0);
    watch.found("rpo", Level::Unknown, "away").await;
    // What was looked at long ago says nothing about now.
    let mut stale = healthy(Lsn(1 << 40));
    stale.repositories[0].at = ago(90);
    watch.repositories = stale;
    watch.found("rpo", Level::Unknown, "main").await;
    watch.found("wal-gap", Level::Unknown, "main").await;
}

#[tokio::test]
async fn what_was_not_stored_counts_from_the_last_time_that_all_was() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    watch.repositories = healthy(Lsn(position(&cluster).await.0 + (1 << 30)));
    watch.silent("rpo").await;
    watch.repositories = with(&watch.repositories, |survey| {
        survey.wal.durable = Some(Lsn(300))
    });
    let finding = watch.found("rpo", Level::Critical, "main").await;
    assert!(finding.title.contains("last 40 min"), "{}", finding.title);
    watch.repositories = with(&watch.repositories, |survey| {
        survey.wal.complete_at = Some(now());
    });
    watch.silent("rpo").await;
}

#[tokio::test]
async fn the_slot_of_the_receiver() {
    let settings = [("max_slot_wal_keep_size", "64MB")];
    let cluster = Cluster::start(&Setup {
        settings: &settings,
        ..Setup::default()
    })
    .await;
    let mut watch = Watch::start(&cluster).await;
    watch.repositories = healthy(Lsn(1 << 40));
    watch.repositories.promise.slot = Some("pawang".to_owned());
    let finding = watch.found("slot-risk", Level::Critical, "pawang").await;
    assert!(
        finding.title.contains("does not exist"),
        "{}",
        finding.title
    );
    let create = "SELECT pg_create_physical_replication_slot('pawang', true)";
    cluster.sql("postgres", create).await;
    watch.silent("slot-risk").await;
    let write = "SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000)) FROM generate_series(1, 36)";
    cluster.sql("postgres", write).await;
    watch.found("slot-risk", Level::Warning, "pawang").await;
    cluster.sql("postgres", write).await;
    cluster.sql("postgres", write).await;
    until("the slot is lost", async || {
        cluster.sql("postgres", "CHECKPOINT").await;
        let lost = "SELECT FROM pg_replication_slots WHERE wal_status = 'lost'";
        !cluster.sql("postgres", lost).await.is_empty()
    })
    .await;
    let finding = watch.found("slot-risk", Level::Critical, "pawang").await;
    assert!(finding.title.contains("is lost"), "{}", finding.title);
    cluster
        .sql("postgres", "SELECT pg_drop_replication_slot('pawang')")
        .await;
    cluster.sql("postgres", create).await;
    watch.silent("slot-risk").await;
}
