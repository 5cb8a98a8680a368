//! Faults of the group `replication`: silent when healthy, found when injected, gone when cleared.

use pawang_core::{Blind, Level, Outcome, Role, Value};
use pawang_testbed::{Cluster, Setup, Stop, Version, until, versions};

use crate::connections::strict;
use crate::wal::{Story, grew, is, switch_wal, text};
use crate::watch::Watch;

const ON_PRIMARY: [&str; 9] = [
    "expected-standbys",
    "standby-state",
    "standby-reply",
    "standby-horizon",
    "wal-senders",
    "sync-commit-waits",
    "replication-lag-bytes",
    "replication-lag",
    "slot-lost",
];
const ON_STANDBY: [&str; 5] = [
    "standby-lag",
    "replay-backlog",
    "replay-paused",
    "wal-receiver",
    "standby-timeline",
];

async fn all_silent(watch: &mut Watch, ids: &[&str]) {
    let seen = watch.look(ids).await;
    for verdict in &seen.verdicts {
        let good = (verdict.outcome, verdict.level) == (Outcome::Judged, Level::Ok);
        assert!(good, "{} must be silent: {verdict:#?}", verdict.check);
    }
}

async fn caught_up(primary: &Cluster, standby: &Cluster) {
    until("the standby has replayed everything", async || {
        let end = primary.sql("postgres", "SELECT pg_current_wal_lsn()::text").await[0][0].clone().unwrap();
        let sql = format!(
            "SELECT (pg_last_wal_replay_lsn() >= '{end}' AND pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn())::text"
        );
        standby.sql("postgres", &sql).await[0][0].as_deref() == Some("true")
    })
    .await;
    let replayed =
        "SELECT count(*) > 0 FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()";
    is(primary, "the primary knows it", replayed).await;
}

