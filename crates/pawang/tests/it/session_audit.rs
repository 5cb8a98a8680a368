//! Sessions as a user meets them on a bad day: hostile names, missing privileges, standbys, superusers, two at once.

use std::sync::Arc;

use pawang_testbed::{Client, Cluster, Setup, until};
use tokio::task::JoinSet;

use crate::program::{Desk, Screen, instance};

/// Runs `pawang` beside the server's own sessions of this test.
async fn run(desk: &Arc<Desk>, words: &[&str]) -> Screen {
    let desk = Arc::clone(desk);
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let run = move || desk.pawang(&words.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn desk(url: &str, more: &str) -> Arc<Desk> {
    let desk = Desk::new();
    let server = instance("dwh-1", url);
    let text = format!("state_directory = \"state\"\n{more}{server}");
    desk.write("pawang.toml", &text);
    Arc::new(desk)
}

/// Returns the session ID of the only session of a role.
async fn session(desk: &Arc<Desk>, role: &str) -> String {
    let list = run(desk, &["session", "list", "--user", role]).await;
    let line = list.stdout.lines().nth(1);
    let line = line.unwrap_or_else(|| panic!("{list:?}"));
    line.split('\t').nth(1).unwrap().to_owned()
}

/// Lets somebody wait for table `t`, by a role that may not read much.
async fn waiter(cluster: &Cluster, works: &mut JoinSet<bool>) {
    let client = cluster.connect("postgres").await;
    let lock = "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; COMMIT";
    works.spawn(async move { client.batch_execute(lock).await.is_ok() });
    until("it waits", async || {
        let waits = "SELECT 1 FROM pg_locks WHERE NOT granted";
        cluster.sql("postgres", waits).await.len() == 1
    })
    .await;
}

async fn holder(cluster: &Cluster, role: &str) -> Client {
    let client = cluster.connect_as(role, "postgres").await;
    let hold = "BEGIN; LOCK TABLE t IN ACCESS SHARE MODE";
    client.batch_execute(hold).await.unwrap();
    client
}

#[tokio::test]
async fn hostile_names_are_shown_and_recorded_but_never_followed() {
    let cluster = Cluster::start(&Setup::default()).await;
    let role = "x\"; DROP TABLE t; --'\t\u{1b}[2J\n\u{202e}évil";
    let quoted = role.replace('"', "\"\"");
    cluster
        .sql("postgres", &format!("CREATE ROLE \"{quoted}\" LOGIN; CREATE TABLE t (n int); GRANT ALL ON t TO \"{quoted}\""))
        .await;
    let evil = holder(&cluster, role).await;
    evil.batch_execute("SET application_name = E'a\\tb''; SELECT 1 --'")
        .await
        .unwrap();
    let desk = desk(&cluster.url("postgres"), "");
    let mut works = JoinSet::new();
    waiter(&cluster, &mut works).await;
    for words in [
        &["session", "list"][..],
        &["session", "tree"],
        &["session", "terminate", "--blockers", "--dry-run"],
        &["session", "terminate", "--blockers", "--yes"],
    ] {
        let screen = run(&desk, words).await;
        let hidden = screen.stdout.contains(['\u{1b}', '\u{202e}']);
        assert!(!hidden, "{screen:?}");
        assert!(screen.code <= 1, "{screen:?}");
    }
    evil.batch_execute("SELECT 1").await.unwrap_err();
    assert!(works.join_next().await.unwrap().unwrap());
    assert_eq!(cluster.sql("postgres", "SELECT 1 FROM t").await.len(), 0);
    let verified = run(&desk, &["journal", "verify"]).await;
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[tokio::test]
async fn a_role_that_sees_nothing_is_told_what_would_let_it() {
    let cluster = Cluster::start(&Setup::default()).await;
    cluster
        .sql("postgres", "CREATE ROLE blind LOGIN; CREATE ROLE etl LOGIN; CREATE TABLE t (n int); GRANT ALL ON t TO etl")
        .await;
    let etl = holder(&cluster, "etl").await;
    let mut works = JoinSet::new();
    waiter(&cluster, &mut works).await;
    let desk = desk(&cluster.url_as("blind", "postgres"), "");
    for words in [&["session", "list"][..], &["session", "tree"]] {
        let screen = run(&desk, words).await;
        assert!(
            screen.stderr.contains("GRANT pg_monitor TO blind"),
            "{screen:?}"
        );
    }
    let refused = run(&desk, &["session", "terminate", "--blockers", "--yes"]).await;
    refused.is_clear_error(3, &["GRANT pg_monitor TO blind"]);
    etl.batch_execute("COMMIT").await.unwrap();
    assert!(works.join_next().await.unwrap().unwrap());
}

#[tokio::test]
async fn superusers_reused_process_ids_and_a_second_pawang_are_refused() {
    let cluster = Cluster::start(&Setup::default()).await;
    cluster
        .sql("postgres", "CREATE ROLE boss LOGIN SUPERUSER; CREATE ROLE etl LOGIN; CREATE TABLE t (n int); GRANT ALL ON t TO etl")
        .await;
    let desk = desk(&cluster.url("postgres"), "");
    let boss = cluster.connect_as("boss", "postgres").await;
    boss.batch_execute("SELECT 1").await.unwrap();
    let name = session(&desk, "boss").await;
    let spared = run(&desk, &["session", "terminate", &name, "--yes"]).await;
    spared.is_clear_error(4, &["is a superuser", "--allow-superuser"]);
    // The same process id, of a session that began at another time.
    let (_, pid) = name.split_once('.').unwrap();
    let reused = format!("5f000000.{pid}");
    let gone = run(&desk, &["session", "terminate", &reused, "--yes"]).await;
    gone.is_clear_error(1, &["there is no session"]);
    boss.batch_execute("SELECT 1").await.unwrap();

    let etl = cluster.connect_as("etl", "postgres").await;
    etl.batch_execute("SELECT 1").await.unwrap();
    let name = session(&desk, "etl").await;
    let other = cluster.connect("postgres").await;
    let lock = "SELECT pg_advisory_lock(x'70617761'::int, ('x' || left(encode(sha256('session'), 'hex'), 8))::bit(32)::int)";
    other.batch_execute(lock).await.unwrap();
    let second = run(&desk, &["session", "terminate", &name, "--yes"]).await;
    second.is_clear_error(4, &["another session holds the lock of \"session\""]);
    drop(other);
    until("the other is gone", async || {
        let left = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'";
        cluster.sql("postgres", left).await.is_empty()
    })
    .await;
    desk.write("stop", "");
    let config = desk.read("pawang.toml");
    let stop = desk.path("stop").display().to_string();
    let stopping = config.replacen(
        "[[instance]]",
        &format!("[act]\nstop_file = \"{stop}\"\n\n[[instance]]"),
        1,
    );
    desk.write("pawang.toml", &stopping);
    let stopped = run(&desk, &["session", "terminate", &name, "--yes"]).await;
    assert_eq!(stopped.code, 4, "{stopped:?}");
    assert!(stopped.stdout.contains("the stop file"), "{stopped:?}");
    desk.write("pawang.toml", &config);
    etl.batch_execute("SELECT 1").await.unwrap();
    let allowed = run(
        &desk,
        &[
            "session",
            "terminate",
            &name,
            "--yes",
            "--why",
            "it is in the way",
        ],
    )
    .await;
    assert_eq!(allowed.code, 0, "{allowed:?}");
    etl.batch_execute("SELECT 1").await.unwrap_err();
    let journal = run(&desk, &["journal", "list", "--json"]).await;
    assert!(journal.stdout.contains("it is in the way"), "{journal:?}");
}

#[tokio::test]
async fn a_prepared_transaction_is_named_and_a_query_on_a_standby_is_cancelled() {
    let cluster = Cluster::start(&Setup {
        settings: &[("max_prepared_transactions", "5")],
        ..Setup::default()
    })
    .await;
    cluster
        .sql(
            "postgres",
            "CREATE ROLE etl LOGIN; CREATE TABLE t (n int); GRANT ALL ON t TO etl",
        )
        .await;
    let desk_here = desk(&cluster.url("postgres"), "");
    let client = holder(&cluster, "etl").await;
    client
        .batch_execute("PREPARE TRANSACTION 'it''s-7'")
        .await
        .unwrap();
    let mut works = JoinSet::new();
    waiter(&cluster, &mut works).await;
    let tree = run(&desk_here, &["session", "tree"]).await;
    assert!(tree.stdout.contains("prepared it's-7"), "{tree:?}");
    let refused = run(&desk_here, &["session", "terminate", "--blockers", "--yes"]).await;
    refused.is_clear_error(4, &["'it''s-7' of etl in postgres", "ROLLBACK PREPARED"]);
    cluster.sql("postgres", "ROLLBACK PREPARED 'it''s-7'").await;
    assert!(works.join_next().await.unwrap().unwrap());

    let standby = cluster.standby("standby_1").await;
    let desk_there = desk(&standby.url("postgres"), "");
    until("the role is there", async || {
        let role = "SELECT 1 FROM pg_roles WHERE rolname = 'etl'";
        standby.sql("postgres", role).await.len() == 1
    })
    .await;
    let reader = standby.connect_as("etl", "postgres").await;
    works.spawn(async move { reader.batch_execute("SELECT pg_sleep(600)").await.is_ok() });
    until("it runs", async || {
        let runs = "SELECT 1 FROM pg_stat_activity WHERE usename = 'etl' AND state = 'active'";
        standby.sql("postgres", runs).await.len() == 1
    })
    .await;
    let name = session(&desk_there, "etl").await;
    let cancelled = run(&desk_there, &["session", "cancel", &name, "--yes"]).await;
    assert_eq!(cancelled.code, 0, "{cancelled:?}");
    assert!(!works.join_next().await.unwrap().unwrap());
}
