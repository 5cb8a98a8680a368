//! A log that is followed while a real server writes it.

use std::time::{Duration, Instant};

use pawang_testbed::{Cluster, Setup, until};

use crate::program::{Desk, instance};
use crate::serve_alerts::estate;
use crate::serve_daemon::Daemon;

/// What is written must be seen within this time.
const SOON: Duration = Duration::from_secs(5);

const COLLECTED: [(&str, &str); 3] = [
    ("logging_collector", "on"),
    ("log_directory", "log"),
    ("log_filename", "server-%H%M%S.log"),
];

async fn cluster(more: &[(&str, &str)]) -> Cluster {
    let settings = [&COLLECTED, more].concat();
    Cluster::start(&Setup {
        settings: &settings,
        ..Setup::default()
    })
    .await
}

/// Runs a statement that fails.
async fn fail(cluster: &Cluster, sql: &str) {
    let client = cluster.connect("postgres").await;
    assert!(client.batch_execute(sql).await.is_err(), "{sql}");
}

/// Waits until a line with all words is shown, and returns it.
async fn line(desk: &Desk, words: &[&str]) -> String {
    let found = || {
        let shown = desk.read("out");
        let mut lines = shown.lines();
        let line = lines.find(|line| words.iter().all(|word| line.contains(word)));
        line.map(str::to_owned)
    };
    let began = Instant::now();
    until(&format!("{words:?} are shown"), async || found().is_some()).await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    found().unwrap()
}

/// Rotates until another file is written.
async fn rotate(cluster: &Cluster) {
    const COUNT: &str = "SELECT count(DISTINCT name)::text FROM pg_ls_logdir()";
    let before = cluster.sql("postgres", COUNT).await;
    until("the log is rotated", async || {
        cluster.sql("postgres", "SELECT pg_rotate_logfile()").await;
        cluster.sql("postgres", COUNT).await != before
    })
    .await;
}

/// Follows over a rotation to the end by a signal.
async fn follows(desk: &Desk, cluster: &Cluster, words: &[&str], signal: &str) {
    let mut run = desk.start_into(&[&["logs", "follow"], words].concat(), "out", "talk");
    line(desk, &["ready to accept connections"]).await;
    fail(cluster, "SELECT 1/0").await;
    let shown = line(desk, &["ERROR", "division-by-zero", "division by zero"]).await;
    assert!(shown.contains("postgres@postgres"), "{shown}");
    rotate(cluster).await;
    fail(
        cluster,
        "SET statement_timeout = '10 ms'; SELECT pg_sleep(60)",
    )
    .await;
    line(desk, &["ERROR", "statement-timeout"]).await;
    let talk = desk.read("talk");
    assert!(talk.contains("rotated, goes on in"), "{talk}");
    let began = Instant::now();
    run.signal(signal);
    assert_eq!(run.screen().code, 0);
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    let count = desk.read("out").matches("division by zero").count();
    assert_eq!(count, 1, "{}", desk.read("out"));
}

#[tokio::test]
async fn a_directory_is_followed_over_a_rotation() {
    let cluster = cluster(&[]).await;
    let desk = Desk::new();
    let data = cluster.data_directory().display().to_string();
    follows(&desk, &cluster, &[&data], "TERM").await;
}

#[tokio::test]
async fn a_server_is_followed_by_its_files_where_they_can_be_read() {
    let cluster = cluster(&[("log_line_prefix", "%m [%p] %u@%d ")]).await;
    let desk = Desk::new();
    desk.write("pawang.toml", &instance("one", &cluster.url("postgres")));
    follows(&desk, &cluster, &["-i", "one"], "INT").await;
}

