//! The server's log as a person reads it: files of any kind, damaged ones, and the log of a server over its connection.

use pawang_testbed::{Cluster, Setup, until};

use crate::program::{Desk, instance};
use crate::serve::file;

const LINES: &str = "\
2026-11-21 10:00:00.000 UTC [7] app@dwh ERROR:  relation \"orders\" does not exist at character 15
2026-11-21 10:00:00.000 UTC [7] app@dwh STATEMENT:  SELECT * FROM orders WHERE password = 'geheim'
2026-11-21 10:00:01.000 UTC [7] app@dwh LOG:  duration: 1500.000 ms  statement: SELECT 1
2026-11-21 10:00:02.000 UTC [8] FATAL:  the database system is starting up
";

#[test]
fn files_are_read_and_what_is_not_read_is_said() {
    let desk = Desk::new();
    desk.write("a.log", LINES);
    let screen = desk.pawang(&["logs", "errors", "a.log"]);
    assert_eq!(screen.code, 0, "{screen:?}");
    assert!(
        screen.stdout.contains("42P01") || screen.stdout.contains("relation ? does not exist"),
        "{screen:?}"
    );
    let report = desk.pawang(&["logs", "report", "a.log", "--json"]);
    assert!(
        !report.stdout.contains("geheim"),
        "constants stay away: {report:?}"
    );
    let report = report.data("pawang.logs.report/1");
    assert_eq!(report["totals"]["records"], 3, "{report}");
    assert_eq!(report["statements"]["all"]["total"], 1_500_000, "{report}");
    let slow = desk.pawang(&["logs", "slow", "a.log"]);
    assert!(
        slow.stdout.contains("1.5 s") && slow.stdout.contains("select ?"),
        "{slow:?}"
    );
    assert_eq!(
        desk.pawang(&["logs", "report", "a.log", "--html", "a.html"])
            .code,
        0
    );
    assert!(desk.read("a.html").contains("<html"));

    let missing = desk.pawang(&["logs", "report", "missing.log"]);
    missing.is_clear_error(3, &["missing.log", "no such file"]);
    assert!(!missing.stderr.contains("--prefix"), "{missing:?}");
    desk.pawang(&["logs", "report"])
        .is_clear_error(2, &["no log was named", "pawang logs report"]);
    desk.write("junk.log", "\0\u{1}\u{2}nothing\n".repeat(50).as_str());
    desk.pawang(&["logs", "report", "junk.log"])
        .is_clear_error(3, &["junk.log", "not recognised"]);
    desk.pawang(&["logs", "report", "a.log", "--prefix", "%t %u "])
        .is_clear_error(3, &["matches 0 %", "%m [%p]"]);
    desk.pawang(&["logs", "report", "a.log", "--zone", "Nowhere/Else"])
        .is_clear_error(2, &["Nowhere/Else"]);
    let part = desk.pawang(&["logs", "errors", "a.log", "missing.log"]);
    assert_eq!(
        part.code, 3,
        "a part that is missing is no whole answer: {part:?}"
    );
    assert!(
        part.stderr.contains("missing.log")
            && part.stdout.contains("orders") | part.stdout.contains("relation"),
        "{part:?}"
    );
}

#[test]
fn every_kind_is_explained_and_two_logs_are_compared() {
    let desk = Desk::new();
    let all = desk.pawang(&["logs", "events"]);
    assert!(
        all.stdout.lines().count() > 200,
        "{}",
        all.stdout.lines().count()
    );
    let one = desk.pawang(&["logs", "events", "deadlock"]);
    assert!(one.stdout.contains("Lock in one order"), "{one:?}");
    desk.pawang(&["logs", "events", "deadlok"])
        .is_clear_error(2, &["deadlock"]);
    desk.write("a.log", LINES);
    let worse = format!(
        "{LINES}2026-11-21 10:00:03.000 UTC [9] PANIC:  could not write to file \"pg_wal/xlogtemp.9\": No space left on device\n"
    );
    desk.write("b.log", &worse);
    assert_eq!(
        desk.pawang(&["logs", "diff", "--before", "a.log", "--after", "a.log"])
            .code,
        0
    );
    let diff = desk.pawang(&["logs", "diff", "--before", "a.log", "--after", "b.log"]);
    assert_eq!(diff.code, 1, "{diff:?}");
    assert!(diff.stdout.contains("disk-full"), "{diff:?}");
}

