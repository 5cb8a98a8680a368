//! The daemon reads the log of a real server: killed at any time, its numbers are those of one reading of all files.

use std::time::{Duration, Instant};

use pawang_testbed::{Cluster, Setup, until};
use serde_json::Value;

use crate::program::{Desk, instance};
use crate::serve_daemon::Daemon;

/// How long the end may take while a log is read.
const END_MAX: Duration = Duration::from_secs(1);

/// The parts of a report that do not say how it was read.
const PARTS: [&str; 6] = [
    "totals",
    "integrity",
    "kinds",
    "unclassified",
    "errors",
    "statements",
];

async fn cluster() -> Cluster {
    let settings = [
        ("logging_collector", "on"),
        ("log_directory", "log"),
        ("log_filename", "server-%H%M%S.log"),
        ("log_line_prefix", "%m [%p] %e %q%u@%d "),
    ];
    Cluster::start(&Setup {
        settings: &settings,
        ..Setup::default()
    })
    .await
}

fn file(desk: &Desk, cluster: &Cluster, logs: &str) {
    let instance = instance("dwh-1", &cluster.url("postgres"));
    desk.write(
        "pawang.toml",
        &format!("state_directory = \"state\"\n{instance}\n[serve.logs]\n{logs}\n"),
    );
}

/// Makes errors of two texts and slow statements.
async fn trouble(cluster: &Cluster, times: u32) {
    let client = cluster.connect("postgres").await;
    let logged = "SET log_min_duration_statement = 0";
    client.batch_execute(logged).await.unwrap();
    for number in 0..times {
        let missing = format!("SELECT * FROM missing_{number}");
        assert!(client.batch_execute(&missing).await.is_err());
        assert!(client.batch_execute("SELECT 1 / 0").await.is_err());
        let slow = format!("SELECT {number} AS value");
        client.batch_execute(&slow).await.unwrap();
    }
}

/// Returns the parts of a report.
fn report(desk: &Desk, words: &[&str]) -> Option<Vec<Value>> {
    let words = [&["logs", "report", "--json"], words].concat();
    let screen = desk.pawang(&words);
    if screen.code != 0 {
        return None;
    }
    let data = screen.data("pawang.logs.report/1");
    Some(PARTS.iter().map(|part| data[part].clone()).collect())
}

/// Waits until the kept hours are what one reading of all files finds, and returns how many records that are.
async fn agree(desk: &Desk, cluster: &Cluster, daemon: &Daemon<'_>, least: u64) -> u64 {
    let state = desk.path("state/data/logs/dwh-1");
    let (state, log) = (
        state.to_str().unwrap(),
        cluster.data_directory().join("log"),
    );
    let mut records = 0;
    until("the kept hours are what the files say", async || {
        let Some(kept) = report(desk, &["--state", state]) else {
            return false;
        };
        records = kept[0]["records"].as_u64().unwrap();
        records >= least && Some(kept) == report(desk, &[log.to_str().unwrap()])
    })
    .await;
    let told = daemon.instance("dwh-1")["log"].clone();
    assert_eq!(told["trouble"], Value::Null, "{told}");
    records
}

#[tokio::test]
async fn a_killed_daemon_goes_on_where_it_was() {
    let cluster = cluster().await;
    let desk = Desk::new();
    file(&desk, &cluster, "interval = \"2 s\"");
    trouble(&cluster, 10).await;
    let daemon = Daemon::start(&desk).await;
    let first = agree(&desk, &cluster, &daemon, 30).await;
    trouble(&cluster, 10).await;
    daemon.signal("KILL");
    daemon.ended().await;
    cluster.sql("postgres", "SELECT pg_rotate_logfile()").await;
    trouble(&cluster, 10).await;
    let daemon = Daemon::start(&desk).await;
    let second = agree(&desk, &cluster, &daemon, first + 60).await;
    let told = daemon.instance("dwh-1")["log"].clone();
    let since = told["records"].as_u64().unwrap();
    assert!(since < second, "{since} of {second} were read again");
    let screen = desk.pawang(&["serve", "status"]);
    assert!(screen.stdout.contains("log in "), "{screen:?}");
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await, 0);
}

