//! Faults of the group `transactions`: silent when healthy, found when injected, gone when cleared.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;

use pawang_core::{Level, Outcome};
use pawang_testbed::{Cluster, Setup, Stop, until, versions};

use crate::connections::{counting, started, strict, value};
use crate::watch::Watch;

/// How many transaction identifiers one file of pg_xact holds.
const IDENTIFIERS_PER_FILE: u64 = 1_048_576;
const XACT_FILE_BYTES: usize = 262_144;

#[tokio::test]
async fn long_transactions_and_statements_are_named() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    let client = cluster.hold("postgres", "SELECT 1").await;
    let pid: i32 = client
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let sleeping = started(client.batch_execute("SELECT pg_sleep(60), 'secret'"));
    let running = format!("SELECT state FROM pg_stat_activity WHERE pid = {pid}");
    until("the statement runs", async || {
        value(&cluster, &running).await == "active"
    })
    .await;
    for id in ["oldest-transaction", "oldest-query"] {
        watch.silent(id).await;
        let verdict = strict(&mut watch, id, 0.0).await;
        assert_eq!(verdict.level, Level::Warning, "{verdict:#?}");
        assert_eq!(verdict.findings_total, 1, "{verdict:#?}");
        let finding = &verdict.findings[0];
        assert_eq!(finding.object, format!("pid {pid}"));
        assert!(finding.since.is_some());
        assert!(!format!("{finding:?}").contains("secret"));
    }
    let cancel = format!("SELECT pg_cancel_backend({pid})");
    cluster.sql("postgres", &cancel).await;
    assert!(sleeping.await.is_err());
    let verdict = strict(&mut watch, "oldest-query", 0.0).await;
    assert_eq!(verdict.level, Level::Ok, "{verdict:#?}");
    client.batch_execute("ROLLBACK").await.unwrap();
    let verdict = strict(&mut watch, "oldest-transaction", 0.0).await;
    assert_eq!(verdict.level, Level::Ok, "{verdict:#?}");

    cluster.sql("postgres", "CREATE TABLE t (a int)").await;
    let blocker = cluster.hold("postgres", "LOCK TABLE t").await;
    let vacuuming = started(client.batch_execute("vacuum t"));
    until("the vacuum waits", async || {
        value(&cluster, &running).await == "active"
    })
    .await;
    let verdict = strict(&mut watch, "oldest-query", 0.0).await;
    assert_eq!(
        verdict.level,
        Level::Ok,
        "maintenance takes its time: {verdict:#?}"
    );
    drop(blocker);
    vacuuming.await.unwrap();
    assert_eq!(
        watch.verdict("standby-transaction").await.outcome,
        Outcome::NotApplicable
    );
}

#[tokio::test]
async fn a_long_report_on_a_standby_says_what_it_does_to_replay() {
    let cluster = Cluster::start(&Setup::default()).await;
    cluster.monitor().await;
    let standby = cluster.standby("s1").await;
    let mut watch = Watch::over(&standby.url_as("monitor", "postgres"));
    assert_eq!(
        watch.verdict("oldest-transaction").await.outcome,
        Outcome::NotApplicable
    );
    watch.silent("standby-transaction").await;
    let reader = standby
        .hold(
            "postgres",
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class",
        )
        .await;
    let verdict = strict(&mut watch, "standby-transaction", 0.0).await;
    assert!(
        verdict.findings[0]
            .title
            .contains("may be cancelled by replay"),
        "{verdict:#?}"
    );
    standby.set("hot_standby_feedback", Some("on")).await;
    let verdict = strict(&mut watch, "standby-transaction", 0.0).await;
    assert!(
        verdict.findings[0]
            .title
            .contains("holds back vacuum on the primary"),
        "{verdict:#?}"
    );

    let mut primary = Watch::over(&cluster.url_as("monitor", "postgres"));
    until("the standby's feedback arrives", async || {
        let verdict = strict(&mut primary, "xmin-horizon", 0.0).await;
        verdict
            .findings
            .iter()
            .any(|finding| finding.object.contains("s1"))
    })
    .await;
    drop(reader);
    until("the reader has left", async || {
        strict(&mut watch, "standby-transaction", 0.0).await.level == Level::Ok
    })
    .await;
}

