//! Disks that are really full, as a person meets them: archiving, receiving and restoring say so, lose nothing, and go on by
//! themselves when there is room again.
#![expect(
    clippy::disallowed_methods,
    reason = "WAL is moved to another disk by a program"
)]

use std::path::{Path, PathBuf};

use pawang_backup::Repository;
use pawang_backup::repository::RepositorySettings;
use pawang_testbed::{Cluster, Setup, SmallDisk, Stop, may_mount, until, versions};

use crate::backup_world::World;
use crate::program::{Desk, Running, holds_something, instance};
use crate::wal::files;

const PAWANG: &str = env!("CARGO_BIN_EXE_pawang");
const MEGABYTE: u64 = 1 << 20;
const NO_SPACE: &str = "no space is left on the repository's disk";
/// WAL that does not become smaller when it is compressed.
const WRITE: &str =
    "INSERT INTO t SELECT sha512(random()::text::bytea) FROM generate_series(1, 8000)";
const CONFIRMED: &str = "SELECT coalesce(bool_or(flush_lsn >= pg_current_wal_flush_lsn()), false)::text FROM pg_stat_replication";

async fn text(cluster: &Cluster, sql: &str) -> String {
    cluster.sql("postgres", sql).await[0][0].clone().unwrap()
}

async fn set_up(folder: &Path) {
    let settings = RepositorySettings::default();
    let now = "2026-11-22T08:00:00Z".parse().unwrap();
    let place = folder.to_str().unwrap();
    Repository::setup(place, &settings, now, [7; 10])
        .await
        .unwrap();
}

#[tokio::test]
async fn a_full_repository_stops_archiving_and_loses_nothing() {
    if !may_mount("full_disk::a_full_repository_stops_archiving_and_loses_nothing") {
        return;
    }
    let server = Cluster::start(&Setup {
        settings: &[("archive_mode", "on"), ("archive_command", "false")],
        ..Setup::default()
    })
    .await;
    let archive = server.folder("archive");
    let disk = SmallDisk::mount(&archive, 32);
    set_up(&archive).await;
    let place = archive.display().to_string();
    let command = format!("{PAWANG} wal push %p --repository {place}");
    server.set("archive_command", Some(&command)).await;
    server.sql("postgres", "CREATE TABLE t (noise bytea)").await;
    let archived = async || {
        server.sql("postgres", WRITE).await;
        let name = text(&server, "SELECT pg_walfile_name(pg_switch_wal())").await;
        until("the segment is archived", async || {
            let last = "SELECT coalesce(max(last_archived_wal), '') FROM pg_stat_archiver";
            text(&server, last).await >= name
        })
        .await;
    };
    archived().await;
    disk.fill(0);
    let before = text(&server, "SELECT failed_count FROM pg_stat_archiver").await;
    server.sql("postgres", WRITE).await;
    let name = text(&server, "SELECT pg_walfile_name(pg_switch_wal())").await;
    until("the server is told", async || {
        text(&server, "SELECT failed_count FROM pg_stat_archiver").await != before
    })
    .await;
    let log = std::fs::read_to_string(server.log_file()).unwrap();
    assert!(
        log.contains(NO_SPACE) && log.contains("hint: pawang backup expire --dry-run"),
        "{log}"
    );
    // A person who tries it hears the same, with the code for a target that refuses.
    let segment = server.data_directory().join("pg_wal").join(&name);
    let segment = segment.display().to_string();
    let data = server.data_directory().display().to_string();
    let desk = Desk::new();
    let push = [
        "wal",
        "push",
        &segment,
        "--data-directory",
        &data,
        "--repository",
        &place,
        "--ahead",
        "0",
    ];
    desk.pawang(&push).is_clear_error(3, &[NO_SPACE, &name]);
    let status = ["wal", "status", "--json", "--repository", &place];
    let shown = desk.pawang(&status);
    assert_eq!(shown.code, 0, "what is there is whole: {shown:?}");
    // The server works on, and whatever it wrote meanwhile comes in when there is room.
    disk.clear();
    archived().await;
    let shown = desk.pawang(&status);
    let data = shown.data("pawang.wal.status/1")[0].clone();
    assert_eq!(
        (shown.code, &data["holes"]),
        (0, &serde_json::json!([])),
        "{data}"
    );
    assert!(
        data["timelines"][0]["segments"].as_u64().unwrap() >= 3,
        "{data}"
    );
}

/// What was started has its files closed to nobody, so that it can be read meanwhile.
async fn said(desk: &Desk, words: &str) {
    until(words, async || desk.read("talk").contains(words)).await;
}