#[tokio::test]
async fn lag_is_seen_from_both_sides_and_an_idle_standby_has_none() {
    for version in versions() {
        let primary = Cluster::start(&Setup {
            version: Some(version),
            settings: &[("wal_keep_size", "512MB")],
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&primary).await;
        let standby = primary.standby("s1").await;
        let mut there = Watch::over(&standby.url_as("monitor", "postgres"));
        watch.instance.expected_standbys = vec!["s1".to_owned()];
        caught_up(&primary, &standby).await;
        for _ in 0..2 {
            all_silent(&mut watch, &ON_PRIMARY).await;
            all_silent(&mut there, &ON_STANDBY).await;
        }

        standby
            .sql("postgres", "SELECT pg_wal_replay_pause()")
            .await;
        is(
            &standby,
            "replay is paused",
            "pg_get_wal_replay_pause_state() = 'paused'",
        )
        .await;
        // The primary logs its running transactions now and then, so something may be pending already.
        assert_ne!(there.verdict("replay-paused").await.level, Level::Ok);
        switch_wal(&primary, 140).await;
        is(
            &standby,
            "WAL is pending",
            "pg_last_wal_receive_lsn() - pg_last_wal_replay_lsn() > 130000000",
        )
        .await;
        there.found("replay-paused", Level::Warning, "").await;
        there.found("replay-backlog", Level::Warning, "").await;
        watch
            .found("replication-lag-bytes", Level::Warning, "s1")
            .await;
        for (watch, id) in [(&mut watch, "replication-lag"), (&mut there, "standby-lag")] {
            watch.look(&[id]).await;
            let verdict = strict(watch, id, 0.001).await;
            assert_eq!(verdict.level, Level::Warning, "{verdict:#?}");
        }
        standby
            .sql("postgres", "SELECT pg_wal_replay_resume()")
            .await;
        caught_up(&primary, &standby).await;
        all_silent(&mut watch, &ON_PRIMARY).await;
        all_silent(&mut there, &ON_STANDBY).await;
    }
}

#[tokio::test]
async fn a_standby_that_is_gone_is_missed() {
    let primary = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&primary).await;
    let standby = primary.standby("s1").await;
    let mut there = Watch::over(&standby.url_as("monitor", "postgres"));
    assert_eq!(
        watch.verdict("expected-standbys").await.outcome,
        Outcome::NotApplicable
    );
    watch.instance.expected_standbys = vec!["s1".to_owned(), "s2".to_owned()];
    watch
        .found("expected-standbys", Level::Critical, "s2")
        .await;
    watch.instance.expected_standbys = vec!["s1".to_owned()];
    watch.silent("expected-standbys").await;

    standby
        .set(
            "primary_conninfo",
            Some("host=/nowhere application_name=s1"),
        )
        .await;
    is(
        &standby,
        "the receiver is gone",
        "SELECT count(*) = 0 FROM pg_stat_wal_receiver",
    )
    .await;
    there.found("wal-receiver", Level::Critical, "").await;
    watch
        .found("expected-standbys", Level::Critical, "s1")
        .await;
    assert_eq!(
        watch.verdict("replication-lag").await.outcome,
        Outcome::NotApplicable
    );
    standby.set("primary_conninfo", None).await;
    primary.streaming_to("s1").await;
    there.silent("wal-receiver").await;
    watch.silent("expected-standbys").await;
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "a commit hangs while the test goes on"
)]
async fn a_synchronous_standby_that_is_gone_is_found() {
    let primary = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&primary).await;
    let mut standby = primary.standby("s1").await;
    assert_eq!(
        watch.verdict("sync-standbys").await.outcome,
        Outcome::NotApplicable
    );
    primary
        .set("synchronous_standby_names", Some("FIRST 1 (s1)"))
        .await;
    is(
        &primary,
        "s1 is synchronous",
        "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'",
    )
    .await;
    watch.silent("sync-standbys").await;
    standby.stop(Stop::Fast).await;
    is(
        &primary,
        "s1 is gone",
        "SELECT count(*) = 0 FROM pg_stat_replication",
    )
    .await;
    let stuck = primary.connect("postgres").await;
    let commit = tokio::spawn(async move { stuck.batch_execute("CREATE TABLE waits ()").await });
    is(
        &primary,
        "a commit waits",
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
    )
    .await;
    watch.found("sync-standbys", Level::Critical, "").await;
    let verdict = watch.verdict("sync-commit-waits").await;
    assert!(verdict.measures[0].value > 0.0, "{verdict:#?}");
    primary.set("synchronous_standby_names", None).await;
    commit.await.unwrap().unwrap();
    all_silent(&mut watch, &["sync-commit-waits"]).await;
}

#[tokio::test]
async fn a_report_that_replay_cancelled_is_found() {
    let primary = Cluster::start(&Setup {
        settings: &[("max_standby_streaming_delay", "0")],
        ..Setup::default()
    })
    .await;
    primary.monitor().await;
    primary
        .sql("postgres", "CREATE TABLE t AS SELECT 1 AS a")
        .await;
    let standby = primary.standby("s1").await;
    let mut watch = Watch::over(&standby.url_as("monitor", "postgres"));
    watch.look(&["recovery-conflicts"]).await;
    caught_up(&primary, &standby).await;
    let report = standby.hold("postgres", "SELECT * FROM t").await;
    watch.silent("recovery-conflicts").await;
    primary.sql("postgres", "DROP TABLE t").await;
    let counted = "SELECT conflicts > 0 FROM pg_stat_database WHERE datname = 'postgres'";
    is(&standby, "the cancelled report is counted", counted).await;
    let finding = watch
        .found("recovery-conflicts", Level::Warning, "postgres")
        .await;
    assert_eq!(finding.evidence[0].0, "confl_lock");
    drop(report);
    watch.silent("recovery-conflicts").await;
}

