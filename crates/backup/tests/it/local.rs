//! Backups of files that are read on the server's own machine, full ones and increments of every version.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use pawang_backup::Commit;
use pawang_backup::repository::{BackupKind, Mode};
use pawang_backup::take::{Progress, Reading, TakeRequest, Wanted, take};
use pawang_core::{ByteSize, Kind};
use pawang_testbed::{Client, Stop, Version, installations, until, versions};

use crate::chain::{CHANGES, LATER_CHANGES, TABLES, relations};
use crate::take::{
    Bed, READER, TPC_B, corrupt_page, grant_reading, halted, killed, request_to, standby,
    tablespaces, take_as, target, under_load, verify_by_stock_tool,
};
use crate::world::World;

/// The versions whose servers make no increments by themselves, and that every change is tested on.
const WITHOUT_INCREMENTS: [Version; 2] = [Version(15), Version(16)];

#[tokio::test]
async fn files_that_change_while_they_are_read_become_whole() {
    under_load(&versions(), Reading::Local).await;
}

#[tokio::test]
async fn a_damaged_page_of_a_file_is_named() {
    corrupt_page(&versions(), Reading::Local).await;
}

#[tokio::test]
async fn files_of_tablespaces_and_hostile_names_come_whole() {
    tablespaces(&versions(), Reading::Local).await;
}

#[tokio::test]
async fn files_of_a_standby_are_as_good_until_it_is_promoted() {
    standby(&versions(), Reading::Local).await;
}

#[tokio::test]
async fn a_killed_reader_of_files_does_not_stand_in_the_way() {
    killed(Reading::Local).await;
}

#[tokio::test]
async fn without_its_session_there_is_no_backup() {
    let bed = Bed::read_by(versions()[0], Reading::Local).await;
    bed.cluster.sql("postgres", TPC_B).await;
    let mut slow = bed.request();
    slow.rate_max = Some(ByteSize(16 << 20));
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pawang:backup'
        AND backend_type = 'client backend'";
    let taken = halted(slow, async |_| {
        bed.cluster.sql("postgres", kill).await;
    })
    .await;
    let report = taken.unwrap_err().report();
    assert_eq!(report.kind, Kind::Target, "{report}");
    let cluster = bed.repository.clusters().await.unwrap()[0];
    assert_eq!(bed.repository.backups(&cluster).await.unwrap(), []);
    let commit = bed.take().await;
    assert_eq!(commit.mode, Mode::Local);
}

/// Makes relations, fills, cuts and drops them until it is told to stop.
pub(crate) async fn come_and_go(client: Client, stop: &AtomicBool) -> u64 {
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        let round = [
            "CREATE TABLE coming AS SELECT g, repeat('x', 200) FROM generate_series(1, 3000) AS g",
            "CREATE INDEX ON coming (g)",
            "DELETE FROM coming WHERE g > 100",
            "VACUUM coming",
            "TRUNCATE staying",
            "INSERT INTO staying SELECT g FROM generate_series(1, 20000) AS g",
            "DROP TABLE coming",
            "CHECKPOINT",
        ];
        for sql in round {
            client.batch_execute(sql).await.unwrap();
        }
        rounds += 1;
    }
    rounds
}

#[tokio::test]
async fn relations_that_come_and_go_do_no_harm() {
    coming_and_going(&versions(), Reading::Local).await;
}

