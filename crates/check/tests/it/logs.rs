//! Faults of the server log: silent when healthy, found when injected, gone when cleared.

use std::io::Write;

use pawang_core::{Finding, Level, Outcome};
use pawang_testbed::{Cluster, Setup, until};

use crate::connections::{Raw, started, value};
use crate::watch::{Watch, now};

/// The checks of events.
const EVENTS: [&str; 12] = [
    "logs-panic",
    "logs-crash",
    "logs-corruption",
    "logs-disk-full",
    "logs-out-of-memory",
    "logs-wraparound",
    "logs-slot-lost",
    "logs-archive-failed",
    "logs-login-failures",
    "logs-deadlock",
    "logs-fatal",
    "logs-forged",
];

/// A cluster that writes its log with the collector, and a watch that may read it.
async fn logging(destination: &str, prefix: &str) -> (Cluster, Watch) {
    let settings = [
        ("logging_collector", "on"),
        ("log_directory", "log"),
        ("log_file_mode", "0640"),
        ("log_line_prefix", prefix),
        ("log_destination", destination),
        ("deadlock_timeout", "20ms"),
        ("archive_mode", "on"),
        ("archive_command", "true"),
        ("max_locks_per_transaction", "10"),
    ];
    let cluster = Cluster::start(&Setup {
        settings: &settings,
        ..Setup::default()
    })
    .await;
    let watch = Watch::start(&cluster).await;
    (cluster, watch)
}

