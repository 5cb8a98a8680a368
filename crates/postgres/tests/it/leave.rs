//! Nothing stays behind on a server: not after a drop, not after a kill.

#![expect(
    clippy::disallowed_methods,
    reason = "the test runs itself as a child process, to kill it"
)]

use std::process::{Command, Stdio};
use std::time::Duration;

use pawang_postgres::Session;
use pawang_testbed::{Cluster, Setup, until};

use crate::{session, target};

const CHILD: &str = "PAWANG_TEST_CHILD_URL";
const COUNT: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pawang:%' AND ";

async fn count(cluster: &Cluster, condition: &str) -> String {
    let rows = cluster
        .sql("postgres", &format!("{COUNT}{condition}"))
        .await;
    rows[0][0].clone().unwrap()
}

#[tokio::test]
async fn a_dropped_session_frees_its_slot() {
    let cluster = Cluster::start(&Setup::default()).await;
    let held = session(&cluster.url("postgres")).await;
    assert_eq!(count(&cluster, "true").await, "1");
    drop(held);
    until("the backend is gone", async || {
        count(&cluster, "true").await == "0"
    })
    .await;
}

#[test]
fn a_session_may_outlive_its_runtime_and_change_threads() {
    fn may_be_sent<T: Send>(value: T) -> T {
        value
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (cluster, held) = runtime.block_on(async {
        let cluster = Cluster::start(&Setup::default()).await;
        let held = session(&cluster.url("postgres")).await;
        may_be_sent(held.read("SELECT 1")).await.unwrap();
        (cluster, may_be_sent(held))
    });
    let target = target(&cluster.url("postgres"));
    drop(may_be_sent(Session::connect(&target, "test")));
    drop(runtime);
    drop(held);
    drop(cluster);
}

#[tokio::test]
async fn a_dropped_read_does_not_disturb_the_next() {
    let cluster = Cluster::start(&Setup::default()).await;
    let create = "CREATE FUNCTION until_free() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
        WHILE NOT pg_catalog.pg_try_advisory_lock_shared(7) LOOP PERFORM pg_catalog.pg_sleep(0.01); END LOOP; END $$";
    cluster.sql("postgres", create).await;
    let holder = cluster.hold("postgres", "SELECT pg_advisory_lock(7)").await;
    let session = session(&cluster.url("postgres")).await;
    let slow = session.read("SELECT public.until_free(), generate_series(1, 3)");
    let runs = until("the statement runs", async || {
        count(&cluster, "wait_event = 'PgSleep'").await == "1"
    });
    tokio::select! {
        _ = slow => unreachable!("it waits for the lock to be free"),
        () = runs => {}
    }
    drop(holder);
    let rows = session.read("SELECT 7 AS seven").await.unwrap();
    assert_eq!(rows.rows[0][0].to_string(), "7");
}

#[tokio::test]
async fn a_cancelled_statement_ends_at_once() {
    let cluster = Cluster::start(&Setup::default()).await;
    let session = session(&cluster.url("postgres")).await;
    let cancel = async {
        until("the statement runs", async || {
            count(&cluster, "wait_event = 'PgSleep'").await == "1"
        })
        .await;
        session.cancel().await;
    };
    let (result, ()) = tokio::join!(session.read("SELECT pg_sleep(10)"), cancel);
    let error = result.unwrap_err();
    assert!(
        matches!(error, pawang_postgres::Error::Cancelled { .. }),
        "{error}"
    );
}

/// Does nothing unless it is the child process of the test below.
#[tokio::test]
async fn child() {
    if let Ok(url) = std::env::var(CHILD) {
        let mut target = target(&url);
        target.statement_timeout = Duration::from_secs(600);
        let session = Session::connect(&target, "child").await.unwrap();
        let _ = session.read("SELECT pg_sleep(600)").await;
    }
}

#[tokio::test]
async fn a_killed_process_leaves_no_backend() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "leave::child"])
        .env(CHILD, cluster.url("postgres"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("the child's statement runs", async || {
        count(&cluster, "wait_event = 'PgSleep'").await == "1"
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    until("the child's backend is gone", async || {
        count(&cluster, "true").await == "0"
    })
    .await;
    // Nobody waits for ten minutes: it has looked for its client, as it is asked to do each second, and says so.
    let log = std::fs::read_to_string(cluster.log_file()).unwrap();
    assert!(log.contains("connection to client lost"), "{log}");
}