pub(crate) async fn coming_and_going(versions: &[Version], reading: Reading) {
    for version in versions.iter().copied() {
        let bed = Bed::read_by(version, reading).await;
        // Its checkpoints leave no time to fetch WAL, where no slot keeps it.
        bed.cluster.set("wal_keep_size", Some("1GB")).await;
        bed.cluster.sql("postgres", TPC_B).await;
        bed.cluster
            .sql("postgres", "CREATE TABLE staying (g int)")
            .await;
        let stop = AtomicBool::new(false);
        let mut slow = bed.request();
        slow.rate_max = Some(ByteSize(24 << 20));
        let backup = async {
            let commit = take(slow, &mut |_| {}).await;
            stop.store(true, Ordering::Relaxed);
            commit.unwrap()
        };
        let writer = come_and_go(bed.cluster.connect("postgres").await, &stop);
        let (commit, rounds) = tokio::join!(backup, writer);
        assert!(rounds > 1, "{rounds}");
        assert_eq!(commit.pages.wrong, 0, "{:?}", commit.pages);
        let into = tempfile::tempdir().unwrap();
        let data = bed.unpack(&commit, into.path()).await;
        verify_by_stock_tool(&bed.cluster, &data);
        let restored = bed.cluster.start_from(&data, &[]).await;
        let sql =
            "SELECT (SELECT count(*) FROM accounts), (SELECT count(*) FROM staying) IN (0, 20000)";
        let found = restored.sql("postgres", sql).await;
        assert_eq!(found[0][0].as_deref(), Some("20000"));
        assert_eq!(found[0][1].as_deref(), Some("t"));
    }
}

/// Has a backup of a world's server taken from its files.
fn of_files(world: &World, wanted: Wanted, reading: Reading) -> TakeRequest {
    let url = match reading {
        Reading::Lanes => world.cluster.url_as(READER, "postgres"),
        _ => world.cluster.url("postgres"),
    };
    TakeRequest {
        wanted,
        reading,
        ..request_to(&url, &world.repository)
    }
}

pub(crate) fn without_increments() -> Vec<Version> {
    let installed = installations().iter().map(|found| found.version);
    installed
        .filter(|version| WITHOUT_INCREMENTS.contains(version))
        .collect()
}

/// Stops the server, and compares its files with those that are restored.
async fn same_when_stopped(mut world: World, commit: &Commit) {
    let version = world.cluster.version();
    let unlogged = world.text("SELECT pg_relation_filepath('gone')").await;
    world.cluster.stop(Stop::Fast).await;
    let chain = world.restored(commit, "chain").await;
    let (mut chain_files, server) = (relations(&chain), relations(world.cluster.data_directory()));
    let only_server = server
        .keys()
        .filter(|name| !chain_files.contains_key(*name));
    // The server makes these anew.
    let missed: Vec<&String> = only_server
        .filter(|name| !name.contains("pg_internal.init") && !name.starts_with(&unlogged))
        .collect();
    assert_eq!(missed, Vec::<&String>::new(), "{version}");
    assert!(chain_files.contains_key(&format!("{unlogged}_init")));
    chain_files.retain(|name, content| server.get(name) != Some(content));
    let different: Vec<&String> = chain_files.keys().collect();
    assert_eq!(different, Vec::<&String>::new(), "{version}");
    let label = std::fs::read_to_string(chain.join("backup_label")).unwrap();
    assert!(
        !label.contains("INCREMENTAL") && label.contains("START WAL"),
        "{label}"
    );
}

#[tokio::test]
async fn increments_of_pages_are_the_stopped_server_byte_for_byte() {
    increments(Reading::Local, Mode::Local).await;
}