#[tokio::test]
async fn a_failover_slot_that_cannot_follow_is_found() {
    let Some(version) = versions()
        .into_iter()
        .find(|version| *version >= Version(17))
    else {
        return;
    };
    let primary = Cluster::start(&Setup {
        version: Some(version),
        settings: &[("wal_level", "logical"), ("hot_standby_feedback", "on")],
        ..Setup::default()
    })
    .await;
    primary.monitor().await;
    primary
        .sql(
            "postgres",
            "SELECT pg_create_physical_replication_slot('s1', true)",
        )
        .await;
    let standby = primary.standby("s1").await;
    let mut watch = Watch::over(&standby.url_as("monitor", "postgres"));
    assert_eq!(
        watch.verdict("failover-slots").await.outcome,
        Outcome::NotApplicable
    );
    let conninfo = format!(
        "host={} port={} user=postgres application_name=s1 dbname=postgres",
        primary.socket_directory().display(),
        primary.port()
    );
    for (name, value) in [
        ("primary_conninfo", conninfo.as_str()),
        ("primary_slot_name", "s1"),
        ("sync_replication_slots", "on"),
    ] {
        standby.set(name, Some(value)).await;
    }
    is(
        &primary,
        "the standby uses its slot",
        "SELECT active AND xmin IS NOT NULL FROM pg_replication_slots",
    )
    .await;
    watch.silent("failover-slots").await;
    let create = "SELECT pg_create_logical_replication_slot('f', 'pgoutput', false, false, true)";
    primary.sql("postgres", create).await;
    until("the synchronized slot is usable", async || {
        let verdict = watch.verdict("failover-slots").await;
        verdict.level == Level::Ok && !verdict.measures.is_empty()
    })
    .await;
    primary.set("max_slot_wal_keep_size", Some("1MB")).await;
    switch_wal(&primary, 12).await;
    primary.sql("postgres", "CHECKPOINT").await;
    let lost = "SELECT count(*) = 1 FROM pg_replication_slots WHERE synced AND invalidation_reason IS NOT NULL";
    is(&standby, "the slot is lost on the standby too", lost).await;
    watch.found("failover-slots", Level::Warning, "f").await;
    primary
        .sql("postgres", "SELECT pg_drop_replication_slot('f')")
        .await;
    let gone = "SELECT count(*) = 0 FROM pg_replication_slots WHERE synced";
    is(&standby, "the slot is dropped on the standby too", gone).await;
    watch.silent("failover-slots").await;
}

#[tokio::test]
async fn what_the_role_may_not_see_is_unknown() {
    let primary = Cluster::start(&Setup::default()).await;
    primary.sql("postgres", "CREATE ROLE plain LOGIN").await;
    let standby = primary.standby("s1").await;
    let mut watch = Watch::over(&primary.url_as("plain", "postgres"));
    watch.instance.expected_standbys = vec!["s1".to_owned()];
    let mut there = Watch::over(&standby.url_as("plain", "postgres"));
    let on_primary = [
        "expected-standbys",
        "standby-state",
        "standby-reply",
        "standby-horizon",
        "sync-commit-waits",
        "replication-lag-bytes",
        "replication-lag",
        "archiving-disabled",
        "wal-directory-size",
    ];
    for (watch, ids) in [
        (&mut watch, &on_primary[..]),
        (&mut there, &["wal-receiver", "standby-timeline"]),
    ] {
        for verdict in watch.look(ids).await.verdicts {
            let blind = verdict
                .findings
                .first()
                .and_then(|finding| finding.blind.clone());
            assert!(
                matches!(blind, Some(Blind::NoPrivilege { .. })),
                "{verdict:#?}"
            );
        }
    }
}

#[tokio::test]
async fn a_promotion_is_seen_as_a_new_timeline() {
    let primary = Cluster::start(&Setup::default()).await;
    primary.monitor().await;
    let standby = primary.standby("s1").await;
    let mut watch = Watch::over(&standby.url_as("monitor", "postgres"));
    watch.look(&["timeline-changed"]).await;
    watch.silent("timeline-changed").await;
    standby.sql("postgres", "SELECT pg_promote()").await;
    standby.sql("postgres", "CHECKPOINT").await;
    watch.found("timeline-changed", Level::Warning, "").await;
    watch.silent("timeline-changed").await;
}

