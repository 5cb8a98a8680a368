//! Faults of the group `locks`: silent when healthy, found when injected, gone when cleared.

use pawang_core::{Level, Outcome, Role, Value, Verdict};
use pawang_testbed::{Cluster, Setup, until, versions};

use crate::connections::{counting, started, strict, value};
use crate::wal::{Story, grew, text};
use crate::watch::Watch;

/// Waits until that many locks are waited for.
async fn waiting(cluster: &Cluster, count: usize) {
    until("the sessions wait", async || {
        value(cluster, "SELECT count(*) FROM pg_locks WHERE NOT granted").await == count.to_string()
    })
    .await;
}

macro_rules! pid {
    ($client:expr) => {
        $client
            .query_one("SELECT pg_backend_pid()", &[])
            .await
            .unwrap()
            .get::<_, i32>(0)
    };
}

fn only(verdict: &Verdict) -> &pawang_core::Finding {
    assert_eq!(verdict.findings_total, 1, "{verdict:#?}");
    &verdict.findings[0]
}

#[tokio::test]
async fn the_root_of_a_row_lock_queue_is_named_and_no_victim() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        cluster
            .sql(
                "postgres",
                "CREATE TABLE \"T\" (a int); INSERT INTO \"T\" VALUES (1)",
            )
            .await;
        for id in ["blocking", "lock-queue", "waiting-locks"] {
            let verdict = strict(&mut watch, id, 1.0).await;
            assert_eq!(verdict.level, Level::Ok, "{verdict:#?}");
        }
        let update = "UPDATE \"T\" SET a = 2";
        let root = cluster.hold("postgres", update).await;
        let root_pid = pid!(root);
        let (second, third) = (
            cluster.connect("postgres").await,
            cluster.connect("postgres").await,
        );
        let first_victim = started(second.batch_execute(update));
        waiting(&cluster, 1).await;
        let second_victim = started(third.batch_execute(update));
        waiting(&cluster, 2).await;

        watch.silent("lock-queue").await;
        let verdict = strict(&mut watch, "blocking", 0.0).await;
        let finding = only(&verdict);
        assert_eq!(finding.object, format!("pid {root_pid}"));
        assert!(
            finding.title.contains("idle in transaction"),
            "{finding:#?}"
        );
        assert!(finding.title.contains("blocks 2 sessions"), "{finding:#?}");
        assert!(
            finding
                .remedy
                .contains(&format!("pg_terminate_backend({root_pid})"))
        );
        let relations = finding
            .evidence
            .iter()
            .filter(|(_, v)| v.contains("public.\"T\""));
        assert_eq!(relations.count(), 2, "{finding:#?}");
        let verdict = strict(&mut watch, "waiting-locks", 2.0).await;
        assert_eq!(only(&verdict).value, Some(2.0));
        until("the waits are longer than a second", async || {
            watch.verdict("waiting-locks").await.level == Level::Warning
        })
        .await;

        root.batch_execute("COMMIT").await.unwrap();
        first_victim.await.unwrap();
        second_victim.await.unwrap();
        for id in ["blocking", "waiting-locks"] {
            let verdict = strict(&mut watch, id, 1.0).await;
            assert_eq!(verdict.level, Level::Ok, "{verdict:#?}");
        }
    }
}

#[tokio::test]
async fn a_queue_behind_ddl_has_its_reader_as_root_and_the_ddl_as_head() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        cluster.sql("postgres", "CREATE TABLE t (a int)").await;
        let reader = cluster.hold("postgres", "SELECT * FROM t").await;
        let reader_pid = pid!(reader);
        let ddl = cluster.connect("postgres").await;
        let ddl_pid = pid!(ddl);
        let altered = started(ddl.batch_execute("ALTER TABLE t ADD b int"));
        waiting(&cluster, 1).await;
        watch.silent("lock-queue").await;
        let late = cluster.connect("postgres").await;
        let selected = started(late.batch_execute("SELECT * FROM t"));
        waiting(&cluster, 2).await;

        let later = cluster.connect("postgres").await;
        let truncated = started(later.batch_execute("TRUNCATE t"));
        waiting(&cluster, 3).await;

        let verdict = watch.verdict("lock-queue").await;
        assert_eq!(verdict.measures_total, 1, "one table: {verdict:#?}");
        let finding = watch.found("lock-queue", Level::Warning, "public.t").await;
        assert!(
            finding.title.contains(&format!("pid {ddl_pid} ")),
            "{finding:#?}"
        );
        assert!(
            finding
                .remedy
                .contains(&format!("pg_cancel_backend({ddl_pid})"))
        );
        let verdict = strict(&mut watch, "blocking", 0.0).await;
        let finding = only(&verdict);
        assert_eq!(finding.object, format!("pid {reader_pid}"));
        assert!(finding.title.contains("blocks 3 sessions"), "{finding:#?}");

        let cancel = format!("SELECT pg_cancel_backend({ddl_pid})");
        cluster.sql("postgres", &cancel).await;
        assert!(altered.await.is_err());
        selected.await.unwrap();
        drop(reader);
        truncated.await.unwrap();
        watch.silent("lock-queue").await;
        watch.silent("blocking").await;
    }
}

