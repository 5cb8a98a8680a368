//! What a backup, a receiver and a restore cannot work with: a clear error, the right code, and nothing is harmed.

use std::path::Path;

use pawang_backup::Repository;
use pawang_backup::repository::RepositorySettings;
use pawang_testbed::{Cluster, Setup, Stop, until, versions};
use rustix::process::{Pid, Signal, kill_process};

use crate::program::{Desk, Screen, instance};
use crate::wal::files;

const PROTOCOL: [&str; 6] = ["backup", "create", "-i", "dwh-1", "--mode", "protocol"];

/// A desk with a repository, and a server in its configuration.
async fn desk(cluster: &Cluster) -> Desk {
    let desk = Desk::new();
    let place = desk.path("repository").display().to_string();
    let settings = RepositorySettings::default();
    let at = "2026-11-22T08:00:00Z".parse().unwrap();
    Repository::setup(&place, &settings, at, [7; 10])
        .await
        .unwrap();
    serve(&desk, &cluster.url("postgres"));
    desk
}

/// Writes a configuration with another server under the same name.
fn serve(desk: &Desk, url: &str) {
    let place = desk.path("repository").display().to_string();
    let repository = format!("[[repository]]\nname = \"main\"\nplace = \"{place}\"\n\n");
    desk.write("pawang.toml", &(repository + &instance("dwh-1", url)));
}

fn create(desk: &Desk, more: &[&str]) -> Screen {
    desk.pawang(&[&["backup", "create", "-i", "dwh-1"], more].concat())
}

fn stream(desk: &Desk) -> Screen {
    desk.pawang(&["wal", "stream", "-i", "dwh-1", "--spool", "spool", "--once"])
}

/// A checkpointer that stands still: until this is dropped a backup waits for it, however late somebody looks.
struct Still(Pid);

impl Still {
    async fn of(cluster: &Cluster) -> Still {
        let mut found = None;
        until("the checkpointer runs", async || {
            let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
            let rows = cluster.sql("postgres", sql).await;
            let pid = rows.first().and_then(|row| row[0].as_ref()?.parse().ok());
            found = pid.and_then(Pid::from_raw);
            found.is_some()
        })
        .await;
        let pid = found.unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        Still(pid)
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        let _ended = kill_process(self.0, Signal::CONT);
    }
}

/// Waits until a backup waits for a checkpoint.
async fn begun(cluster: &Cluster) {
    until("a backup has begun", async || {
        let sql = "SELECT FROM pg_stat_progress_basebackup WHERE phase = 'waiting for checkpoint to finish'";
        !cluster.sql("postgres", sql).await.is_empty()
    })
    .await;
}

/// Returns the names of all files of a repository, with their content.
fn content(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let read = |path: std::path::PathBuf| (path.clone(), std::fs::read(&path).unwrap());
    files(folder).into_iter().map(read).collect()
}

#[tokio::test]
async fn a_server_that_does_not_let_a_backup_in() {
    let minimal = Cluster::start(&Setup {
        settings: &[("wal_level", "minimal"), ("max_wal_senders", "0")],
        ..Setup::default()
    })
    .await;
    let desk = desk(&minimal).await;
    let before = content(&desk.path("repository"));
    let hint = "hint: ALTER SYSTEM SET wal_level = 'replica'";
    create(&desk, &[]).is_clear_error(4, &["\"wal_level\" is \"minimal\"", hint]);
    for screen in [stream(&desk), create(&desk, &["--mode", "protocol"])] {
        screen.is_clear_error(3, &["has no WAL senders", "wal_level = minimal", hint]);
    }
    let mut narrow = Cluster::start(&Setup {
        settings: &[("max_replication_slots", "1")],
        ..Setup::default()
    })
    .await;
    // A role that may do everything but this.
    narrow.sql("postgres", "CREATE ROLE plain LOGIN").await;
    serve(&desk, &narrow.url_as("plain", "postgres"));
    for screen in [create(&desk, &[]), stream(&desk)] {
        screen.is_clear_error(3, &["hint: ALTER ROLE \"plain\" REPLICATION;"]);
    }
    // Somebody has the only slot, whom nobody throws out; a backup needs none.
    serve(&desk, &narrow.url("postgres"));
    let taken = "SELECT pg_create_physical_replication_slot('theirs', true)";
    narrow.sql("postgres", taken).await;
    stream(&desk).is_clear_error(3, &["slot", "max_replication_slots"]);
    let slots = "SELECT string_agg(slot_name, ',') FROM pg_replication_slots";
    assert_eq!(
        narrow.sql("postgres", slots).await[0][0].as_deref(),
        Some("theirs")
    );
    assert_eq!(
        content(&desk.path("repository")),
        before,
        "nothing was written"
    );
    // A sender that was refused keeps its place until its process has ended: the restart waits.
    narrow.set("max_wal_senders", Some("1")).await;
    narrow.stop(Stop::Fast).await;
    narrow.start_again().await;
    // The only sender is that of another backup.
    let _still = Still::of(&narrow).await;
    let mut first = desk.start(&PROTOCOL);
    begun(&narrow).await;
    // It will be free again, so nothing else is chosen unasked.
    for mode in ["protocol", "auto"] {
        let refused = create(&desk, &["--mode", mode]);
        refused.is_clear_error(3, &["no free WAL sender", "max_wal_senders", "hint: "]);
    }
    first.signal("INT");
    assert_eq!(first.screen().code, 130);
}

