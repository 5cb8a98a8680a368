//! Backups as a person keeps them: set up, listed, held, expired, checked; and as the daemon does in its windows.

use pawang_testbed::{Cluster, Setup, until};
use serde_json::Value;

use crate::program::{Desk, Screen, instance};
use crate::serve_daemon::Daemon;

/// Writes a configuration with one server, and returns the folder of its repository.
fn file(desk: &Desk, cluster: &Cluster, more: &str) -> String {
    let one = instance("dwh-1", &cluster.url("postgres"));
    let text = format!("state_directory = \"state\"\n{one}{more}");
    desk.write("pawang.toml", &text);
    desk.path("repository").display().to_string()
}

/// Asserts that a command did its work, and returns what it printed.
fn good(screen: Screen) -> Screen {
    assert_eq!(screen.code, 0, "{screen:?}");
    assert!(!screen.stderr.contains("panicked"), "{screen:?}");
    screen
}

/// Returns the levels and texts that `pawang backup check` tells about a subject.
fn told(screen: &Screen, subject: &str) -> Vec<(String, String)> {
    let data = screen.data("pawang.backup.check/1");
    let findings = data[0]["findings"].as_array().unwrap().clone();
    let of_subject = findings.iter().filter(|told| told["subject"] == subject);
    let texts = of_subject.map(|told| {
        let text = |key: &str| told[key].as_str().unwrap().to_owned();
        (text("level"), text("what"))
    });
    texts.collect()
}

#[tokio::test]
async fn a_repository_is_set_up_looked_into_and_kept() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let place = file(&desk, &cluster, "");
    let nothing = desk.pawang(&["backup", "list"]);
    nothing.is_clear_error(
        2,
        &[
            "no repository holds backups of \"dwh-1\"",
            "pawang backup setup",
        ],
    );
    let setup = ["backup", "setup", "--repo", &place];
    let made = good(desk.pawang(&[&setup[..], &["--no-drill"]].concat()));
    assert!(made.stderr.contains("[[repository]]"), "{made:?}");
    let written = desk.read("pawang.toml");
    assert!(
        written.starts_with("state_directory = \"state\"\n[[instance]]"),
        "{written}"
    );
    assert!(
        written.contains(&format!("place = \"{place}\"")),
        "{written}"
    );

    let list = good(desk.pawang(&["backup", "list", "--json"])).data("pawang.backup.list/1");
    let backups = list[0]["repositories"][0]["survey"]["Ok"]["backups"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(backups.len(), 1, "{list}");
    let id = backups[0]["id"].as_str().unwrap();
    assert_eq!(
        (&backups[0]["kind"], &backups[0]["state"]),
        (&"full".into(), &"taken".into())
    );
    assert_eq!(backups[0]["broken"], Value::Null, "{list}");
    assert!(
        backups[0]["fate"].as_str().unwrap().starts_with("stays: "),
        "{list}"
    );
    let table = good(desk.pawang(&["backup", "list"]));
    assert!(table.stdout.contains(id), "{table:?}");
    for name in ["latest", &id[20..], &id.to_lowercase()] {
        let shown = good(desk.pawang(&["backup", "show", name]));
        assert!(
            shown.stdout.contains(id) && shown.stdout.contains("PostgreSQL"),
            "{shown:?}"
        );
    }
    desk.pawang(&["backup", "show", "nothing"])
        .is_clear_error(2, &["has no backup \"nothing\""]);

    // What is there already stays as it is.
    let again = good(desk.pawang(&[&setup[..], &["--no-backup"]].concat()));
    assert!(!again.stderr.contains("added to"), "{again:?}");
    assert_eq!(desk.read("pawang.toml"), written);
    let other = desk.path("other").display().to_string();
    desk.pawang(&["backup", "setup", "--repo", &other])
        .is_clear_error(4, &["already"]);

    let verified = good(desk.pawang(&["backup", "verify", "latest"]));
    assert!(verified.stdout.contains("is as it was"), "{verified:?}");
    let list = good(desk.pawang(&["backup", "list"]));
    assert!(list.stdout.contains("page-verified"), "{list:?}");
    held(&desk, id);
    checked(&desk, &cluster, id).await;
}

