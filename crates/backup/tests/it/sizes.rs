//! Clusters of unusual shape: very many small files, and relations of more than one file.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use pawang_backup::repository::{BackupKind, Part};
use pawang_backup::take::{Reading, TakeRequest, Wanted, take};
use pawang_backup::{Commit, Repository};
use pawang_core::ByteSize;
use pawang_testbed::{Cluster, Stop, Version, versions};

use crate::chain::INCREMENTS;
use crate::take::{Bed, request, request_to};
use crate::world::World;

/// Names server, repository and manner of the process whose memory is looked at.
const VICTIM: &str = "PAWANG_TEST_MEMORY";
const RELATIONS: u32 = 10_000;
/// The names of a folder, pieces of a longer manifest, and what is remembered of each file until the server's is compared.
const MEMORY_MORE: ByteSize = ByteSize(8 << 20);
/// PostgreSQL begins another file after so many pages.
const FILE_BLOCKS: u32 = 131_072;

/// The process whose memory is looked at: a backup; nothing when tests run.
#[tokio::test]
async fn victim() {
    let Ok(told) = std::env::var(VICTIM) else {
        return;
    };
    let [url, folder, manner]: [&str; 3] = told.split('\n').collect::<Vec<_>>().try_into().unwrap();
    let repository = Repository::directory(Path::new(folder)).unwrap();
    let mut request = request_to(url, &repository);
    request.reading = match manner {
        "local" => Reading::Local,
        _ => Reading::Protocol,
    };
    take(request, &mut |_| {}).await.unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("\npeak {}", peak.unwrap().trim().trim_end_matches(" kB"));
}