#[tokio::test]
async fn a_slot_that_nobody_uses_is_found_before_and_after_it_is_lost() {
    let ids = [
        "slot-inactive",
        "slot-lost",
        "slot-retained",
        "slot-unlimited",
        "replication-slots",
    ];
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            // A checkpoint of the server's own would lose the slot before the test does.
            settings: &[
                ("max_replication_slots", "2"),
                ("max_wal_size", "4GB"),
                ("checkpoint_timeout", "1h"),
            ],
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        for id in [
            "slot-inactive",
            "slot-lost",
            "slot-unlimited",
            "replication-slots",
        ] {
            watch.silent(id).await;
        }
        cluster
            .sql(
                "postgres",
                "SELECT pg_create_physical_replication_slot('gone', true)",
            )
            .await;
        watch.silent("slot-inactive").await;
        watch.found("slot-unlimited", Level::Info, "").await;
        switch_wal(&cluster, 70).await;
        let finding = watch.found("slot-inactive", Level::Warning, "gone").await;
        assert_eq!(finding.since.is_some(), version >= Version(17));
        watch.silent("replication-slots").await;
        cluster
            .sql(
                "postgres",
                "SELECT pg_create_physical_replication_slot('second')",
            )
            .await;
        watch.found("replication-slots", Level::Critical, "").await;

        cluster.set("max_slot_wal_keep_size", Some("80MB")).await;
        watch.silent("slot-unlimited").await;
        watch.found("slot-retained", Level::Warning, "gone").await;
        watch.silent("slot-lost").await;
        switch_wal(&cluster, 12).await;
        watch.found("slot-retained", Level::Critical, "gone").await;
        watch.found("slot-lost", Level::Warning, "gone").await;
        cluster.sql("postgres", "CHECKPOINT").await;
        watch.found("slot-lost", Level::Critical, "gone").await;
        let drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots";
        cluster.sql("postgres", drop).await;
        all_silent(&mut watch, &ids).await;
    }
}

const SUBSCRIBER: [&str; 4] = [
    "subscription-disabled",
    "subscription-worker",
    "subscription-lag",
    "subscription-sync",
];

#[tokio::test]
async fn a_subscription_that_does_not_apply_is_found() {
    for version in versions() {
        let setup = || Setup {
            version: Some(version),
            settings: &[
                ("wal_level", "logical"),
                ("wal_retrieve_retry_interval", "100ms"),
            ],
            ..Setup::default()
        };
        let (mut publisher, subscriber) = (
            Cluster::start(&setup()).await,
            Cluster::start(&setup()).await,
        );
        for cluster in [&publisher, &subscriber] {
            cluster
                .sql("postgres", "CREATE TABLE t (id int PRIMARY KEY)")
                .await;
        }
        let mut there = Watch::start(&publisher).await;
        let mut watch = Watch::start(&subscriber).await;
        all_silent(&mut watch, &SUBSCRIBER).await;
        publisher
            .sql("postgres", "CREATE PUBLICATION p FOR TABLE t")
            .await;
        subscriber.sql("postgres", &subscription(&publisher)).await;
        let ready = "SELECT count(*) = 1 FROM pg_subscription_rel WHERE srsubstate = 'r'";
        is(&subscriber, "the table is copied", ready).await;
        all_silent(&mut watch, &SUBSCRIBER).await;
        all_silent(
            &mut there,
            &[
                "publication-empty",
                "publication-identity",
                "logical-slot-lag",
            ],
        )
        .await;

        subscriber
            .sql("postgres", "ALTER SUBSCRIPTION \"S\" DISABLE")
            .await;
        let finding = watch
            .found("subscription-disabled", Level::Warning, "S")
            .await;
        assert_eq!(finding.remedy, "ALTER SUBSCRIPTION \"S\" ENABLE;");
        subscriber
            .sql("postgres", "ALTER SUBSCRIPTION \"S\" ENABLE")
            .await;
        worker_runs(&subscriber).await;
        watch.silent("subscription-disabled").await;

        apply_error(&publisher, &subscriber, &mut watch).await;
        published_badly(&publisher, &mut there).await;
        publisher.stop(Stop::Fast).await;
        until("the apply worker is down", async || {
            watch.verdict("subscription-worker").await.level == Level::Critical
        })
        .await;
        publisher.start_again().await;
        worker_runs(&subscriber).await;
        watch.silent("subscription-worker").await;
    }
}