fn held(desk: &Desk, id: &str) {
    good(desk.pawang(&[
        "backup",
        "hold",
        "latest",
        "--why",
        "audit 2026",
        "--until",
        "30d",
    ]));
    let twice = desk.pawang(&["backup", "hold", id, "--why", "another"]);
    twice.is_clear_error(
        4,
        &[
            "is held already",
            "audit 2026",
            &format!("pawang backup unhold {id} -i dwh-1"),
        ],
    );
    let dry = good(desk.pawang(&["backup", "expire", "--dry-run"]));
    assert!(dry.stdout.contains("is held: audit 2026"), "{dry:?}");
    let counted = "0 backups would be marked until the grace is over, 0 backups and 0 objects of WAL would be deleted, 0 B would be freed";
    assert!(dry.stderr.contains(counted), "{dry:?}");
    let done = good(desk.pawang(&["backup", "expire", "--json"]));
    assert_eq!(
        done.data("pawang.backup.expire/1")[0]["deleted"]["backups"],
        Value::Array(vec![])
    );
    let first = good(desk.pawang(&["backup", "unhold", id]));
    assert!(first.stderr.contains("is not held any more"), "{first:?}");
    let second = good(desk.pawang(&["backup", "unhold", id]));
    assert!(second.stderr.contains("was not held"), "{second:?}");
    let dry = good(desk.pawang(&["backup", "expire", "--dry-run"]));
    assert!(!dry.stdout.contains("audit"), "{dry:?}");
    assert!(dry.stdout.contains("it is the newest"), "{dry:?}");
}

async fn checked(desk: &Desk, cluster: &Cluster, id: &str) {
    let found = desk.pawang(&["backup", "check", "--json"]);
    assert_eq!(found.code, 1, "{found:?}");
    assert_eq!(told(&found, "WAL")[0].0, "warning", "{found:?}");
    assert_eq!(told(&found, "replication protocol")[0].0, "ok", "{found:?}");
    let repository = told(&found, "repository \"main\"");
    // What no restore has proven is not green.
    let unproven = "page-verified; no restore has proven any";
    for (level, what) in &repository {
        let expected = match what.ends_with(unproven) {
            true => "warning",
            false => "ok",
        };
        assert_eq!(level, expected, "{what}");
    }
    assert!(
        repository.iter().any(|(_, what)| what.ends_with(unproven)),
        "{repository:?}"
    );
    assert_eq!(told(&found, "max_replication_slots")[0].0, "ok");
    assert_eq!(told(&found, "configuration")[0].0, "ok", "{found:?}");
    assert!(
        repository.iter().any(|(_, what)| what.contains(id)),
        "{repository:?}"
    );
    let judged = desk.pawang(&["check", "backup-age", "wal-gap", "repository-space", "rpo"]);
    assert_eq!(judged.code, 0, "{judged:?}");
    let unproven = desk.pawang(&["check", "drill-age"]);
    assert_eq!(unproven.code, 1, "{unproven:?}");
    assert!(
        unproven.stdout.contains("was ever proven by a restore"),
        "{unproven:?}"
    );

    cluster.sql("postgres", "CREATE ROLE plain LOGIN").await;
    let plain = cluster.url_as("plain", "postgres");
    let written = desk.read("pawang.toml");
    desk.write(
        "pawang.toml",
        &written.replace(&cluster.url("postgres"), &plain),
    );
    let refused = desk.pawang(&["backup", "check", "--json"]);
    assert_eq!(
        told(&refused, "replication protocol")[0].0,
        "critical",
        "{refused:?}"
    );
    desk.write("pawang.toml", &written);

    // A disk that is not mounted is not an empty repository.
    std::fs::rename(desk.path("repository"), desk.path("away")).unwrap();
    std::fs::create_dir(desk.path("repository")).unwrap();
    let unseen = desk.pawang(&["backup", "list"]);
    unseen.is_clear_error(3, &["was not seen", "is no repository"]);
    for check in [
        "backup-age",
        "wal-gap",
        "drill-age",
        "repository-space",
        "rpo",
    ] {
        let unknown = desk.pawang(&["check", check, "--json"]);
        let data = unknown.data("pawang.check.run/1").to_string();
        assert!(data.contains("\"level\":\"unknown\""), "{check}: {data}");
        assert!(!data.contains("\"level\":\"ok\""), "{check}: {data}");
    }
}