#[tokio::test]
async fn whoever_holds_vacuum_back_is_named() {
    for version in versions() {
        let settings = [("max_prepared_transactions", "5"), ("wal_level", "logical")];
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            settings: &settings,
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        watch.silent("xmin-horizon").await;
        watch.silent("prepared-transactions").await;
        let verdict = strict(&mut watch, "xmin-horizon", 0.0).await;
        assert_eq!(verdict.level, Level::Ok, "{verdict:#?}");

        cluster.sql("postgres", "CREATE TABLE t (a int)").await;
        let writer = cluster.hold("postgres", "INSERT INTO t VALUES (1)").await;
        let prepare = "BEGIN; INSERT INTO t VALUES (2); PREPARE TRANSACTION 'it''s'";
        cluster.sql("postgres", prepare).await;
        let slot = "SELECT pg_create_logical_replication_slot('s 1', 'test_decoding')";
        let slot = slot.replace("s 1", "s1");
        // The slot waits for all transactions before it.
        writer.batch_execute("COMMIT").await.unwrap();
        cluster.sql("postgres", "ROLLBACK PREPARED 'it''s'").await;
        cluster.sql("postgres", &slot).await;
        cluster.sql("postgres", prepare).await;
        writer
            .batch_execute("BEGIN; INSERT INTO t VALUES (3)")
            .await
            .unwrap();
        let pid: i32 = writer
            .query_one("SELECT pg_backend_pid()", &[])
            .await
            .unwrap()
            .get(0);

        let verdict = strict(&mut watch, "xmin-horizon", 0.0).await;
        let mut objects: Vec<&str> = verdict.findings.iter().map(|f| f.object.as_str()).collect();
        objects.sort_unstable();
        let session = format!("pid {pid}");
        assert_eq!(
            objects,
            [
                session.as_str(),
                "prepared transaction \"it's\"",
                "slot \"s1\""
            ],
            "{verdict:#?}"
        );
        watch.silent("prepared-transactions").await;
        let verdict = strict(&mut watch, "prepared-transactions", 0.0).await;
        assert_eq!(verdict.findings[0].object, "it's");
        assert!(
            verdict.findings[0]
                .remedy
                .contains("ROLLBACK PREPARED 'it''s'")
        );

        writer.batch_execute("ROLLBACK").await.unwrap();
        cluster.sql("postgres", "ROLLBACK PREPARED 'it''s'").await;
        cluster
            .sql("postgres", "SELECT pg_drop_replication_slot('s1')")
            .await;
        for id in ["xmin-horizon", "prepared-transactions"] {
            let verdict = strict(&mut watch, id, 0.0).await;
            assert_eq!(verdict.level, Level::Ok, "{verdict:#?}");
        }
    }
}

#[tokio::test]
async fn what_should_have_been_frozen_is_found_and_recovers() {
    let settings = [
        ("autovacuum_freeze_max_age", "100000"),
        ("autovacuum_naptime", "1s"),
        ("synchronous_commit", "off"),
    ];
    let cluster = Cluster::start(&Setup {
        settings: &settings,
        ..Setup::default()
    })
    .await;
    let mut watch = Watch::start(&cluster).await;
    let ids = [
        "freeze-overdue",
        "table-xid-age",
        "xid-wraparound",
        "vacuum-failsafe",
    ];
    for id in ids {
        watch.silent(id).await;
    }
    let holder = cluster
        .hold("postgres", "SELECT pg_current_xact_id()")
        .await;
    let burn = "DO $$ BEGIN FOR i IN 1..170000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";
    cluster.sql("postgres", burn).await;
    watch
        .found("freeze-overdue", Level::Warning, "postgres")
        .await;
    let finding = watch.found("table-xid-age", Level::Warning, "pg_").await;
    assert!(finding.remedy.contains("VACUUM (FREEZE"), "{finding:#?}");
    watch.silent("xid-wraparound").await;
    let verdict = strict(&mut watch, "xmin-horizon", 100_000.0).await;
    assert!(verdict.findings[0].title.contains("170,0"), "{verdict:#?}");

    let verdict = strict(&mut watch, "xid-runway", 1e9).await;
    assert_eq!(
        verdict.level,
        Level::Unknown,
        "a rate needs two samples: {verdict:#?}"
    );
    cluster.sql("postgres", "SELECT pg_current_xact_id()").await;
    let verdict = strict(&mut watch, "xid-runway", 1e9).await;
    assert_eq!(verdict.level, Level::Warning, "{verdict:#?}");

    drop(holder);
    cluster.sql("postgres", "VACUUM (FREEZE)").await;
    until("autovacuum has frozen all databases", async || {
        let verdict = strict(&mut watch, "freeze-overdue", 140.0).await;
        verdict.level == Level::Ok
    })
    .await;
    for id in ids {
        watch.silent(id).await;
    }
}