fn subscription(publisher: &Cluster) -> String {
    let socket = publisher.socket_directory().display();
    let port = publisher.port();
    format!(
        "CREATE SUBSCRIPTION \"S\" CONNECTION 'host={socket} port={port} user=postgres dbname=postgres' \
         PUBLICATION p WITH (slot_name = 's')"
    )
}

async fn worker_runs(subscriber: &Cluster) {
    let sql =
        "SELECT count(*) = 1 FROM pg_stat_subscription WHERE last_msg_receipt_time IS NOT NULL";
    is(subscriber, "the apply worker runs", sql).await;
}

/// A row that is on the subscriber already stops the apply worker until it is removed.
async fn apply_error(publisher: &Cluster, subscriber: &Cluster, watch: &mut Watch) {
    if subscriber.version() < Version(15) {
        let verdict = watch.verdict("subscription-errors").await;
        assert_eq!(verdict.outcome, Outcome::NotApplicable);
        return;
    }
    let ids = ["subscription-errors", "subscription-conflicts"];
    watch.look(&ids).await;
    assert_eq!(watch.look(&ids).await.level(), Level::Ok);
    subscriber.sql("postgres", "INSERT INTO t VALUES (1)").await;
    publisher.sql("postgres", "INSERT INTO t VALUES (1)").await;
    let counted = "SELECT apply_error_count > 0 FROM pg_stat_subscription_stats";
    is(subscriber, "the error is counted", counted).await;
    let seen = watch.look(&ids).await;
    let level = |id: &str| seen.verdicts.iter().find(|v| v.check == id).unwrap().level;
    assert!(level("subscription-errors") >= Level::Warning, "{seen:#?}");
    let conflicts = if subscriber.version() >= Version(18) {
        Level::Warning
    } else {
        Level::Ok
    };
    assert_eq!(level("subscription-conflicts"), conflicts, "{seen:#?}");
    subscriber.sql("postgres", "DELETE FROM t").await;
    is(
        subscriber,
        "the row has arrived",
        "SELECT count(*) = 1 FROM t",
    )
    .await;
    watch.look(&ids).await;
    assert_eq!(watch.look(&ids).await.level(), Level::Ok);
}

async fn published_badly(publisher: &Cluster, watch: &mut Watch) {
    publisher
        .sql(
            "postgres",
            "CREATE TABLE \"No Key\" (id int); CREATE PUBLICATION empty",
        )
        .await;
    publisher
        .sql(
            "postgres",
            "CREATE PUBLICATION keyless FOR TABLE \"No Key\"",
        )
        .await;
    watch
        .found("publication-empty", Level::Warning, "empty")
        .await;
    let finding = watch
        .found("publication-identity", Level::Warning, "keyless")
        .await;
    assert!(
        finding.title.contains("public.\"No Key\""),
        "{}",
        finding.title
    );
    publisher
        .sql(
            "postgres",
            "DROP PUBLICATION empty; DROP PUBLICATION keyless",
        )
        .await;
    all_silent(watch, &["publication-empty", "publication-identity"]).await;
}