#[tokio::test]
async fn a_server_is_followed_over_its_connection_where_files_are_out_of_sight() {
    const FUNCTION: &str = "\
        CREATE ROLE reader LOGIN; GRANT EXECUTE ON FUNCTION pg_ls_logdir() TO reader;
        CREATE FUNCTION public.pawang_read_log(name text, start bigint, most integer) RETURNS text
        LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
        BEGIN RETURN encode(pg_read_binary_file(current_setting('log_directory') || '/' || name, start, most), 'hex'); END $$;";
    let cluster = cluster(&[]).await;
    let desk = Desk::new();
    desk.write(
        "pawang.toml",
        &instance("one", &cluster.url_as("reader", "postgres")),
    );
    cluster.sql("postgres", "CREATE ROLE stranger LOGIN").await;
    cluster.sql("postgres", FUNCTION).await;
    follows(&desk, &cluster, &["-i", "one"], "TERM").await;
    let refused = cluster.url_as("stranger", "postgres");
    desk.write("pawang.toml", &instance("one", &refused));
    desk.pawang(&["logs", "follow", "-i", "one"])
        .is_clear_error(3, &["pg_monitor"]);
}

#[tokio::test]
async fn only_what_is_wanted_is_shown_and_json_is_one_object_a_line() {
    let cluster = cluster(&[("log_statement", "all")]).await;
    let desk = Desk::new();
    let data = cluster.data_directory().display().to_string();
    let words = [
        "logs", "follow", &data, "--level", "warning", "--lines", "0", "--json",
    ];
    let mut run = desk.start_into(&words, "out", "talk");
    // It says nothing when it begins: what is caused again and again is seen as soon as it has begun.
    let seen = || desk.read("out").contains("statement-timeout");
    until("it follows", async || {
        fail(
            &cluster,
            "SET statement_timeout = '10 ms'; SELECT pg_sleep(4711)",
        )
        .await;
        seen()
    })
    .await;
    run.signal("TERM");
    assert_eq!(run.screen().code, 0);
    let shown = desk.read("out");
    for line in shown.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["kind"], "statement-timeout", "{line}");
        assert_eq!(record["level"], "warning");
        assert_eq!(record["database"], "postgres");
        assert!(
            record["statement"].as_str().unwrap().contains("pg_sleep("),
            "{line}"
        );
        assert!(!line.contains("4711"), "{line}");
    }
}

#[tokio::test]
async fn what_is_bad_becomes_an_alert_of_the_daemon() {
    let cluster = cluster(&[]).await;
    let desk = Desk::new();
    estate(&desk, &cluster.url("postgres"), "");
    let words = ["logs", "follow", "-i", "one", "--alert"];
    desk.pawang(&words)
        .is_clear_error(3, &["hint: pawang serve"]);
    let daemon = Daemon::start(&desk).await;
    let mut run = desk.start_into(&words, "out", "talk");
    line(&desk, &["ready to accept connections"]).await;
    fail(
        &cluster,
        "SET statement_timeout = '10 ms'; SELECT pg_sleep(60)",
    )
    .await;
    line(&desk, &["statement-timeout"]).await;
    let alerts = || {
        let words = [
            "alert",
            "list",
            "--all",
            "--json",
            "check=log-statement-timeout",
        ];
        desk.pawang(&words).data("pawang.alert.list/1")
    };
    until(&format!("it is an alert\n{}", daemon.log()), async || {
        alerts().as_array().is_some_and(|alerts| !alerts.is_empty())
    })
    .await;
    let alert = alerts()[0].clone();
    assert_eq!(alert["labels"]["instance"], "one", "{alert}");
    assert_eq!(alert["labels"]["severity"], "warning", "{alert}");
    run.signal("TERM");
    assert_eq!(run.screen().code, 0);
    assert!(
        !desk.read("talk").contains("did not take"),
        "{}",
        desk.read("talk")
    );
}

#[test]
fn wrong_words_are_refused_clearly() {
    let desk = Desk::new();
    let refused = |words: &[&str], code: i32, said: &[&str]| {
        let words = [&["logs", "follow"], words].concat();
        desk.pawang(&words).is_clear_error(code, said);
    };
    refused(&[], 2, &["pawang logs follow FILE"]);
    refused(&["nowhere.log"], 3, &["nowhere.log"]);
    refused(&["-"], 2, &["pawang logs report -"]);
    refused(&[".", "--kind", "deadlok"], 2, &["--kind deadlock"]);
}