pub(crate) async fn increments(reading: Reading, mode: Mode) {
    for version in without_increments() {
        let world = World::with(version, &[("autovacuum", "off")]).await;
        grant_reading(&world.cluster).await;
        let space = world.cluster.folder("space");
        let space = format!("CREATE TABLESPACE cold LOCATION '{}'", space.display());
        world.many("postgres", &[&space]).await;
        world.many("postgres", &TABLES).await;
        let copied = [
            "CREATE DATABASE copied OID 77777",
            "CREATE TABLE hint AS SELECT number FROM generate_series(1, 50000) AS number",
            "CREATE UNLOGGED TABLE gone AS SELECT 1 AS one",
        ];
        world.many("postgres", &copied).await;
        let old = "CREATE TABLE old AS SELECT generate_series(1, 5000) AS number";
        world.many("copied", &[old, "VACUUM old"]).await;
        // Over SQL, a database of this second is not told from one that is made in its place within it.
        until("the new database is of a second that is over", async || {
            let over = "SELECT (pg_stat_file('base/77777/PG_VERSION')).change < date_trunc('second', clock_timestamp())";
            let rows = world.cluster.sql("postgres", over).await;
            rows[0][0].as_deref() == Some("t")
        })
        .await;
        let full = take(of_files(&world, Wanted::Full, reading), &mut |_| {})
            .await
            .unwrap();
        assert!(full.relation_files.is_some());
        world.many("postgres", &CHANGES).await;
        let first = take(of_files(&world, Wanted::Incremental, reading), &mut |_| {})
            .await
            .unwrap();
        assert_eq!(first.parent.as_ref(), Some(&full.backup));
        // The same number again, with pages that were copied: their positions are older than the backups.
        let again = [
            "DROP DATABASE copied",
            "CREATE DATABASE copied OID 77777 TEMPLATE template0 STRATEGY file_copy",
            "SELECT count(*) FROM hint",
        ];
        world.many("postgres", &again).await;
        world.many("postgres", &LATER_CHANGES).await;
        let there = "CREATE TABLE there AS SELECT generate_series(1, 3000) AS number";
        world.many("second", &[there]).await;
        for database in ["second", "copied", "postgres", "template1"] {
            world
                .many(database, &["VACUUM (FREEZE)", "CHECKPOINT"])
                .await;
        }
        let second = take(of_files(&world, Wanted::Auto, reading), &mut |_| {})
            .await
            .unwrap();
        assert_eq!(second.parent.as_ref(), Some(&first.backup));
        assert_eq!((second.mode, second.kind), (mode, BackupKind::Incremental));
        assert_eq!((first.pages.wrong, second.pages.wrong), (0, 0));
        let bytes = |parts: &[pawang_backup::repository::Part]| {
            parts.iter().map(|part| part.raw_bytes).sum::<u64>()
        };
        assert!(
            bytes(&first.parts) < bytes(&full.parts) / 2,
            "it is an increment"
        );
        // All pages are looked at, those that stay away too.
        assert!(
            first.pages.checked > full.pages.checked / 2,
            "{:?}",
            first.pages
        );
        same_when_stopped(world, &second).await;
    }
}

#[tokio::test]
async fn what_cannot_be_trusted_becomes_a_full_backup() {
    for version in without_increments().into_iter().take(1) {
        let mut bed = Bed::read_by(version, Reading::Protocol).await;
        bed.cluster.sql("postgres", TPC_B).await;
        bed.take().await;
        bed.reading = Reading::Local;
        let (refused, _) = take_as(&bed, Wanted::Incremental).await;
        let report = refused.unwrap_err();
        assert!(
            report.to_string().contains("was not read from files"),
            "{report}"
        );
        let (full, notes) = take_as(&bed, Wanted::Auto).await;
        assert_eq!(full.unwrap().kind, BackupKind::Full);
        assert!(notes[0].contains("was not read from files"), "{notes:?}");
        let (increment, _) = take_as(&bed, Wanted::Auto).await;
        assert_eq!(increment.unwrap().kind, BackupKind::Incremental);
        bed.cluster.stop(Stop::Fast).await;
        without_checksums(&bed, version);
        bed.cluster.start_again().await;
        let (full, notes) = take_as(&bed, Wanted::Auto).await;
        assert_eq!(full.unwrap().kind, BackupKind::Full);
        assert!(
            notes.concat().contains("checksums were switched"),
            "{notes:?}"
        );
        let (refused, _) = take_as(&bed, Wanted::Incremental).await;
        let report = refused.unwrap_err();
        assert!(report.to_string().contains("wal_log_hints"), "{report}");
        bed.cluster
            .sql("postgres", "ALTER SYSTEM SET wal_log_hints = on")
            .await;
        bed.cluster.stop(Stop::Fast).await;
        bed.cluster.start_again().await;
        let (refused, _) = take_as(&bed, Wanted::Incremental).await;
        assert!(refused.unwrap_err().to_string().contains("wal_log_hints"));
        let (full, _) = take_as(&bed, Wanted::Full).await;
        let (increment, notes) = take_as(&bed, Wanted::Incremental).await;
        assert_eq!(
            increment.unwrap().parent,
            Some(full.unwrap().backup),
            "{notes:?}"
        );
    }
}