#[tokio::test]
async fn a_backup_that_is_being_taken_is_not_disturbed() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = desk(&cluster).await;
    let still = Still::of(&cluster).await;
    let first = desk.start(&PROTOCOL);
    begun(&cluster).await;
    create(&desk, &[]).is_clear_error(
        4,
        &["a backup of \"dwh-1\" is being taken already", "process "],
    );
    drop(still);
    let first = tokio::task::spawn_blocking(move || first.screen())
        .await
        .unwrap();
    assert_eq!(first.code, 0, "{first:?}");
    assert_eq!(create(&desk, &[]).code, 0);
}

#[tokio::test]
async fn another_cluster_under_the_same_name() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = desk(&cluster).await;
    assert_eq!(create(&desk, &[]).code, 0);
    let before = content(&desk.path("repository"));
    // Of the same major version, by another initdb; then of another version.
    let again = Setup {
        wal_segment_mb: Some(2),
        ..Setup::default()
    };
    let newer = Setup {
        version: versions().last().copied(),
        ..Setup::default()
    };
    for setup in [again, newer] {
        let mut other = Cluster::start(&setup).await;
        serve(&desk, &other.url("postgres"));
        let told = ["\"dwh-1\" is not the server that it was", "--new-identity"];
        create(&desk, &[]).is_clear_error(4, &told);
        // Nor is its data directory taken for that of the backup.
        other.stop(Stop::Fast).await;
        let into = other.data_directory().display().to_string();
        let place = desk.path("repository").display().to_string();
        let restore = [
            "restore",
            "--repository",
            &place,
            "--into",
            &into,
            "--replace",
        ];
        desk.pawang(&restore).is_clear_error(4, &["is of cluster"]);
        other.start_again().await;
    }
    assert_eq!(
        content(&desk.path("repository")),
        before,
        "nothing was written"
    );
}

#[tokio::test]
async fn a_repository_that_is_newer_or_away() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = desk(&cluster).await;
    assert_eq!(create(&desk, &[]).code, 0);
    let place = desk.path("repository").display().to_string();
    let marker = desk.path("repository/pawang-repository.json");
    let written = std::fs::read_to_string(&marker).unwrap();
    std::fs::write(&marker, written.replace("\"format\": 1", "\"format\": 2")).unwrap();
    let before = content(&desk.path("repository"));
    let into = desk.path("restored").display().to_string();
    let restore = ["restore", "--repository", &place, "--into", &into];
    for screen in [
        create(&desk, &[]),
        stream(&desk),
        desk.pawang(&restore),
        desk.pawang(&["backup", "verify", "latest", "-i", "dwh-1"]),
        desk.pawang(&["backup", "expire", "-i", "dwh-1"]),
        desk.pawang(&["backup", "setup", "-i", "dwh-1", "--repo", &place]),
    ] {
        screen.is_clear_error(3, &["its format is 2, and this program reads 1"]);
    }
    assert_eq!(
        content(&desk.path("repository")),
        before,
        "nothing was written"
    );
    assert!(!desk.path("restored").exists());
    // One that is not mounted is not made anew.
    std::fs::rename(desk.path("repository"), desk.path("away")).unwrap();
    for screen in [create(&desk, &[]), stream(&desk), desk.pawang(&restore)] {
        screen.is_clear_error(3, &["repository", "hint: pawang backup setup"]);
    }
    assert!(!desk.path("repository").exists());
}