#[tokio::test]
async fn a_prepared_transaction_can_be_the_root() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            settings: &[("max_prepared_transactions", "5")],
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        cluster
            .sql(
                "postgres",
                "CREATE TABLE t (a int); INSERT INTO t VALUES (1)",
            )
            .await;
        let innocent = "BEGIN; CREATE TABLE other (a int); PREPARE TRANSACTION 'innocent'";
        cluster.sql("postgres", innocent).await;
        let prepare = "BEGIN; UPDATE t SET a = 2; PREPARE TRANSACTION 'guilty'";
        cluster.sql("postgres", prepare).await;
        for statement in ["UPDATE t SET a = 3", "LOCK TABLE t"] {
            let client = cluster.hold("postgres", "SELECT 1").await;
            let waits = started(client.batch_execute(statement));
            waiting(&cluster, 1).await;
            let verdict = strict(&mut watch, "blocking", 0.0).await;
            let finding = only(&verdict);
            assert_eq!(finding.object, "prepared transaction \"guilty\"");
            assert!(finding.remedy.contains("ROLLBACK PREPARED 'guilty'"));
            cluster
                .sql(
                    "postgres",
                    "SELECT pg_cancel_backend(pid) FROM pg_locks WHERE NOT granted",
                )
                .await;
            assert!(waits.await.is_err());
        }
        cluster.sql("postgres", "ROLLBACK PREPARED 'guilty'").await;
        let verdict = strict(&mut watch, "blocking", 0.0).await;
        assert_eq!(verdict.level, Level::Ok, "{verdict:#?}");
    }
}

#[tokio::test]
async fn a_deadlock_is_counted_once_it_is_resolved() {
    let cluster = Cluster::start(&Setup {
        settings: &[("deadlock_timeout", "50ms")],
        ..Setup::default()
    })
    .await;
    let mut watch = Watch::start(&cluster).await;
    counting(&cluster).await;
    watch.look(&["deadlocks"]).await;
    watch.silent("deadlocks").await;
    watch.look(&["deadlocks"]).await;
    let lock = |key: i32| format!("SELECT pg_advisory_xact_lock({key})");
    let one = cluster.hold("postgres", &lock(1)).await;
    let two = cluster.hold("postgres", &lock(2)).await;
    let (for_two, for_one) = (lock(2), lock(1));
    let mut first = started(one.batch_execute(&for_two));
    waiting(&cluster, 1).await;
    // One of both is cancelled, whichever looked last.
    if two.batch_execute(&for_one).await.is_err() {
        two.batch_execute("ROLLBACK").await.unwrap();
        first.as_mut().await.unwrap();
    } else {
        assert!(first.as_mut().await.is_err());
        one.batch_execute("ROLLBACK").await.unwrap();
    }
    // A session reports at once when it ends, and may take ten seconds otherwise.
    drop(first);
    drop((one, two));
    let before = watch.older.clone();
    until("the deadlock is counted", async || {
        let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'";
        value(&cluster, sql).await == "1"
    })
    .await;
    watch.older = before;
    watch.found("deadlocks", Level::Warning, "postgres").await;
    watch.silent("deadlocks").await;
}

#[tokio::test]
async fn tables_held_exclusively_are_those_that_others_can_see() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    cluster
        .sql("postgres", "CREATE TABLE \"Sales\" (a int)")
        .await;
    let own =
        "CREATE TABLE mine (a int); CREATE TEMP TABLE scratch (a int); TRUNCATE mine, scratch";
    let harmless = cluster.hold("postgres", own).await;
    let verdict = strict(&mut watch, "exclusive-locks", 0.0).await;
    assert_eq!(verdict.level, Level::Ok, "{verdict:#?}");
    let holder = cluster.hold("postgres", "TRUNCATE \"Sales\"").await;
    watch.silent("exclusive-locks").await;
    let verdict = strict(&mut watch, "exclusive-locks", 0.0).await;
    assert!(
        only(&verdict).title.contains("public.\"Sales\""),
        "{verdict:#?}"
    );
    assert_eq!(only(&verdict).object, format!("pid {}", pid!(holder)));
    cluster.sql("postgres", "CREATE ROLE plain LOGIN").await;
    let mut plain = Watch::over(&cluster.url_as("plain", "postgres"));
    assert_eq!(plain.verdict("exclusive-locks").await.level, Level::Unknown);
    holder.batch_execute("ROLLBACK").await.unwrap();
    drop(harmless);
    let verdict = strict(&mut watch, "exclusive-locks", 0.0).await;
    assert_eq!(verdict.level, Level::Ok, "{verdict:#?}");
}

