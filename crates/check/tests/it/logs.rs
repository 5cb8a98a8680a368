//! Faults of the server log: silent when healthy, found when injected, gone when cleared.

use pawang_core::{Level, Outcome};
use pawang_testbed::{Cluster, Setup, until};

use crate::watch::Watch;

/// A cluster that writes its log with the collector, and a watch that may read it.
async fn logging() -> (Cluster, Watch) {
    let settings = [
        ("logging_collector", "on"),
        ("log_directory", "log"),
        ("log_file_mode", "0640"),
        ("log_line_prefix", "%m [%p] "),
    ];
    let cluster = Cluster::start(&Setup {
        settings: &settings,
        ..Setup::default()
    })
    .await;
    let watch = Watch::start(&cluster).await;
    (cluster, watch)
}

#[tokio::test]
async fn many_errors_are_found_and_quotations_are_not() {
    let (cluster, mut watch) = logging().await;
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

    let log = cluster.data_directory().join("log");
    for entry in std::fs::read_dir(log).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    cluster.sql("postgres", "SELECT pg_rotate_logfile()").await;
    until("the log is fresh", async || {
        let verdict = watch.verdict("log-errors").await;
        verdict.level == Level::Ok && verdict.outcome == Outcome::Judged
    })
    .await;
}

#[tokio::test]
async fn a_log_that_cannot_be_found_is_not_seen() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    let verdict = watch.verdict("log-errors").await;
    assert_eq!(verdict.level, Level::Unknown, "{verdict:#?}");
}
