//! `pawang serve`: begins, observes, remembers, ends.

use std::path::Path;

use pawang_store::Store;
use pawang_store::history::Span;
use pawang_testbed::{Cluster, Setup, until};

use crate::program::{Desk, instance};
use crate::serve_daemon::Daemon;

/// Writes a `pawang.toml` with these instances, and state in the desk's directory.
pub(crate) fn file(desk: &Desk, instances: &str) {
    desk.write(
        "pawang.toml",
        &format!("state_directory = \"state\"\n{instances}"),
    );
}

/// Returns what the history knows of the time of an instance.
pub(crate) fn extent(directory: &Path, name: &str) -> Option<Span> {
    let store = Store::open_to_read(directory).ok()?;
    store.reader().ok()?.extent(name).ok()?
}

#[tokio::test]
async fn it_observes_judges_remembers_and_ends_cleanly() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    file(&desk, &instance("one", &cluster.url("postgres")));
    let daemon = Daemon::start(&desk).await;
    let one = daemon.judged("one").await;
    assert_eq!(one["silent"], serde_json::Value::Null, "{one}");
    assert!(one["answered_at"].is_string(), "{one}");
    let data = desk.path("state/data");
    until("the history has something", async || {
        extent(&data, "one").is_some()
    })
    .await;
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pawang:serve'";
    assert_eq!(
        cluster.sql("postgres", sessions).await[0][0].as_deref(),
        Some("1")
    );
    let screen = desk.pawang(&["serve", "status"]);
    assert!(screen.stdout.contains("answered"), "{screen:?}");
    daemon.signal("TERM");
    let log = desk.path("serve.log");
    assert_eq!(
        daemon.ended().await,
        0,
        "{}",
        std::fs::read_to_string(log).unwrap()
    );
    until("the server is left", async || {
        cluster.sql("postgres", sessions).await[0][0].as_deref() == Some("0")
    })
    .await;
    assert!(!data.join("pawang.sock").exists());
    desk.pawang(&["serve", "status"])
        .is_clear_error(3, &["no pawang serve answers"]);
    let log = desk.read("serve.log");
    for word in ["WARN", "ERROR", "panicked"] {
        assert!(!log.contains(word), "{log}");
    }
}

#[tokio::test]
async fn systemd_hears_of_readiness_life_reloads_and_the_end() {
    let desk = Desk::new();
    file(&desk, &instance("one", "host=/nowhere user=x"));
    let path = desk.path("notify.sock").display().to_string();
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let heard = std::cell::RefCell::new(String::new());
    let hears = async |word: &str| {
        until(&format!("systemd hears {word}"), async || {
            let mut bytes = [0; 4_096];
            while let Ok(length) = socket.recv(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                heard.borrow_mut().push_str(&text);
            }
            heard.borrow().contains(word)
        })
        .await;
        heard.take()
    };
    let variables = [
        ("NOTIFY_SOCKET", path.as_str()),
        ("WATCHDOG_USEC", "3000000"),
    ];
    let daemon = Daemon::start_with(&desk, &[], &variables).await;
    let ready = hears("READY=1\n").await;
    assert!(ready.contains("STATUS=observing 1 instances"), "{ready}");
    hears("WATCHDOG=1\n").await;
    daemon.signal("HUP");
    let reloaded = hears("READY=1\n").await;
    let reloading = reloaded.find("RELOADING=1\nMONOTONIC_USEC=");
    assert!(reloading < reloaded.find("READY=1\n"), "{reloaded}");
    daemon.signal("TERM");
    hears("STOPPING=1\n").await;
    assert_eq!(daemon.ended().await, 0);
}
