//! `pawang wal stream`: from a real server into a repository, over its restart, until a signal.

use pawang_backup::Repository;
use pawang_backup::repository::RepositorySettings;
use pawang_testbed::{Cluster, Setup, Stop, until, versions};
use serde_json::Value;

use crate::program::{Desk, instance};

const WRITE: &str = "CREATE TABLE IF NOT EXISTS t (pad text); INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, 5000); SELECT pg_switch_wal()";
/// Whether what the server has written is confirmed.
const CONFIRMED: &str = "SELECT coalesce(bool_or(flush_lsn >= pg_current_wal_flush_lsn()), false)::text FROM pg_stat_replication";

async fn confirmed(server: &Cluster) {
    until("all is confirmed", async || {
        server.sql("postgres", CONFIRMED).await[0][0].as_deref() == Some("true")
    })
    .await;
}

async fn desk(server: &Cluster) -> Desk {
    let desk = Desk::new();
    let place = desk.path("backup").display().to_string();
    let settings = RepositorySettings::default();
    let now = "2026-11-22T08:00:00Z".parse().unwrap();
    Repository::setup(&place, &settings, now, [7; 10])
        .await
        .unwrap();
    let repository = format!("[[repository]]\nname = \"near\"\nplace = \"{place}\"\n\n");
    let text = instance("one", &server.url("postgres"));
    desk.write("pawang.toml", &(repository + &text));
    desk
}

/// Waits until the server knows that nobody receives any more, which it sees after the receiver has ended; the slot stays, so
/// that the server keeps what comes until the next run.
async fn left(server: &Cluster) {
    until("the slot is free again", async || {
        let slot = "SELECT slot_name FROM pg_replication_slots WHERE NOT active";
        let free = server.sql("postgres", slot).await;
        free == [[Some("pawang".to_owned())]]
    })
    .await;
}

/// Returns the events of a kind that were written as JSON.
fn events(desk: &Desk, kind: &str) -> Vec<Value> {
    let lines = desk.read("out");
    let lines = lines
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines
        .inspect(|line: &Value| assert_eq!(line["schema"], "pawang.wal.stream/1"))
        .map(|line| line["data"].clone())
        .filter(|data| data["event"] == kind)
        .collect()
}

#[tokio::test]
async fn wal_is_received_over_a_restart_of_the_server() {
    for version in versions() {
        let mut server = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let desk = desk(&server).await;
        let words = ["wal", "stream", "-i", "one", "--every", "1", "--json"];
        let mut run = desk.start_into(&words, "out", "talk");
        until("it streams", async || events(&desk, "started").len() == 1).await;
        server.sql("postgres", WRITE).await;
        confirmed(&server).await;
        server.stop(Stop::Fast).await;
        until("it waits", async || {
            desk.read("talk").contains("trying again in")
        })
        .await;
        server.start_again().await;
        until("it streams again", async || {
            events(&desk, "started").len() >= 2
        })
        .await;
        server.sql("postgres", WRITE).await;
        confirmed(&server).await;
        run.signal("TERM");
        let ended = run.screen();
        assert_eq!(ended.code, 0, "{}", desk.read("talk"));
        assert!(events(&desk, "gap").is_empty() && events(&desk, "diverged").is_empty());
        assert!(
            desk.read("talk").contains("is shutting down"),
            "{}",
            desk.read("talk")
        );
        let identifier = "SELECT system_identifier FROM pg_control_system()";
        let identifier = server.sql("postgres", identifier).await[0][0]
            .clone()
            .unwrap();
        let folder = desk
            .path("backup/cluster")
            .join(format!("{identifier}-{version}/wal"));
        assert!(folder.join("00000001").is_dir());
        left(&server).await;
    }
}

/// What became of the slot while nobody received.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    None,
    Dropped,
    /// The server invalidated it, as `max_slot_wal_keep_size` tells it to.
    GivenUp,
}

impl Loss {
    async fn happen(self, server: &Cluster) {
        let turn = "CREATE TABLE gone (); DROP TABLE gone; SELECT pg_switch_wal(); CHECKPOINT";
        match self {
            Loss::None => {}
            Loss::Dropped => {
                let drop = "SELECT pg_drop_replication_slot('pawang')";
                server.sql("postgres", drop).await;
                for _ in 0..12 {
                    server.sql("postgres", turn).await;
                }
            }
            Loss::GivenUp => {
                server.set("max_slot_wal_keep_size", Some("1MB")).await;
                until("the slot is lost", async || {
                    server.sql("postgres", turn).await;
                    let status = "SELECT wal_status FROM pg_replication_slots";
                    server.sql("postgres", status).await[0][0].as_deref() == Some("lost")
                })
                .await;
                server.set("max_slot_wal_keep_size", None).await;
            }
        }
    }
}

#[tokio::test]
async fn a_hole_is_an_alarm_and_exit_code_1() {
    let server = Cluster::start(&Setup::default()).await;
    let desk = desk(&server).await;
    let place = desk.path("backup").display().to_string();
    let words = [
        "wal",
        "stream",
        "-i",
        "one",
        "--repository",
        &place,
        "--spool",
        "spool",
        "--once",
    ];
    for loss in [Loss::None, Loss::Dropped, Loss::GivenUp] {
        loss.happen(&server).await;
        let hole = loss != Loss::None;
        let mut run = desk.start_into(&words, "out", "talk");
        until("it streams", async || {
            desk.read("talk").contains("streaming from")
        })
        .await;
        server.sql("postgres", WRITE).await;
        confirmed(&server).await;
        run.signal("INT");
        assert_eq!(run.screen().code, i32::from(hole), "{}", desk.read("talk"));
        assert_eq!(desk.read("talk").contains("ALARM: WAL from"), hole);
        left(&server).await;
    }
}

#[tokio::test]
async fn wrong_usage_and_servers_that_refuse() {
    let server = Cluster::start(&Setup::default()).await;
    server.sql("postgres", "CREATE ROLE plain LOGIN").await;
    let desk = desk(&server).await;
    let place = desk.path("backup").display().to_string();
    let plain = server.url_as("plain", "postgres");
    let url = server.url("postgres");
    let run = |words: &[&str]| desk.pawang(&[&["wal", "stream"], words].concat());
    run(&[&plain, "--repository", &place]).is_clear_error(3, &["ALTER ROLE", "REPLICATION"]);
    let bare = desk.write("bare.toml", &instance("one", &url));
    let bare = bare.display().to_string();
    run(&["--config", &bare]).is_clear_error(2, &["no repository holds", "pawang backup setup"]);
    let elsewhere = desk.path("nowhere").display().to_string();
    run(&[&url, "--repository", &elsewhere]).is_clear_error(3, &["is no repository"]);
    run(&["-i", "two"]).is_clear_error(2, &["there is no instance \"two\""]);
    let standby = server.standby("second").await;
    let words = [&standby.url("postgres"), "--repository", &place];
    run(&words).is_clear_error(4, &["is a standby", "--allow-standby"]);
}
