//! A daemon that reads its configuration again: by signal, by command, and never half of a wrong one.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use pawang_testbed::{Cluster, Setup, until};
use serde_json::Value;

use crate::program::{Desk, instance};
use crate::serve::file;
use crate::serve_daemon::Daemon;

const OURS: &str = "SELECT coalesce(string_agg(pid::text, ',' ORDER BY pid), '') FROM pg_stat_activity \
                    WHERE application_name = 'pawang:serve' AND datname = 'postgres'";

async fn sessions(cluster: &Cluster) -> Vec<String> {
    let pids = cluster.sql("postgres", OURS).await[0][0].clone();
    let pids = pids.unwrap_or_default();
    pids.split(',')
        .filter(|pid| !pid.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Returns outcomes of the journal's reloads, oldest first.
fn reloads(desk: &Desk) -> Vec<String> {
    let store = pawang_store::Store::open_to_read(&desk.path("state/data")).unwrap();
    let records = store.state().journal_page(None, 100).unwrap();
    let records = records.into_iter().rev();
    let records = records.filter(|record| record.entry.action == "daemon.reload");
    records.map(|record| record.entry.outcome).collect()
}

#[tokio::test]
async fn instances_come_and_go_while_the_others_go_on_untouched() {
    let (first, second) = (
        Cluster::start(&Setup::default()).await,
        Cluster::start(&Setup::default()).await,
    );
    let desk = Desk::new();
    let one = instance("one", &first.url("postgres"));
    file(&desk, &one);
    let daemon = Daemon::start(&desk).await;
    daemon.judged("one").await;
    let before = sessions(&first).await;
    assert_eq!(before.len(), 1);

    // By command: one more instance, and a limit that the other one must obey at once.
    let two = instance("two", &second.url("postgres"));
    file(
        &desk,
        &format!("{one}{two}[check.connections]\nwarning = 0\n"),
    );
    let screen = desk.pawang(&["serve", "reload"]);
    assert_eq!(screen.code, 0, "{screen:?}");
    assert!(screen.stdout.contains("added two"), "{screen:?}");
    daemon.judged("two").await;
    until("the new limit holds", async || {
        daemon.instance("one")["warning"].as_u64() > Some(0)
    })
    .await;
    assert_eq!(
        sessions(&first).await,
        before,
        "the session of the first went on"
    );

    // A wrong file is refused whole: what it added is not there, and what it removed still is.
    let three = instance("three", &second.url("postgres"));
    file(&desk, &format!("{three}[check.conections]\nwarning = 1\n"));
    desk.pawang(&["serve", "reload"])
        .is_clear_error(2, &["goes on with the configuration", "conections"]);
    let status = daemon.status();
    assert!(
        status["config_refused"]
            .as_str()
            .unwrap()
            .contains("conections"),
        "{status}"
    );
    let names: Vec<&Value> = status["instances"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| &i["name"])
        .collect();
    assert_eq!(names, ["one", "two"]);

    // By signal: one instance goes, in the middle of being sampled.
    file(&desk, &format!("{two}[serve]\nlisten = \"127.0.0.1:1\"\n"));
    daemon.signal("HUP");
    until("the first is gone", async || {
        daemon.instance("one").is_null()
    })
    .await;
    until("its session ended", async || {
        sessions(&first).await.is_empty()
    })
    .await;
    until("what needs a restart is told", async || {
        let notes = daemon.status()["notes"].to_string();
        notes.contains("serve.listen was changed")
    })
    .await;
    let status = daemon.status();
    assert!(status["config_refused"].is_null(), "{status}");
    until("the journal has them", async || {
        reloads(&desk) == ["done", "refused", "done"]
    })
    .await;
    assert!(daemon.lives());
}

#[tokio::test]
async fn orders_that_are_none_are_refused_and_harm_nobody() {
    let desk = Desk::new();
    file(&desk, &instance("one", "host=/nowhere user=x"));
    let daemon = Daemon::start(&desk).await;
    let socket = desk.path("state/data/pawang.sock");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let flood = "x".repeat(100_000);
    let orders: [&[u8]; 6] = [
        b"",
        b"\n",
        b"reboot\n",
        b"\xff\xfe\0status\n",
        b"status reload\n",
        flood.as_bytes(),
    ];
    for order in orders {
        let mut stream = UnixStream::connect(&socket).unwrap();
        // The daemon may have heard enough before everything was said.
        let _ = stream.write_all(order);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        let none = answer.is_empty() && order.len() > 64;
        assert!(none || answer.contains("there is no order"), "{answer:?}");
    }
    // Somebody who connects and says nothing holds nobody up for long.
    let silent = UnixStream::connect(&socket).unwrap();
    assert!(daemon.status()["pid"].is_u64());
    drop(silent);
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}