/// Takes a backup in a process of its own; returns the most memory that it had.
fn peak(cluster: &Cluster, folder: &Path, manner: &str) -> ByteSize {
    let told = [
        cluster.url("postgres"),
        folder.display().to_string(),
        manner.to_owned(),
    ];
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["sizes::victim", "--exact", "--nocapture"])
        .env(VICTIM, told.join("\n"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let peak = said.lines().find_map(|line| line.strip_prefix("peak "));
    let peak: u64 = peak
        .unwrap_or_else(|| panic!("{output:?}"))
        .parse()
        .unwrap();
    ByteSize(peak << 10)
}

#[tokio::test]
async fn many_small_files_cost_little_memory() {
    let bed = Bed::read_by(versions()[0], Reading::Local).await;
    let folder = bed.folder.path();
    let manners = ["local", "protocol"];
    // As many bytes as the small files have, so that as many chunks are on their way before and after.
    let large = "CREATE TABLE large AS SELECT repeat(md5(number::text), 25) AS pad FROM generate_series(1, 60000) AS number";
    bed.cluster.sql("postgres", large).await;
    let few = manners.map(|manner| peak(&bed.cluster, folder, manner));
    // Each has an index, and a table for large values with an index of its own.
    let tables = RELATIONS / 4;
    let create = format!(
        "DO $$ BEGIN FOR number IN 1..{tables} LOOP
            EXECUTE 'CREATE TABLE small_' || number || ' (word text PRIMARY KEY)';
            IF number % 500 = 0 THEN COMMIT; END IF;
        END LOOP; END $$"
    );
    bed.cluster.sql("postgres", &create).await;
    let many = manners.map(|manner| peak(&bed.cluster, folder, manner));
    for (few, many) in few.iter().zip(&many) {
        println!("{few} became {many}");
        assert!(many.0 < few.0 + MEMORY_MORE.0, "{few} became {many}");
    }
    let cluster = bed.repository.clusters().await.unwrap()[0];
    let backups = bed.repository.backups(&cluster).await.unwrap();
    let members = |commit: &Commit| commit.parts.iter().map(|part| part.members).sum::<u32>();
    assert_eq!(backups.len(), 4);
    for pair in [(0, 2), (1, 3)] {
        let more = members(&backups[pair.1]) - members(&backups[pair.0]);
        assert!(more >= RELATIONS, "{more}");
    }
    let into = tempfile::tempdir().unwrap();
    let data = bed.unpack(&backups[3], into.path()).await;
    crate::take::verify_by_stock_tool(&bed.cluster, &data);
}

/// A server with a table of more than a gigabyte, which was not logged as it was filled.
async fn with_a_large_table(version: Version) -> (World, String) {
    let quick = [
        ("wal_level", "minimal"),
        ("max_wal_senders", "0"),
        ("autovacuum", "off"),
        ("wal_log_hints", "on"),
        ("max_wal_size", "4GB"),
    ];
    let mut world = World::with(version, &quick).await;
    // One row fills a page.
    let fill = format!(
        "CREATE TABLE large (number int, pad text); ALTER TABLE large ALTER pad SET STORAGE PLAIN;
        INSERT INTO large SELECT number, repeat('x', 8000) FROM generate_series(1, {FILE_BLOCKS} + 200) AS number"
    );
    world.cluster.sql("postgres", &fill).await;
    for setting in ["wal_level = replica", "max_wal_senders = 8"] {
        let change = format!("ALTER SYSTEM SET {setting}");
        world.cluster.sql("postgres", &change).await;
    }
    if version >= INCREMENTS {
        let change = "ALTER SYSTEM SET summarize_wal = on";
        world.cluster.sql("postgres", change).await;
    }
    world.cluster.stop(Stop::Fast).await;
    world.cluster.start_again().await;
    let path = world.text("SELECT pg_relation_filepath('large')").await;
    (world, path)
}

async fn taken(world: &World, wanted: Wanted) -> Commit {
    let reading = match world.cluster.version() >= INCREMENTS {
        true => Reading::Protocol,
        false => Reading::Local,
    };
    let request = TakeRequest {
        wanted,
        reading,
        ..request(&world.cluster, &world.repository)
    };
    take(request, &mut |_| {}).await.unwrap()
}

/// Asserts that two files are the same, in pieces.
fn same(one: &Path, other: &Path) {
    let [mut one, mut other] = [one, other].map(|path| File::open(path).unwrap());
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for piece in 0.. {
        let read = one.read(&mut left).unwrap();
        other.read_exact(&mut right[..read]).unwrap();
        assert!(left[..read] == right[..read], "piece {piece} is another");
        if read == 0 {
            break;
        }
    }
    assert_eq!(other.read(&mut right).unwrap(), 0);
}

#[tokio::test]
async fn a_relation_of_two_files_comes_whole_and_in_increments() {
    // Once: it is the same code for all, and a gigabyte takes its time.
    for version in versions().into_iter().take(1) {
        let (mut world, path) = with_a_large_table(version).await;
        let full = taken(&world, Wanted::Full).await;
        assert!(
            full.pages.checked > u64::from(FILE_BLOCKS) + 200,
            "{:?}",
            full.pages
        );
        // A page of each file: their numbers go on from one to the other.
        let change = format!(
            "UPDATE large SET pad = repeat('y', 8000) WHERE ctid IN ('(7,1)', '({},1)')",
            FILE_BLOCKS + 7
        );
        world.many("postgres", &[&change, "CHECKPOINT"]).await;
        let increment = taken(&world, Wanted::Incremental).await;
        assert_eq!(increment.kind, BackupKind::Incremental);
        // A page's checksum is also of its number.
        assert_eq!((full.pages.wrong, increment.pages.wrong), (0, 0));
        let bytes = |parts: &[Part]| parts.iter().map(|part| part.raw_bytes).sum::<u64>();
        assert!(
            bytes(&increment.parts) < bytes(&full.parts) / 8,
            "it is an increment"
        );
        world.cluster.stop(Stop::Fast).await;
        let chain = world.restored(&increment, "chain").await;
        let data = world.cluster.data_directory();
        for path in [path.clone(), format!("{path}.1")] {
            same(&data.join(&path), &chain.join(&path));
        }
        assert!(!chain.join(format!("{path}.2")).exists());
    }
}