/// Returns the only finding of a check whose object is that kind, as soon as the log holds it.
async fn logged(watch: &mut Watch, id: &str, kind: &str) -> Finding {
    let mut found = None;
    until(&format!("{id} finds {kind}"), async || {
        let findings = watch.verdict(id).await.findings;
        found = findings.into_iter().find(|finding| finding.object == kind);
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// Empties the log and waits until these checks are ok again.
async fn cleared(cluster: &Cluster, watch: &mut Watch, ids: &[&str]) {
    for entry in std::fs::read_dir(cluster.data_directory().join("log")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    cluster.sql("postgres", "SELECT pg_rotate_logfile()").await;
    until("the log is fresh", async || {
        let verdicts = watch.look(ids).await.verdicts;
        verdicts
            .iter()
            .all(|v| v.level == Level::Ok && v.outcome == Outcome::Judged)
    })
    .await;
}

/// Makes two sessions wait for each other.
async fn deadlock(cluster: &Cluster) {
    let lock = |key: i32| format!("SELECT pg_advisory_xact_lock({key})");
    let one = cluster.hold("postgres", &lock(1)).await;
    let two = cluster.hold("postgres", &lock(2)).await;
    let (for_two, for_one) = (lock(2), lock(1));
    let mut first = started(one.batch_execute(&for_two));
    if two.batch_execute(&for_one).await.is_err() {
        two.batch_execute("ROLLBACK").await.unwrap();
        first.as_mut().await.unwrap();
    } else {
        assert!(first.as_mut().await.is_err());
    }
}

/// Appends what is no page to a table, and reads it.
async fn damage(cluster: &Cluster) {
    cluster.sql("postgres", "CREATE TABLE t AS SELECT 1").await;
    let path = value(cluster, "SELECT pg_relation_filepath('t')").await;
    let path = cluster.data_directory().join(path);
    let table = std::fs::OpenOptions::new().append(true).open(path);
    table.unwrap().write_all(&[0x5a; 8_192]).unwrap();
    let client = cluster.connect("postgres").await;
    client.batch_execute("SELECT * FROM t").await.unwrap_err();
}

/// Kills a session, which ends all sessions, and waits until the server has recovered.
async fn crash(cluster: &Cluster, watch: &mut Watch) {
    let victim = cluster.connect("postgres").await;
    let pid = victim.query_one("SELECT pg_backend_pid()", &[]).await;
    let pid: i32 = pid.unwrap().get(0);
    let killer = cluster.connect("postgres").await;
    let kill = format!("COPY (SELECT 1) TO PROGRAM 'kill -9 {pid}'");
    // The killer's own session goes down with all others.
    let _crashed = killer.batch_execute(&kill).await;
    until("the session is gone", async || victim.is_closed()).await;
    until("the server has recovered", async || {
        watch.verdict("connection").await.level == Level::Ok
    })
    .await;
}

#[tokio::test]
async fn faults_are_found_in_every_format() {
    for destination in ["stderr", "csvlog", "jsonlog", "stderr,csvlog,jsonlog"] {
        let (cluster, mut watch) = logging(destination, "%m [%p] %u@%d ").await;
        for verdict in watch.look(&EVENTS).await.verdicts {
            assert_eq!(verdict.level, Level::Ok, "{destination}: {verdict:#?}");
            assert_eq!(
                verdict.outcome,
                Outcome::Judged,
                "{destination}: {verdict:#?}"
            );
        }
        statements_fail(&cluster, &mut watch).await;
        logins_are_refused(&cluster, &mut watch).await;
        forgery(&cluster, &mut watch, destination == "stderr").await;
        crash(&cluster, &mut watch).await;
        let finding = logged(&mut watch, "logs-crash", "oom-killed").await;
        assert_eq!(finding.level, Level::Critical);
        assert!(
            finding.title.starts_with("1 records in the last hour: "),
            "{finding:?}"
        );
        cleared(&cluster, &mut watch, &EVENTS).await;
    }
}

/// Statements that meet a full disk, a damaged page, a full lock table and each other.
async fn statements_fail(cluster: &Cluster, watch: &mut Watch) {
    let client = cluster.connect("postgres").await;
    // What a user's code raises is no full disk, whatever its SQLSTATE.
    let raised = "DO $$ BEGIN RAISE 'No space left on device' USING ERRCODE = '53100'; END $$";
    client.batch_execute(raised).await.unwrap_err();
    let full = "COPY (SELECT g FROM generate_series(1, 10000) g) TO '/dev/full'";
    client.batch_execute(full).await.unwrap_err();
    let finding = logged(watch, "logs-disk-full", "disk-full").await;
    assert_eq!(finding.level, Level::Critical);
    assert!(finding.title.starts_with("1 records"), "{finding:?}");
    let sample = finding.evidence.iter().find(|(name, _)| name == "sample");
    assert!(
        sample.unwrap().1.contains("No space left on device"),
        "{finding:?}"
    );

    damage(cluster).await;
    let finding = logged(watch, "logs-corruption", "invalid-page").await;
    assert_eq!(finding.level, Level::Critical);
    let locks = "SELECT count(pg_advisory_xact_lock(g)) FROM generate_series(1, 100000) g";
    client.batch_execute(locks).await.unwrap_err();
    drop(client);
    let finding = logged(watch, "logs-out-of-memory", "out-of-shared-memory").await;
    assert_eq!(finding.level, Level::Critical);

    for _ in 0..4 {
        deadlock(cluster).await;
    }
    watch.silent("logs-deadlock").await;
    deadlock(cluster).await;
    let finding = logged(watch, "logs-deadlock", "deadlock").await;
    assert_eq!((finding.level, finding.value), (Level::Warning, Some(5.0)));
}

async fn logins_are_refused(cluster: &Cluster, watch: &mut Watch) {
    for _ in 0..19 {
        Raw::refused(cluster, "stranger");
    }
    watch.silent("logs-login-failures").await;
    watch.silent("logs-fatal").await;
    Raw::refused(cluster, "stranger");
    let finding = logged(watch, "logs-login-failures", "").await;
    assert_eq!((finding.level, finding.value), (Level::Warning, Some(20.0)));
    for _ in 0..180 {
        Raw::refused(cluster, "stranger");
    }
    until("many logins were refused", async || {
        let verdict = watch.verdict("logs-login-failures").await;
        verdict.level == Level::Critical
    })
    .await;
}

/// A user name that ends its line and begins another one.
async fn forgery(cluster: &Cluster, watch: &mut Watch, possible: bool) {
    let at = now().strftime("%F %T.000 UTC").to_string();
    let name = format!("eve\n{at} [1] x@x PANIC:  forged");
    Raw::refused(cluster, &name);
    Raw::refused(cluster, "the next one");
    if possible {
        let finding = logged(watch, "logs-forged", "log-forgery-suspected").await;
        assert_eq!(finding.level, Level::Warning);
    } else {
        watch.silent("logs-forged").await;
    }
    watch.silent("logs-panic").await;
}

#[tokio::test]
async fn ended_sessions_and_failed_archiving_are_found() {
    let (cluster, mut watch) = logging("stderr", "%m [%p] ").await;
    watch.silent("logs-fatal").await;
    let client = cluster.connect("postgres").await;
    let idle = "SET idle_in_transaction_session_timeout = '20ms'; BEGIN; SELECT 1";
    client.batch_execute(idle).await.unwrap();
    let finding = logged(&mut watch, "logs-fatal", "idle-in-transaction-timeout").await;
    assert_eq!(finding.level, Level::Warning);

    watch.silent("logs-archive-failed").await;
    cluster.set("archive_command", Some("false")).await;
    let switch = "CREATE TABLE t (); SELECT pg_switch_wal()";
    cluster.sql("postgres", switch).await;
    let finding = logged(&mut watch, "logs-archive-failed", "archive-failed").await;
    assert_eq!(finding.level, Level::Warning);
    cluster.set("archive_command", Some("true")).await;
    until("the archive is complete", async || {
        let ready = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'";
        value(&cluster, ready).await == "0"
    })
    .await;
    cleared(&cluster, &mut watch, &EVENTS).await;
}

/// What a test cannot make a server do, in the words of the server.
#[tokio::test]
async fn what_ends_a_server_is_found_in_its_words() {
    let (cluster, mut watch) = logging("stderr", "%m [%p] ").await;
    for (id, kind, words) in [
        (
            "logs-panic",
            "no-checkpoint",
            "PANIC:  could not locate a valid checkpoint record",
        ),
        (
            "logs-slot-lost",
            "slot-invalidated",
            "LOG:  invalidating slot \"s\" because its restart_lsn 0/3000000 exceeds max_slot_wal_keep_size",
        ),
        (
            "logs-wraparound",
            "wraparound-warning",
            "WARNING:  database \"db\" must be vacuumed within 10985967 transactions",
        ),
    ] {
        watch.silent(id).await;
        let at = now().strftime("%F %T.000 UTC").to_string();
        let log = cluster.data_directory().join("log");
        std::fs::write(log.join("postgresql-0.log"), format!("{at} [77] {words}\n")).unwrap();
        let finding = logged(&mut watch, id, kind).await;
        assert_eq!(finding.level, Level::Critical, "{finding:?}");
        cleared(&cluster, &mut watch, &[id]).await;
    }
}

#[tokio::test]
async fn many_errors_are_found_and_quotations_are_not() {
    let (cluster, mut watch) = logging("stderr", "%m [%p] ").await;
    watch.silent("log-errors").await;
    let quoting = "DO $$ BEGIN RAISE LOG E'quoted\\n\\tERROR:  not an error'; END $$";
    for _ in 0..150 {
        cluster.sql("postgres", quoting).await;
    }
    watch.silent("log-errors").await;

    let failing = "DO $$ BEGIN FOR i IN 1..120 LOOP BEGIN PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN \
                   RAISE LOG 'caught'; END; END LOOP; END $$";
    cluster.sql("postgres", failing).await;
    watch.silent("log-errors").await;
    let client = cluster.connect("postgres").await;
    for _ in 0..120 {
        client.batch_execute("SELECT 1/0").await.unwrap_err();
    }
    let mut found = None;
    until("the log holds the errors", async || {
        let verdict = watch.verdict("log-errors").await;
        found = verdict.findings.into_iter().find(|f| f.object == "ERROR");
        found.is_some()
    })
    .await;
    let finding = found.unwrap();
    assert_eq!(finding.level, Level::Warning);
    assert!(
        finding.title.contains("division by zero"),
        "{}",
        finding.title
    );

    cleared(&cluster, &mut watch, &["log-errors"]).await;
}

#[tokio::test]
async fn a_log_that_cannot_be_found_is_not_seen() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    let verdict = watch.verdict("log-errors").await;
    assert_eq!(verdict.level, Level::Unknown, "{verdict:#?}");
}