#[tokio::test]
async fn a_server_close_to_wraparound_is_critical() {
    // Autovacuum would freeze everything at once if it were not told to wait for longer.
    let settings = [
        ("autovacuum_freeze_max_age", "2000000000"),
        ("autovacuum", "off"),
    ];
    let mut cluster = Cluster::start(&Setup {
        settings: &settings,
        ..Setup::default()
    })
    .await;
    let resetwal = cluster.bin_directory().join("pg_resetwal");
    if !resetwal.exists() {
        return;
    }
    let mut watch = Watch::start(&cluster).await;
    watch.silent("xid-wraparound").await;
    watch.silent("multixact-wraparound").await;
    cluster.stop(Stop::Fast).await;

    let data = cluster.data_directory().to_owned();
    let owner = std::fs::metadata(&data).unwrap();
    let next = 1_500 * IDENTIFIERS_PER_FILE;
    let file = data.join("pg_xact").join(format!("{:04X}", 1_500));
    std::fs::write(&file, vec![0; XACT_FILE_BYTES]).unwrap();
    std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "years of transactions in one step, by PostgreSQL's own tool"
    )]
    let status = std::process::Command::new(resetwal)
        .args(["-x", &next.to_string(), "-D"])
        .arg(&data)
        .stdout(std::process::Stdio::null())
        .uid(owner.uid())
        .gid(owner.gid())
        .status()
        .unwrap();
    assert!(status.success());
    cluster.start_again().await;

    watch
        .found("xid-wraparound", Level::Critical, "template1")
        .await;
    watch.silent("multixact-wraparound").await;
    watch.silent("freeze-overdue").await;
    let verdict = strict(&mut watch, "vacuum-failsafe", 70.0).await;
    assert_eq!(verdict.level, Level::Warning, "{verdict:#?}");
    cluster.sql("postgres", "VACUUM (FREEZE)").await;
    let verdict = watch.verdict("xid-wraparound").await;
    let objects: Vec<&str> = verdict.findings.iter().map(|f| f.object.as_str()).collect();
    assert!(!objects.contains(&"postgres"), "{verdict:#?}");
}

#[tokio::test]
async fn rollbacks_are_a_share_of_what_ended_since() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        counting(&cluster).await;
        watch.look(&["rollback-ratio"]).await;
        let before = watch.older.clone();
        watch.silent("rollback-ratio").await;
        let fail = "DO $$ BEGIN FOR i IN 1..500 LOOP PERFORM 1; ROLLBACK; END LOOP; END $$";
        cluster.sql("postgres", fail).await;
        until("the rollbacks are counted", async || {
            let sql =
                "SELECT xact_rollback >= 500 FROM pg_stat_database WHERE datname = 'postgres'";
            value(&cluster, sql).await == "t"
        })
        .await;
        watch.older.clone_from(&before);
        watch
            .found("rollback-ratio", Level::Critical, "postgres")
            .await;
        watch.silent("rollback-ratio").await;

        watch.older = before;
        let verdict = strict(&mut watch, "commit-rate", 1e9).await;
        assert_eq!(verdict.level, Level::Warning, "{verdict:#?}");
        watch.silent("commit-rate").await;
        watch.look(&["subtransaction-reads"]).await;
        watch.silent("subtransaction-reads").await;

        cluster.sql("postgres", "CREATE DATABASE other").await;
        watch.look(&["rollback-ratio"]).await;
        cluster.sql("postgres", "SELECT pg_stat_reset()").await;
        let before = watch.older.clone();
        until("the reset has been noticed", async || {
            watch.older.clone_from(&before);
            let verdict = watch.verdict("rollback-ratio").await;
            verdict.level == Level::Unknown && verdict.findings[0].object == "postgres"
        })
        .await;
    }
}

#[tokio::test]
async fn too_many_subtransactions_are_found_where_the_server_tells() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        if version.0 < 16 {
            let verdict = watch.verdict("subtransaction-overflow").await;
            assert_eq!(verdict.outcome, Outcome::NotApplicable, "{verdict:#?}");
            continue;
        }
        watch.silent("subtransaction-overflow").await;
        cluster.sql("postgres", "CREATE TABLE t (a int)").await;
        let insert = |count: u32| {
            format!(
                "DO $$ BEGIN FOR i IN 1..{count} LOOP BEGIN INSERT INTO t VALUES (i); \
                 EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$"
            )
        };
        let client = cluster.hold("postgres", &insert(60)).await;
        watch.silent("subtransaction-overflow").await;
        client.batch_execute(&insert(10)).await.unwrap();
        watch
            .found("subtransaction-overflow", Level::Warning, "pid ")
            .await;
        client.batch_execute("COMMIT").await.unwrap();
        watch.silent("subtransaction-overflow").await;
    }
}

#[tokio::test]
async fn time_outs_are_those_of_new_sessions_not_of_ours() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    for name in [
        "idle_in_transaction_session_timeout",
        "statement_timeout",
        "lock_timeout",
    ] {
        watch.found("timeouts", Level::Info, name).await;
        cluster.set(name, Some("1min")).await;
        let verdict = watch.verdict("timeouts").await;
        assert!(
            verdict.findings.iter().all(|f| f.object != name),
            "{verdict:#?}"
        );
    }
}