#[tokio::test]
async fn a_daemon_that_catches_up_with_a_large_log_ends_within_a_second() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("log")).unwrap();
    let line = "2026-11-21 08:00:00.000 UTC [7] 42P01 app@shop ERROR:  relation \"missing\" does not exist\n";
    let block = line.repeat(10_000);
    let mut log = std::fs::File::create(desk.path("log/server.log")).unwrap();
    for _ in 0..200 {
        std::io::Write::write_all(&mut log, block.as_bytes()).unwrap();
    }
    let gone = "postgresql://u@127.0.0.1:1/postgres?connect_timeout=1";
    let text = format!(
        "state_directory = \"state\"\n[[instance]]\nname = \"dwh-1\"\nurl = \"{gone}\"\nlog_directory = {:?}\n",
        desk.path("log")
    );
    desk.write("pawang.toml", &text);
    let daemon = Daemon::start(&desk).await;
    let kept = desk.path("state/data/logs/dwh-1/manifest");
    until("a part of it is kept", async || kept.exists()).await;
    let behind = daemon.instance("dwh-1")["log"]["behind_bytes"].clone();
    assert_ne!(behind, 0, "it was read already");
    let began = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await, 0);
    assert!(began.elapsed() < END_MAX, "{:?}", began.elapsed());
}

#[tokio::test]
async fn why_a_log_is_not_read_is_told() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    file(&desk, &cluster, "interval = \"2 s\"");
    let daemon = Daemon::start(&desk).await;
    until("the reason is told", async || {
        let log = daemon.instance("dwh-1")["log"].clone();
        let trouble = log["trouble"].as_str().unwrap_or_default();
        trouble.contains("logging_collector is off")
    })
    .await;
    file(&desk, &cluster, "enabled = false");
    daemon.signal("HUP");
    until("it is not read", async || {
        daemon.instance("dwh-1")["log"].is_null()
    })
    .await;
}

#[tokio::test]
async fn runs_without_a_daemon_read_what_is_new() {
    let cluster = cluster().await;
    let desk = Desk::new();
    let state = desk.path("hours");
    let log = cluster.data_directory().join("log");
    let (state, log) = (state.to_str().unwrap(), log.to_str().unwrap());
    trouble(&cluster, 5).await;
    let records = |words: &[&str]| {
        let found = report(&desk, words)?;
        found[0]["records"].as_u64()
    };
    until("all records are whole", async || {
        records(&["--state", state, log]) == records(&[log])
    })
    .await;
    let first = records(&["--state", state]).unwrap();
    trouble(&cluster, 5).await;
    until("the new ones are read too", async || {
        let now = records(&["--state", state, log]);
        now > Some(first) && now == records(&[log])
    })
    .await;
    desk.pawang(&["logs", "report", "--state", "nowhere"])
        .is_clear_error(2, &["there are no kept hours in", "--state DIR FILE"]);
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_set_aside_and_the_log_is_read_anew() {
    let cluster = cluster().await;
    let desk = Desk::new();
    file(&desk, &cluster, "interval = \"2 s\"");
    trouble(&cluster, 10).await;
    let state = desk.path("state/data/logs/dwh-1");
    std::fs::create_dir_all(&state).unwrap();
    let manifest = state.join("manifest");
    let log = cluster.data_directory().join("log");
    let (state, log) = (state.to_str().unwrap(), log.to_str().unwrap());
    let earlier = [&b"PWLS\x01\0\0\0"[..], &[0; 24]].concat();
    for (number, bytes, why) in [
        (1, earlier, "has version 1 of an earlier program"),
        (2, b"no state".to_vec(), "is damaged"),
    ] {
        std::fs::write(&manifest, &bytes).unwrap();
        desk.pawang(&["logs", "report", "--state", state, log])
            .is_clear_error(4, &[why, "mv '"]);
        let daemon = Daemon::start(&desk).await;
        until("the log is read anew, and that is told", async || {
            let told = daemon.instance("dwh-1")["log"].clone();
            let trouble = told["trouble"].as_str().unwrap_or_default();
            let kept = report(&desk, &["--state", state]);
            trouble.contains(why)
                && trouble.contains("was set aside as")
                && kept.is_some()
                && kept == report(&desk, &[log])
        })
        .await;
        let aside = desk.path(&format!("state/data/logs/dwh-1.aside-{number}"));
        assert_eq!(std::fs::read(aside.join("manifest")).unwrap(), bytes);
        daemon.signal("TERM");
        assert_eq!(daemon.ended().await, 0);
    }
}