fn sender(state: &str, more: &[(&'static str, Value)]) -> Story {
    let mut row = vec![
        ("application_name", text("s1")),
        ("pid", Value::Int(7)),
        ("state", text(state)),
    ];
    row.extend_from_slice(more);
    Story::new(15, Role::Primary).row("replication", &row)
}

#[test]
fn wal_senders_are_judged_by_state_reply_and_horizon() {
    let connected = |second: i64| {
        let at = pawang_core::Timestamp::UNIX_EPOCH
            + jiff::SignedDuration::from_secs(1_800_000_000 + second);
        [("backend_start", Value::Time(at))]
    };
    for (state, second, level) in [
        ("catchup", 59, Level::Ok),
        ("catchup", -600, Level::Warning),
        ("backup", -600, Level::Ok),
        ("streaming", -600, Level::Ok),
    ] {
        let verdict = sender(state, &connected(second)).now("standby-state");
        assert_eq!(verdict.level, level, "{verdict:#?}");
    }
    for (age, level) in [
        (9.0, Level::Ok),
        (60.0, Level::Warning),
        (600.0, Level::Critical),
    ] {
        let verdict = sender("streaming", &[("reply_age", Value::Float(age))]).now("standby-reply");
        assert_eq!(verdict.level, level, "{verdict:#?}");
    }
    for (age, level) in [(1_000, Level::Ok), (6_000_000, Level::Warning)] {
        let verdict =
            sender("streaming", &[("backend_xmin_age", Value::Int(age))]).now("standby-horizon");
        assert_eq!(verdict.level, level, "{verdict:#?}");
    }
}

#[test]
fn the_lag_of_a_standby_is_never_taken_from_the_interval_alone() {
    let lag = |current: i64, replayed: i64, interval: Value| {
        sender(
            "streaming",
            &[
                ("current_lsn", Value::Int(current)),
                ("replay_lsn", Value::Int(replayed)),
                ("replay_lag", interval),
            ],
        )
    };
    let earlier = lag(1_000, 1_000, Value::Null);
    for (current, replayed, interval, level) in [
        // Idle for an hour, with the interval of its last commit.
        (1_000, 1_000, Value::Float(7.0), Level::Ok),
        (9_000, 2_000, Value::Float(0.1), Level::Ok),
        (9_000, 2_000, Value::Float(6.0), Level::Warning),
        // Replay is paused since before the last sample: the interval stays small.
        (9_000, 500, Value::Float(0.136), Level::Critical),
    ] {
        let verdict = lag(current, replayed, interval).after(&earlier, "replication-lag");
        assert_eq!(verdict.level, level, "{verdict:#?}");
    }
}

#[test]
fn a_standby_of_an_idle_primary_has_no_lag() {
    const MB: i64 = 1 << 20;
    let standby = |received: i64, replayed: i64, last: Value| {
        let row = [
            ("receive_lsn", Value::Int(received)),
            ("replay_lsn", Value::Int(replayed)),
            ("last_xact_replay_age", last),
            ("pause_state", text("not paused")),
        ];
        Story::new(15, Role::Standby).row("recovery", &row)
    };
    for (received, replayed, last, level) in [
        (MB, MB, Value::Float(86_400.0), Level::Ok),
        (MB, MB, Value::Null, Level::Ok),
        // One commit after an idle day is on its way.
        (MB + 900, MB, Value::Float(86_400.0), Level::Ok),
        // A minute's worth at most.
        (9 * MB, 2 * MB, Value::Float(86_400.0), Level::Critical),
        (9 * MB, 2 * MB, Value::Float(1.0), Level::Ok),
        // Nothing at all was replayed since the last sample.
        (9 * MB, MB / 2, Value::Float(1.0), Level::Critical),
    ] {
        let earlier = standby(MB, MB, Value::Float(86_340.0));
        let verdict = standby(received, replayed, last).after(&earlier, "standby-lag");
        assert_eq!(verdict.level, level, "{received} {replayed} {verdict:#?}");
        assert!(verdict.measures[0].value <= 60.0, "{verdict:#?}");
    }
    let verdict = standby(9 * MB, MB, Value::Null).now("standby-lag");
    assert_eq!(
        verdict.outcome,
        Outcome::Unknown,
        "pending, and no commit to date it by"
    );
}

#[test]
fn slots_and_subscriptions_are_judged_by_what_they_report() {
    for (behind, level) in [
        (1_000, Level::Ok),
        (2 << 30, Level::Warning),
        (11 << 30, Level::Critical),
    ] {
        let row = [
            ("slot_name", text("s")),
            ("slot_type", text("logical")),
            ("active", Value::Bool(true)),
            ("confirmed_flush_lsn", Value::Int(0)),
            ("current_lsn", Value::Int(behind)),
        ];
        let story = Story::new(15, Role::Primary).row("slots", &row);
        assert_eq!(story.now("logical-slot-lag").level, level, "{behind}");
    }
    let slot = [("slot_name", text("s"))];
    for (spilled, level) in [(1e6, Level::Ok), (1.2e9, Level::Warning)] {
        let primary = || Story::new(15, Role::Primary);
        grew(
            primary,
            "slot-spill",
            "slot-stats",
            &slot,
            &[("spill_bytes", spilled)],
            level,
        );
    }
    for (pid, relid, age, worker, lag) in [
        (Value::Int(7), Value::Null, 3.0, Level::Ok, Level::Ok),
        (Value::Int(7), Value::Null, 100.0, Level::Ok, Level::Warning),
        (Value::Null, Value::Null, 0.0, Level::Critical, Level::Ok),
        // Only a table copy is left of it.
        (
            Value::Int(7),
            Value::Int(16_384),
            3.0,
            Level::Critical,
            Level::Ok,
        ),
    ] {
        let row = [
            ("subname", text("s")),
            ("datname", text("dwh")),
            ("subenabled", Value::Bool(true)),
            ("pid", pid),
            ("relid", relid),
            ("last_msg_receipt_age", Value::Float(age)),
        ];
        let story = Story::new(15, Role::Primary).row("subscriptions", &row);
        assert_eq!(story.now("subscription-worker").level, worker);
        assert_eq!(story.now("subscription-lag").level, lag);
    }
    let row = [
        ("subname", text("s")),
        ("srsubstate", text("d")),
        ("tables", Value::Int(3)),
    ];
    let copying = Story::new(15, Role::Primary).row("subscription-tables", &row);
    assert_eq!(copying.now("subscription-sync").level, Level::Info);
}

#[test]
fn a_standby_that_follows_an_old_timeline_is_found() {
    for (received, level) in [(2, Level::Ok), (1, Level::Critical)] {
        let story = Story::new(15, Role::Standby)
            .row("recovery", &[("checkpoint_timeline_id", Value::Int(2))])
            .row(
                "wal-receiver",
                &[
                    ("received_tli", Value::Int(received)),
                    ("status", text("streaming")),
                ],
            );
        assert_eq!(story.now("standby-timeline").level, level, "{received}");
    }
}

/// By the documented columns of PostgreSQL 19, which counts errors of tables and sequences apart.
#[test]
fn errors_and_conflicts_that_only_19_counts_are_found() {
    let labels = [("datname", text("d")), ("subname", text("S"))];
    for (id, counter) in [
        ("subscription-errors", "sync_table_error_count"),
        ("subscription-errors", "sync_seq_error_count"),
        ("subscription-conflicts", "confl_update_deleted"),
    ] {
        for (count, level) in [(0.0, Level::Ok), (1.0, Level::Warning)] {
            let server = || Story::new(19, Role::Primary);
            grew(
                server,
                id,
                "subscription-stats",
                &labels,
                &[(counter, count)],
                level,
            );
        }
    }
}