#[tokio::test]
async fn another_cluster_that_the_repository_knows_by_another_name() {
    let first = Cluster::start(&Setup::default()).await;
    let second = Cluster::start(&Setup {
        wal_segment_mb: Some(2),
        ..Setup::default()
    })
    .await;
    let desk = desk(&first).await;
    let both = |one: &str, other: &str| {
        let place = desk.path("repository").display().to_string();
        let repository = format!("[[repository]]\nname = \"main\"\nplace = \"{place}\"\n\n");
        let instances = instance("dwh-1", one) + &instance("dwh-2", other);
        desk.write("pawang.toml", &(repository + &instances));
    };
    let (one, other) = (first.url("postgres"), second.url("postgres"));
    both(&one, &other);
    let all = desk.pawang(&["backup", "create"]);
    assert_eq!(all.code, 0, "{all:?}");
    let listed = desk.pawang(&["backup", "list", "-i", "dwh-1"]).stdout;
    let before = content(&desk.path("repository"));
    // The address of the first leads to the second, which is no stranger here.
    both(&other, &other);
    let told = ["\"dwh-1\" is not the server that it was", "--new-identity"];
    create(&desk, &[]).is_clear_error(4, &told);
    create(&desk, &["--type", "full"]).is_clear_error(4, &told);
    assert_eq!(
        content(&desk.path("repository")),
        before,
        "nothing was written"
    );
    let again = desk.pawang(&["backup", "list", "-i", "dwh-1"]);
    assert_eq!(again.stdout, listed);
    // Whoever means it says so, and then it is that server: the way back has to be said as well.
    let meant = create(&desk, &["--new-identity"]);
    assert_eq!(meant.code, 0, "{meant:?}");
    assert_eq!(create(&desk, &[]).code, 0);
    both(&one, &other);
    create(&desk, &[]).is_clear_error(4, &told);
    assert_eq!(create(&desk, &["--new-identity"]).code, 0);
}

#[tokio::test]
async fn a_repository_that_holds_as_much_as_it_may() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = desk(&cluster).await;
    assert_eq!(create(&desk, &[]).code, 0);
    let file = desk.read("pawang.toml");
    let limited = |space: &str| {
        let place = "name = \"main\"\n";
        let limit = format!("{place}space = \"{space}\"\n");
        desk.write("pawang.toml", &file.replacen(place, &limit, 1));
    };
    limited("1 MB");
    let before = content(&desk.path("repository"));
    let told = ["holds as much as it may", "1.0 MB", "its key \"space\""];
    for more in [&[][..], &["--type", "full"], &["--repo", "main"]] {
        create(&desk, more).is_clear_error(4, &told);
    }
    assert_eq!(
        content(&desk.path("repository")),
        before,
        "nothing was written"
    );
    limited("10 GB");
    assert_eq!(create(&desk, &[]).code, 0);
}

#[tokio::test]
async fn an_instance_that_is_left_alone_is_in_nobodys_way() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = desk(&cluster).await;
    let url = cluster.url("postgres");
    let alone = instance("a-test", &url) + "backup_policy = { repositories = [] }\n";
    let file = desk.read("pawang.toml") + &alone;
    desk.write("pawang.toml", &file);
    for words in [
        &["backup", "create"][..],
        &["backup", "list"],
        &["backup", "expire"],
        &["dump", "list"],
        &["wal", "status"],
    ] {
        let screen = desk.pawang(words);
        assert_eq!(screen.code, 0, "{words:?}: {screen:?}");
        assert!(!screen.stderr.contains("a-test"), "{words:?}: {screen:?}");
    }
    let checked = desk.pawang(&["backup", "check"]);
    assert!(!checked.stdout.contains("critical"), "{checked:?}");
    // Whoever asks for it by its name hears it.
    for words in [["backup", "create"], ["backup", "list"], ["dump", "list"]] {
        let named = desk.pawang(&[&words[..], &["-i", "a-test"]].concat());
        named.is_clear_error(2, &["no repository holds backups of \"a-test\""]);
    }
    let named = desk.pawang(&["backup", "check", "-i", "a-test"]);
    assert!(named.stdout.contains("leaves it alone"), "{named:?}");
    // Where there is no repository at all, a list without lines is no answer.
    let (_, instances) = file.split_once("\n\n").unwrap();
    desk.write("pawang.toml", instances);
    let none = desk.pawang(&["backup", "list"]);
    none.is_clear_error(2, &["no repository holds backups", "pawang backup setup"]);
}

#[tokio::test]
async fn wal_is_that_of_the_instance_that_is_named() {
    let first = Cluster::start(&Setup::default()).await;
    let second = Cluster::start(&Setup {
        wal_segment_mb: Some(2),
        ..Setup::default()
    })
    .await;
    let desk = desk(&first).await;
    let more = instance("dwh-2", &second.url("postgres"));
    desk.write("pawang.toml", &(desk.read("pawang.toml") + &more));
    let taken = desk.pawang(&["backup", "create", "--json"]);
    let taken = taken.data("pawang.backup.create/1");
    for (place, name) in ["dwh-1", "dwh-2"].into_iter().enumerate() {
        assert_eq!(taken[place]["instance"], name);
        let cluster = taken[place]["cluster"].clone();
        let status = desk.pawang(&["wal", "status", "-i", name, "--json"]);
        assert_eq!(status.data("pawang.wal.status/1")[0]["cluster"], cluster);
        let gaps = desk.pawang(&["wal", "gaps", "-i", name, "--json"]);
        assert_eq!(
            gaps.data("pawang.wal.gaps/1")[0]["holes"][0],
            serde_json::Value::Null
        );
    }
    let which = desk.pawang(&["wal", "status"]);
    which.is_clear_error(
        2,
        &["has several clusters", "add -i INSTANCE, or --cluster"],
    );
}