#[tokio::test]
async fn the_lock_table_and_leaking_advisory_locks_are_watched() {
    for version in versions() {
        let settings = [
            ("max_locks_per_transaction", "10"),
            ("max_connections", "10"),
            ("max_worker_processes", "2"),
            ("max_wal_senders", "2"),
            ("autovacuum_max_workers", "1"),
        ];
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            settings: &settings,
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        watch.silent("lock-table").await;
        watch.silent("advisory-locks").await;
        let capacity = {
            watch.look(&["lock-table"]).await;
            let facts = watch.older.as_ref().unwrap();
            let snapshot = facts.snapshot("lock-table", None).unwrap();
            snapshot.first().unwrap().int("capacity").unwrap()
        };
        let client = cluster.connect("postgres").await;
        let take = |share: i64| {
            format!(
                "SELECT pg_advisory_lock(i) FROM generate_series(1, {}) AS i",
                capacity * share / 100
            )
        };
        client.batch_execute(&take(75)).await.unwrap();
        watch.found("lock-table", Level::Warning, "").await;
        watch.found("advisory-locks", Level::Warning, "pid ").await;
        client.batch_execute(&take(95)).await.unwrap();
        watch.found("lock-table", Level::Critical, "").await;
        client
            .batch_execute("SELECT pg_advisory_unlock_all()")
            .await
            .unwrap();
        watch.silent("lock-table").await;
        watch.silent("advisory-locks").await;
    }
}

#[tokio::test]
async fn sessions_without_fast_path_locks_are_counted() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        let create = "CREATE TABLE p (a int) PARTITION BY LIST (a); \
                      DO $$ BEGIN FOR i IN 1..120 LOOP \
                      EXECUTE format('CREATE TABLE p%s PARTITION OF p FOR VALUES IN (%s)', i, i); \
                      END LOOP; END $$";
        cluster.sql("postgres", create).await;
        let few = cluster.hold("postgres", "SELECT * FROM p1").await;
        let count = async |watch: &mut Watch| {
            let verdict = watch.verdict("fast-path-locks").await;
            verdict.measures[0].value
        };
        assert_eq!(count(&mut watch).await, 0.0);
        let many = cluster.hold("postgres", "SELECT * FROM p").await;
        assert_eq!(count(&mut watch).await, 1.0);
        let mut more = Vec::new();
        for _ in 0..9 {
            more.push(cluster.hold("postgres", "SELECT * FROM p").await);
        }
        watch.found("fast-path-locks", Level::Warning, "").await;
        drop((few, many, more));
        until("the locks are gone", async || {
            count(&mut watch).await == 0.0
        })
        .await;
    }
}

#[tokio::test]
async fn a_server_that_only_waits_is_told_from_one_that_works() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    let ids = ["wait-lock", "wait-lwlock", "wait-io"];
    for id in ids {
        watch.silent(id).await;
    }
    let holder = cluster
        .hold("postgres", "SELECT pg_advisory_xact_lock(1)")
        .await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(cluster.connect("postgres").await);
    }
    let waits: Vec<_> = clients
        .iter()
        .map(|client| started(client.batch_execute("SELECT pg_advisory_xact_lock(1)")))
        .collect();
    waiting(&cluster, 8).await;
    watch.found("wait-lock", Level::Critical, "").await;
    watch.silent("wait-io").await;
    watch.silent("wait-lwlock").await;
    drop(holder);
    for wait in waits {
        wait.await.unwrap();
    }
    watch.silent("wait-lock").await;
}

/// By the documented columns of PostgreSQL 19: there is no server of it to inject the fault on.
#[test]
fn long_waits_for_locks_are_found_where_the_server_counts_them() {
    let server = || Story::new(19, Role::Primary);
    for (waits, milliseconds, level) in [
        (0.0, 0.0, Level::Ok),
        (9.0, 9e6, Level::Ok),
        (100.0, 2e5, Level::Ok),
        (10.0, 1.2e5, Level::Warning),
        (10.0, 6.1e5, Level::Critical),
    ] {
        grew(
            server,
            "lock-wait-times",
            "lock-stats",
            &[("locktype", text("relation"))],
            &[("waits", waits), ("wait_time", milliseconds)],
            level,
        );
    }
    let verdict = Story::new(18, Role::Primary).now("lock-wait-times");
    assert_eq!(verdict.outcome, Outcome::NotApplicable, "{verdict:#?}");
    let row = |reset: &str| {
        let reset = Value::Time(reset.parse().unwrap());
        let counters = ["waits", "wait_time"].map(|name| (name, Value::Int(0)));
        let row = [("locktype", text("tuple")), ("stats_reset", reset)];
        server().row("lock-stats", &[row, counters].concat())
    };
    let (older, newer) = (row("2026-01-01T00:00:00Z"), row("2026-01-02T00:00:00Z"));
    assert_eq!(
        newer.after(&older, "lock-wait-times").outcome,
        Outcome::Unknown
    );
}
