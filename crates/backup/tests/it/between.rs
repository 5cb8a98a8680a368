//! What happens to a server between a backup and its increment: numbers are used again, checksums are switched.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use pawang_backup::Commit;
use pawang_backup::repository::{BackupKind, FORMAT, Tomb};
use pawang_backup::take::{Progress, Reading, TakeRequest, Wanted, take};
use pawang_backup::wal::{SegmentName, Timeline};
use pawang_core::{Kind, Report};
use pawang_postgres::control_file;
use pawang_testbed::{Cluster, Stop, Version};

use crate::chain::{INCREMENTS, relations};
use crate::failures::as_owner;
use crate::take::request;
use crate::world::{World, all};

/// The first version whose databases can be given a number.
const NUMBERED_DATABASES: Version = Version(15);
/// Of a page of WAL.
const WAL_PAGE_BYTES: u64 = 8192;
/// A record's header, at whose end is the checksum of all the rest.
const HEADER_BYTES: usize = 24;
const CRC_OFFSET: usize = 20;
/// In the record of a checkpoint: behind the header, and two bytes that say how long the data are.
const NEXT_OID_OFFSET: usize = HEADER_BYTES + 2 + 32;

/// In the control file: the same in its copy of the checkpoint, and whether pages have checksums.
const CONTROL_NEXT_OID_OFFSET: usize = 40 + 32;
const CHECKSUMS_OFFSET: usize = 252;

/// Makes a server give out a number next, as it does when it has given out all four billion: in the checkpoint of its end, from
/// which it starts again.
async fn gives_out_next(cluster: &mut Cluster, oid: u32) {
    let (control, record) = loop {
        cluster.stop(Stop::Fast).await;
        let control = control_file::read(cluster.data_directory()).unwrap();
        let segment_bytes = control.wal_segment_bytes;
        let name = SegmentName::holding(
            Timeline(control.timeline),
            control.checkpoint,
            segment_bytes,
        );
        let path = cluster
            .data_directory()
            .join("pg_wal")
            .join(name.to_string());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let from = control.checkpoint.bytes_since(name.start(segment_bytes));
        let mut length = [0; 4];
        file.read_exact_at(&mut length, from).unwrap();
        let length = u32::from_le_bytes(length);
        // One that goes on behind the head of a page is in two pieces; the next one lies elsewhere.
        if from % WAL_PAGE_BYTES + u64::from(length) <= WAL_PAGE_BYTES {
            break (control, (file, from, length as usize));
        }
        cluster.start_again().await;
    };
    let (file, from, length) = record;
    let mut record = vec![0; length];
    file.read_exact_at(&mut record, from).unwrap();
    let checksum = |record: &[u8]| {
        let data = crc32c::crc32c(&record[HEADER_BYTES..]);
        crc32c::crc32c_append(data, &record[..CRC_OFFSET]).to_le_bytes()
    };
    assert_eq!(
        record[CRC_OFFSET..HEADER_BYTES],
        checksum(&record),
        "{control:?}"
    );
    record[NEXT_OID_OFFSET..NEXT_OID_OFFSET + 4].copy_from_slice(&oid.to_le_bytes());
    let sum = checksum(&record);
    record[CRC_OFFSET..HEADER_BYTES].copy_from_slice(&sum);
    file.write_all_at(&record, from).unwrap();
    // From 15 on it believes the copy in the control file.
    change_control(cluster, CONTROL_NEXT_OID_OFFSET, oid);
    cluster.start_again().await;
}

/// Changes a number in the control file.
fn change_control(cluster: &Cluster, offset: usize, number: u32) {
    let path = cluster.data_directory().join("global/pg_control");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[offset..offset + 4].copy_from_slice(&number.to_le_bytes());
    // The checksum is behind all that it is of.
    let end = match cluster.version() >= Version(18) {
        true => 292,
        false => 288,
    };
    let sum = crc32c::crc32c(&bytes[..end]).to_le_bytes();
    bytes[end..end + 4].copy_from_slice(&sum);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
}

/// Increments come from the server where it makes them, else from pages.
async fn taken(world: &World, wanted: Wanted) -> Commit {
    try_taken(world, wanted).await.0.unwrap()
}

/// Also returns what was told.
async fn try_taken(world: &World, wanted: Wanted) -> (Result<Commit, Report>, String) {
    let reading = match world.cluster.version() >= INCREMENTS {
        true => Reading::Protocol,
        false => Reading::Local,
    };
    let request = TakeRequest {
        wanted,
        reading,
        ..request(&world.cluster, &world.repository)
    };
    let mut notes = String::new();
    let mut observe = |progress| {
        if let Progress::Note(note) = progress {
            notes += &note;
        }
    };
    let taken = take(request, &mut observe).await;
    (taken.map_err(|error| error.report()), notes)
}

async fn number_of(world: &World, table: &str) -> u32 {
    let number = world
        .text(&format!("SELECT pg_relation_filenode('{table}')"))
        .await;
    number.parse().unwrap()
}

async fn world(version: Version) -> World {
    let mut settings = vec![("wal_log_hints", "on"), ("autovacuum", "off")];
    if version >= INCREMENTS {
        settings.push(("summarize_wal", "on"));
    }
    World::with(version, &settings).await
}