async fn ended(mut run: Running) -> i32 {
    run.signal("INT");
    tokio::task::spawn_blocking(move || run.screen().code)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_full_spool_stops_receiving_until_there_is_room() {
    if !may_mount("full_disk::a_full_spool_stops_receiving_until_there_is_room") {
        return;
    }
    let server = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let (place, spool) = (desk.path("repository"), desk.path("spool"));
    set_up(&place).await;
    std::fs::create_dir(&spool).unwrap();
    let disk = SmallDisk::mount(&spool, 32);
    desk.write("pawang.toml", &instance("one", &server.url("postgres")));
    let place = place.display().to_string();
    let words = [
        "wal",
        "stream",
        "-i",
        "one",
        "--repository",
        &place,
        "--spool",
        "spool",
    ];
    let run = desk.start_into(&words, "out", "talk");
    let confirmed = async || {
        until("all is confirmed", async || {
            text(&server, CONFIRMED).await == "true"
        })
        .await;
    };
    said(&desk, "streaming from").await;
    server.sql("postgres", "CREATE TABLE t (noise bytea)").await;
    server.sql("postgres", WRITE).await;
    confirmed().await;
    // A whole segment goes from the spool when it is stored, which would make room again.
    until("only the growing segment is in the spool", async || {
        let whole = |path: &PathBuf| path.file_name().unwrap().len() == 24;
        !files(&spool).iter().any(whole)
    })
    .await;
    disk.fill(0);
    server.sql("postgres", WRITE).await;
    server.sql("postgres", WRITE).await;
    said(&desk, "trying again in").await;
    let talk = desk.read("talk");
    for word in ["could not ", "No space left on device", "hint: df -h "] {
        assert!(talk.contains(word), "{word}: {talk}");
    }
    let kept =
        "SELECT bool_and(wal_status IN ('reserved', 'extended'))::text FROM pg_replication_slots";
    assert_eq!(
        text(&server, kept).await,
        "true",
        "the server keeps what is not confirmed"
    );
    disk.clear();
    confirmed().await;
    assert_eq!(ended(run).await, 0, "{}", desk.read("talk"));
    assert!(
        !desk.read("talk").contains("ALARM"),
        "{}",
        desk.read("talk")
    );
    let shown = desk.pawang(&["wal", "status", "--json", "--repository", &place]);
    let data = shown.data("pawang.wal.status/1")[0].clone();
    assert_eq!(
        (shown.code, &data["holes"]),
        (0, &serde_json::json!([])),
        "{data}"
    );
}

#[tokio::test]
async fn a_restore_finds_the_disk_full() {
    if !may_mount("full_disk::a_restore_finds_the_disk_full") {
        return;
    }
    let world = World::new(versions()[0]).await;
    let cold = world.cluster.folder("cold");
    let space = format!("CREATE TABLESPACE cold LOCATION '{}'", cold.display());
    let large =
        "CREATE TABLE large AS SELECT repeat('x', 1900) AS pad FROM generate_series(1, 40000)";
    let of_it = "CREATE TABLE frozen TABLESPACE cold AS SELECT repeat('x', 1900) AS pad FROM generate_series(1, 8000)";
    world.many("postgres", &[&space, large, of_it]).await;
    let commit = world.backup().await;
    let folders = ["data", "cold-disk"].map(|name| world.cluster.folder(name));
    let [disk, cold_disk] = [(&folders[0], 256), (&folders[1], 32)]
        .map(|(folder, megabytes)| SmallDisk::mount(folder, megabytes));
    let [into, moved] = folders.each_ref().map(|folder| folder.join("new"));
    let repository = world.folder.display().to_string();
    let directory = into.display().to_string();
    let map = format!("{}={}", commit.tablespaces[0].oid, moved.display());
    let words = [
        "restore",
        "--repository",
        &repository,
        "--into",
        &directory,
        "--tablespace",
        &map,
    ];
    let desk = Desk::new();
    let restore = async || {
        let running = desk.start(&words);
        tokio::task::spawn_blocking(move || running.screen())
            .await
            .unwrap()
    };
    // Refused before anything is touched: on the disk of the data directory, and on that of a tablespace.
    for full in [&disk, &cold_disk] {
        full.fill(8 * MEGABYTE);
        restore()
            .await
            .is_clear_error(4, &["has room for", "hint: choose another disk"]);
        assert!(!into.exists() && !moved.exists());
        full.clear();
    }
    // Somebody takes the room while it works.
    let mut running = desk.start(&words);
    until("it has begun", async || {
        into.join(pawang_backup::restore::MARKER).exists()
    })
    .await;
    running.signal("STOP");
    disk.fill(0);
    running.signal("CONT");
    let screen = tokio::task::spawn_blocking(move || running.screen())
        .await
        .unwrap();
    screen.is_clear_error(
        3,
        &["could not ", "No space left on device", "hint: df -h "],
    );
    assert!(
        !into.join("global/pg_control").exists(),
        "half of it cannot be started"
    );
    disk.clear();
    let screen = restore().await;
    assert_eq!(screen.code, 0, "{screen:?}");
    assert!(holds_something(&into.join("global/pg_control")));
    assert!(!into.join(pawang_backup::restore::MARKER).exists());
}

const STREAM: [&str; 6] = ["wal", "stream", "-i", "one", "--spool", "spool"];

/// Receives until all is confirmed, without a hole.
async fn received(desk: &Desk, server: &Cluster) {
    let run = desk.start_into(&STREAM, "out", "talk");
    said(desk, "streaming from").await;
    until("all is confirmed", async || {
        text(server, CONFIRMED).await == "true"
    })
    .await;
    assert_eq!(ended(run).await, 0, "{}", desk.read("talk"));
    let talk = desk.read("talk");
    assert!(!talk.contains("ALARM"), "{talk}");
}

#[tokio::test]
async fn a_slot_that_fills_the_disk_of_its_server_is_told_before_and_nothing_is_lost() {
    if !may_mount(
        "full_disk::a_slot_that_fills_the_disk_of_its_server_is_told_before_and_nothing_is_lost",
    ) {
        return;
    }
    let mut server = Cluster::start(&Setup::default()).await;
    server.stop(Stop::Fast).await;
    let disk = wal_on_a_small_disk(&server, 64);
    server.start_again().await;
    let desk = Desk::new();
    let place = desk.path("repository");
    set_up(&place).await;
    let place = place.display().to_string();
    let file = format!(
        "[[repository]]\nname = \"main\"\nplace = \"{place}\"\n\n[backup]\nstream = true\n\n{}",
        instance("one", &server.url("postgres"))
    );
    desk.write("pawang.toml", &file);
    server.sql("postgres", "CREATE TABLE t (noise bytea)").await;
    received(&desk, &server).await;
    let risk = ["check", "slot-risk"];
    let calm = desk.pawang(&risk);
    assert_eq!(calm.code, 0, "{calm:?}");
    // Nobody receives: the server keeps it all, and the disk is half full of that.
    let write = "INSERT INTO t VALUES ('row'); SELECT pg_logical_emit_message(true, 'noise', repeat('x', 2000000))";
    let mut written = 0_u64;
    while disk.free() > 24 * MEGABYTE {
        server.sql("postgres", write).await;
        written += 1;
    }
    let told = desk.pawang(&risk);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.stdout.contains("slot \"pawang\" keeps"), "{told:?}");
    // The disk is full, and the server ends.
    disk.fill(0);
    let client = server.connect("postgres").await;
    while client.batch_execute(write).await.is_ok() {
        written += 1;
    }
    server.kill();
    desk.pawang(&[&STREAM[..], &["--once"]].concat())
        .is_clear_error(3, &["hint: "]);
    // There is room again: it starts, and whatever was acknowledged is there, and goes on its way.
    disk.clear();
    server.start_again().await;
    let rows: u64 = text(&server, "SELECT count(*) FROM t")
        .await
        .parse()
        .unwrap();
    assert!(rows >= written, "{rows} rows of {written}");
    // Its WAL lies elsewhere, which no backup minds; what lies before theirs the receiver still brings.
    for mode in ["local", "protocol"] {
        let taken = desk.pawang(&["backup", "create", "-i", "one", "--mode", mode]);
        assert_eq!(taken.code, 0, "{taken:?}");
    }
    received(&desk, &server).await;
    server.sql("postgres", "CHECKPOINT").await;
    let calm = desk.pawang(&risk);
    assert_eq!(calm.code, 0, "{calm:?}");
    let shown = desk.pawang(&["wal", "status", "--json", "--repository", &place]);
    let data = shown.data("pawang.wal.status/1")[0].clone();
    assert_eq!(
        (shown.code, &data["holes"]),
        (0, &serde_json::json!([])),
        "{data}"
    );
}

/// Moves the WAL of a server that is stopped to a disk of its own.
fn wal_on_a_small_disk(server: &Cluster, megabytes: u32) -> SmallDisk {
    let (wal, folder) = (
        server.data_directory().join("pg_wal"),
        server.folder("wal-disk"),
    );
    let disk = SmallDisk::mount(&folder, megabytes);
    let moved = std::process::Command::new("cp")
        .args(["-a", "--"])
        .args([&wal, &folder.join("pg_wal")])
        .status();
    assert!(moved.unwrap().success());
    std::fs::remove_dir_all(&wal).unwrap();
    std::os::unix::fs::symlink(folder.join("pg_wal"), &wal).unwrap();
    disk
}