#[tokio::test]
async fn a_servers_log_is_read_over_its_connection_once_it_is_allowed() {
    let settings = [
        ("logging_collector", "on"),
        ("log_directory", "log"),
        ("log_line_prefix", "%m [%p] %q%u@%d "),
        ("log_timezone", "Asia/Jakarta"),
    ];
    let cluster = Cluster::start(&Setup {
        settings: &settings,
        ..Setup::default()
    })
    .await;
    let role = "CREATE ROLE \"Log Reader\" LOGIN; GRANT pg_monitor TO \"Log Reader\"";
    cluster.sql("postgres", role).await;
    let desk = Desk::new();
    file(
        &desk,
        &instance("one", &cluster.url_as("Log Reader", "postgres")),
    );
    let words = ["logs", "report", "-i", "one", "--json"];
    let refused = desk.pawang(&words);
    refused.is_clear_error(
        3,
        &[
            "may not read the server's log",
            "CREATE FUNCTION public.pawang_read_log",
            "TO \"Log Reader\"",
        ],
    );
    let helper = refused.stderr.split_once("hint: ").unwrap().1;
    cluster.sql("postgres", helper).await;
    let client = cluster.connect("postgres").await;
    client
        .batch_execute("SELECT * FROM nothing_of_that_name")
        .await
        .unwrap_err();
    until("the error is read", async || {
        let screen = desk.pawang(&words);
        assert_eq!(screen.code, 0, "{screen:?}");
        screen.stdout.contains("relation ? does not exist")
    })
    .await;
    let files = desk.pawang(&words).data("pawang.logs.report/1")["source"]["files"].clone();
    assert_eq!(files[0]["prefixes"][0], "%m [%p] %q%u@%d ", "{files}");
    // The function gives nothing but files of the log directory.
    let reader = told_elsewhere(&cluster).await;
    assert!(
        reader.contains("no such file in the log directory"),
        "{reader}"
    );
    let mut cluster = cluster;
    cluster.stop(pawang_testbed::Stop::Fast).await;
    let silent = desk.pawang(&words);
    assert_eq!(silent.code, 3, "{silent:?}");
}

/// Returns what the server says to somebody who asks the function for a file elsewhere.
async fn told_elsewhere(cluster: &Cluster) -> String {
    let client = cluster.connect("postgres").await;
    let asked = client
        .batch_execute("SELECT public.pawang_read_log('../postgresql.conf', 0, 10)")
        .await;
    asked
        .unwrap_err()
        .as_db_error()
        .map(|error| error.message().to_owned())
        .unwrap_or_default()
}

#[tokio::test]
async fn a_plan_is_asked_for_and_nothing_else_is_run() {
    let cluster = Cluster::start(&Setup::default()).await;
    cluster
        .sql("postgres", "CREATE TABLE \"Order Lines\" AS SELECT g AS id FROM generate_series(1, 200000) AS g; ANALYZE")
        .await;
    let desk = Desk::new();
    file(&desk, &instance("one", &cluster.url("postgres")));
    let explain =
        |more: &[&str]| desk.pawang(&[&["query", "explain", "-i", "one", "--sql"], more].concat());
    let plan = explain(&["SELECT * FROM \"Order Lines\" WHERE id = 7", "--analyze"]);
    assert_eq!(plan.code, 1, "{plan:?}");
    assert!(
        plan.stdout.contains("Order Lines") && plan.stdout.contains("seq-scan"),
        "{plan:?}"
    );
    let written = explain(&["DELETE FROM \"Order Lines\"", "--analyze"]);
    assert_eq!(written.code, 3, "{written:?}");
    assert!(
        written.stderr.contains("read-only transaction"),
        "{written:?}"
    );
    explain(&["SELECT 1; DROP TABLE \"Order Lines\""]).is_clear_error(2, &["2 statements"]);
    let rows = cluster
        .sql("postgres", "SELECT count(*) FROM \"Order Lines\"")
        .await;
    assert_eq!(rows[0][0].as_deref(), Some("200000"));
    let long = explain(&["SELECT pg_sleep(60)", "--analyze", "--timeout", "200ms"]);
    assert_eq!(long.code, 3, "{long:?}");
    desk.write("plan.txt", "nothing like a plan\n");
    desk.pawang(&["query", "explain", "plan.txt"])
        .is_clear_error(2, &["FORMAT JSON"]);
}