#[tokio::test]
async fn a_number_that_is_used_again_is_of_something_else() {
    for version in all() {
        let mut world = world(version).await;
        let tables = [
            "CREATE TABLE large AS SELECT number, repeat('old', 99) AS word FROM generate_series(1, 9000) AS number",
            "CREATE TABLE small AS SELECT number, repeat('old', 99) AS word FROM generate_series(1, 90) AS number",
        ];
        world.many("postgres", &tables).await;
        let databases = version >= NUMBERED_DATABASES;
        if databases {
            world
                .many("postgres", &["CREATE DATABASE numbered OID 77777"])
                .await;
            world.many("numbered", &tables).await;
        }
        let large = number_of(&world, "large").await;
        let small = number_of(&world, "small").await;
        let full = taken(&world, Wanted::Full).await;
        world.many("postgres", &["DROP TABLE large, small"]).await;
        if databases {
            // Its pages are copied: their positions are older than the backup.
            let again = "CREATE DATABASE numbered OID 77777 TEMPLATE template0 STRATEGY file_copy";
            world
                .many("postgres", &["DROP DATABASE numbered", again])
                .await;
        }
        // Until then the numbers are held: by empty files, and by rows that nobody sees any more.
        world
            .many("postgres", &["VACUUM pg_class, pg_type", "CHECKPOINT"])
            .await;
        for (number, table, rows) in [(large, "fewer", 100), (small, "more", 12_000)] {
            gives_out_next(&mut world.cluster, number).await;
            let create = format!(
                "CREATE TABLE {table} AS SELECT number, repeat('new', 88) AS word FROM generate_series(1, {rows}) AS number"
            );
            world.many("postgres", &[&create]).await;
            assert_eq!(number_of(&world, table).await, number, "{version}");
        }
        world
            .many("postgres", &["VACUUM (FREEZE)", "CHECKPOINT"])
            .await;
        let increment = taken(&world, Wanted::Incremental).await;
        assert_eq!(increment.kind, BackupKind::Incremental);
        assert_eq!(increment.parent.as_ref(), Some(&full.backup));
        let oracle = taken(&world, Wanted::Full).await;
        let chain = relations(&world.restored(&increment, "chain").await);
        let whole = relations(&world.restored(&oracle, "whole").await);
        let names: Vec<&String> = chain.keys().collect();
        assert_eq!(names, whole.keys().collect::<Vec<_>>(), "{version}");
        let different: Vec<&String> = whole
            .keys()
            .filter(|name| chain[*name] != whole[*name])
            .collect();
        assert_eq!(different, Vec::<&String>::new(), "{version}");
    }
}

/// Switches checksums off as `pg_checksums --disable` does, which not every package has: in the control file.
fn switch_off_checksums(cluster: &Cluster) {
    change_control(cluster, CHECKSUMS_OFFSET, 0);
    let control = control_file::read(cluster.data_directory()).unwrap();
    assert!(!control.data_checksums);
}

#[tokio::test]
async fn checksums_that_were_switched_make_a_full_backup() {
    for version in all() {
        let mut world = world(version).await;
        let table = "CREATE TABLE fact AS SELECT number FROM generate_series(1, 9000) AS number";
        world.many("postgres", &[table]).await;
        let with = taken(&world, Wanted::Full).await;
        assert!(with.server.data_checksums);
        world.cluster.stop(Stop::Fast).await;
        switch_off_checksums(&world.cluster);
        world.cluster.start_again().await;
        becomes_full(&world, false).await;
        let program = world.cluster.bin_directory().join("pg_checksums");
        if program.exists() {
            // All pages are written, and none says so: their positions stay as they were.
            world.cluster.stop(Stop::Fast).await;
            as_owner(&world.cluster, "pg_checksums", &["--enable"]);
            world.cluster.start_again().await;
            becomes_full(&world, true).await;
        }
    }
}

/// Of two that cannot be stood on, the newest is the one that a person asks about.
#[tokio::test]
async fn the_newest_backup_is_the_one_that_is_told_of() {
    let world = world(all()[0]).await;
    let mut newest = None;
    for _ in 0..2 {
        let full = taken(&world, Wanted::Full).await;
        let tomb = Tomb {
            format: FORMAT,
            backup: full.backup.clone(),
            at: full.ended_at,
            why: Vec::new(),
            laid_at: full.ended_at,
        };
        world.repository.lay_tomb(&world.id, &tomb).await.unwrap();
        newest = Some(full.backup);
    }
    let (refused, _) = try_taken(&world, Wanted::Incremental).await;
    let told = refused.unwrap_err().to_string();
    let newest = newest.unwrap();
    let expected = format!("{newest} is about to be deleted");
    assert!(told.contains(&expected), "{expected}: {told}");
}

/// Asserts that an increment is refused, and that whoever leaves the choice gets a full backup, and why.
async fn becomes_full(world: &World, checksums: bool) {
    let (refused, _) = try_taken(world, Wanted::Incremental).await;
    let report = refused.unwrap_err();
    assert_eq!(report.kind, Kind::Refused, "{report}");
    assert!(
        report
            .to_string()
            .contains("data checksums were switched since"),
        "{report}"
    );
    let (full, notes) = try_taken(world, Wanted::Auto).await;
    let full = full.unwrap();
    assert_eq!(
        (full.kind, full.server.data_checksums),
        (BackupKind::Full, checksums)
    );
    assert!(
        notes.contains("takes a full backup: data checksums were switched since"),
        "{notes}"
    );
}