#[expect(clippy::disallowed_methods, reason = "a program of PostgreSQL")]
fn without_checksums(bed: &Bed, version: Version) {
    let data = bed.cluster.data_directory();
    let owner = std::fs::metadata(data).unwrap();
    let mut program = std::process::Command::new(bed.cluster.bin_directory().join("pg_checksums"));
    {
        use std::os::unix::fs::MetadataExt;
        use std::os::unix::process::CommandExt;
        program.uid(owner.uid()).gid(owner.gid()).current_dir("/");
    }
    let done = program
        .arg("--disable")
        .arg("-D")
        .arg(data)
        .output()
        .unwrap();
    assert!(done.status.success(), "{version}: {done:?}");
}

#[tokio::test]
async fn where_files_cannot_be_read_the_protocol_is_used_and_says_why() {
    let bed = Bed::read_by(versions()[0], Reading::Auto).await;
    let mut said = Vec::new();
    let commit = take(bed.request(), &mut |progress| said.push(progress))
        .await
        .unwrap();
    assert_eq!(commit.mode, Mode::Local);
    let folder = bed.cluster.data_directory().display().to_string();
    let told = |said: &[Progress], mode, words: &str| {
        said.iter().any(
            |said| matches!(said, Progress::Reads(how, why) if *how == mode && why.contains(words)),
        )
    };
    assert!(told(&said, Mode::Local, &folder), "{said:?}");
    bed.cluster
        .sql("postgres", "CREATE ROLE plain LOGIN REPLICATION")
        .await;
    let mut plain = bed.request();
    plain.target = target(&bed.cluster.url_as("plain", "postgres"));
    said.clear();
    let commit = take(plain.clone(), &mut |progress| said.push(progress))
        .await
        .unwrap();
    assert_eq!(commit.mode, Mode::Protocol);
    assert!(
        told(&said, Mode::Protocol, "pg_read_all_settings"),
        "{said:?}"
    );
    bed.cluster
        .sql("postgres", "GRANT pg_read_all_settings TO plain")
        .await;
    plain.reading = Reading::Local;
    plain.backup = bed.request().backup;
    let report = take(plain.clone(), &mut |_| {}).await.unwrap_err().report();
    assert!(
        report.kind == Kind::Refused && report.to_string().contains("pg_backup_start"),
        "{report}"
    );
    let grant = "GRANT EXECUTE ON FUNCTION pg_backup_start TO plain; GRANT EXECUTE ON FUNCTION pg_backup_stop TO plain";
    bed.cluster.sql("postgres", grant).await;
    plain.backup = bed.request().backup;
    let commit = take(plain, &mut |_| {}).await.unwrap();
    assert_eq!(commit.mode, Mode::Local);
    assert!(Path::new(&folder).exists());
}

#[tokio::test]
async fn the_server_makes_increments_of_a_backup_of_files() {
    for version in versions().into_iter().filter(|version| version.0 >= 17) {
        let mut bed = Bed::read_by(version, Reading::Auto).await;
        bed.cluster.set("summarize_wal", Some("on")).await;
        bed.cluster.sql("postgres", TPC_B).await;
        let (full, _) = take_as(&bed, Wanted::Auto).await;
        let full = full.unwrap();
        assert_eq!((full.mode, full.kind), (Mode::Local, BackupKind::Full));
        bed.cluster
            .sql(
                "postgres",
                "UPDATE accounts SET balance = 7 WHERE aid % 500 = 0",
            )
            .await;
        let (increment, _) = take_as(&bed, Wanted::Auto).await;
        let increment = increment.unwrap();
        assert_eq!(increment.mode, Mode::Protocol);
        assert_eq!(increment.parent, Some(full.backup.clone()));
        // And pages say the same.
        bed.reading = Reading::Local;
        let (pages, _) = take_as(&bed, Wanted::Incremental).await;
        assert_eq!(pages.unwrap().parent, Some(full.backup));
    }
}