#[tokio::test]
async fn the_daemon_takes_what_is_due_receives_wal_and_shows_it() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let more =
        "[backup]\nwindow = \"2026-01-01 00:00 for 90000 h\"\nstream = true\nrpo = \"5 min\"\n";
    let place = file(&desk, &cluster, more);
    good(desk.pawang(&["backup", "setup", "--repo", &place, "--no-backup"]));
    let nobody = |screen: &Screen| {
        let (level, what) = told(screen, "WAL").remove(0);
        assert_eq!(level, "warning", "{what}");
        assert!(what.contains("nobody receives WAL"), "{what}");
    };
    nobody(&desk.pawang(&["backup", "check", "--json"]));
    let daemon = Daemon::start(&desk).await;
    until("the first backup was taken", async || {
        assert!(daemon.lives(), "{}", daemon.log());
        let listed = desk.pawang(&["backup", "list"]);
        listed.stdout.contains("\tfull\t")
    })
    .await;
    cluster
        .sql("postgres", "CREATE TABLE written AS SELECT 1 AS id")
        .await;
    until("all that was written is stored", async || {
        let metrics = daemon.ask("GET", "/metrics", "", "").await;
        let stored = metrics.contains("pawang_backups{server=\"dwh-1\",repository=\"main\"} 1");
        // The name of a repository is a label, and a backup has no series of its own.
        assert!(!metrics.contains("pawang_backup_main"), "{metrics}");
        let checked = desk.pawang(&["check", "rpo", "slot-risk", "wal-gap"]);
        stored && checked.code == 0
    })
    .await;
    let page = daemon.ask("GET", "/instances/dwh-1/backups", "", "").await;
    for part in [
        "Repository main",
        "What could be restored",
        "wal",
        "no backup was ever proven",
        "<svg",
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    assert!(
        !page.contains("<b>Proven</b>"),
        "nothing is green that no restore proved"
    );
    let fleet = daemon.ask("GET", "/", "", "").await;
    assert!(fleet.contains("dwh-1"), "{fleet}");
    let checked = desk.pawang(&["backup", "check", "--json"]);
    assert_eq!(told(&checked, "slot \"pawang\"")[0].0, "ok", "{checked:?}");
    let (level, what) = told(&checked, "WAL").remove(0);
    assert_eq!(
        (level.as_str(), what.as_str()),
        ("ok", "WAL is received as it is written")
    );
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await, 0);
    nobody(&desk.pawang(&["backup", "check", "--json"]));
}

#[tokio::test]
async fn a_server_without_a_slot_for_a_backup_is_told() {
    let cluster = Cluster::start(&Setup {
        settings: &[("max_replication_slots", "0")],
        ..Setup::default()
    })
    .await;
    let desk = Desk::new();
    let place = file(&desk, &cluster, "");
    good(desk.pawang(&["backup", "setup", "--repo", &place, "--no-backup"]));
    let checked = desk.pawang(&["backup", "check", "--json"]);
    let (level, what) = told(&checked, "max_replication_slots").remove(0);
    assert_eq!(level, "warning", "{what}");
    assert!(what.contains("none of 0 is free"), "{what}");
}

#[tokio::test]
async fn a_setup_ends_as_its_first_proof_did() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let answers = |sql: &str| {
        let more = format!(
            "[backup]\ndrill_every = \"7 d\"\n[backup.scratch]\nfolder = \"{}\"\nprograms = \"{}\"\n\
             [[backup.probe]]\ndatabase = \"postgres\"\nsql = \"{sql}\"\n\
             [[repository]]\nname = \"away\"\nplace = \"{}\"\n",
            cluster.socket_directory().display(),
            cluster.bin_directory().display(),
            desk.path("repository").display()
        );
        file(&desk, &cluster, &more)
    };
    // Its entry is found by its place, whatever its name is.
    let place = answers("SELECT false");
    let written = desk.read("pawang.toml");
    let setup = ["backup", "setup", "--repo", &place];
    let failed = desk.pawang(&setup);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(
        failed.stderr.contains("error: it is not proven"),
        "{failed:?}"
    );
    assert_eq!(desk.read("pawang.toml"), written);
    answers("SELECT true");
    let proven = good(desk.pawang(&[&setup[..], &["--json"]].concat()));
    assert!(
        !proven.stderr.contains("prove it by a restore"),
        "{proven:?}"
    );
    let data = proven.data("pawang.backup.setup/1");
    assert_eq!(
        (&data["repository"], &data["proven"]),
        (&"away".into(), &true.into())
    );
    // That one is good now, and only that one.
    let checked = desk.pawang(&["backup", "check", "--json"]);
    let newest = told(&checked, "repository \"away\"");
    let newest = newest
        .iter()
        .find(|(_, what)| what.starts_with("newest backup"));
    assert_eq!(newest.unwrap().0, "ok", "{checked:?}");
    good(desk.pawang(&["backup", "create", "--type", "full"]));
    let checked = desk.pawang(&["backup", "check", "--json"]);
    let newest = told(&checked, "repository \"away\"");
    let newest = newest.iter().find(|(_, what)| what.contains("was proven"));
    assert_eq!(newest.unwrap().0, "info", "{checked:?}");
}
