//! A stopped server's data directory becomes a backup again: what is right stays, and nothing that only it had is lost.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use pawang_backup::repository::BackupKind;
use pawang_backup::restore::{self, Delta, Found, MARKER, Options, Target};
use pawang_backup::take::{Wanted, take};
use pawang_backup::{Commit, Error};
use pawang_core::Kind;
use pawang_testbed::{Stop, Version, until};

use crate::chain::relations;
use crate::interrupted::written;
use crate::take::request;
use crate::world::{World, all, now};

/// The first version that sends increments.
const INCREMENTS: Version = Version(17);

impl World {
    /// Takes a backup as `pawang backup create` does.
    pub(crate) async fn taken(&self, kind: BackupKind) -> Commit {
        let mut request = request(&self.cluster, &self.repository);
        request.wanted = match kind {
            BackupKind::Full => Wanted::Full,
            BackupKind::Incremental => Wanted::Incremental,
        };
        take(request, &mut |_| {}).await.unwrap()
    }

    /// Returns how the server's own directory is restored in place.
    fn in_place(&self) -> Options {
        Options {
            delta: true,
            ..self.options(self.cluster.data_directory())
        }
    }

    async fn delta(&self) -> Delta {
        let plan = self.plan(Target::Latest).await;
        let options = self.in_place();
        let destination = restore::destination(&plan, &options).unwrap();
        assert_eq!(destination.found, Found::Data);
        restore::delta(&self.repository, &plan, &options, &destination)
            .await
            .unwrap()
    }

    async fn restored_in_place(&self) -> Result<restore::Restored, Error> {
        let plan = self.plan(Target::Latest).await;
        restore::run(&self.repository, &plan, &self.in_place(), now()).await
    }

    async fn promoted(&mut self) {
        self.cluster.start_again().await;
        until("it is promoted", async || {
            self.text("SELECT pg_is_in_recovery()").await == "f"
        })
        .await;
    }
}

fn flip(path: &Path) {
    let mut file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(5000)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(5000)).unwrap();
    file.write_all(&[byte[0] ^ 0x40]).unwrap();
}

/// Files with their sizes and checksums.
pub(crate) type Files = BTreeMap<PathBuf, (u64, u32)>;

/// Returns every file below a folder.
pub(crate) fn files(root: &Path) -> Files {
    let mut found = Files::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                let within = path.strip_prefix(root).unwrap().to_owned();
                found.insert(within, (bytes.len() as u64, crc32c::crc32c(&bytes)));
            }
        }
    }
    found
}

#[tokio::test]
async fn what_is_right_stays_and_the_rest_is_as_in_the_backup() {
    let mut world = World::new(all()[0]).await;
    let space = world.cluster.folder("space");
    let cold = format!("CREATE TABLESPACE cold LOCATION '{}'", space.display());
    let tables = [
        cold.as_str(),
        "CREATE TABLE old TABLESPACE cold AS SELECT generate_series(1, 5000) AS number",
        "CREATE TABLE fact AS SELECT generate_series(1, 20000) AS number",
        "CREATE TABLE quiet AS SELECT generate_series(1, 20000) AS number",
        "CHECKPOINT",
    ];
    world.many("postgres", &tables).await;
    world.taken(BackupKind::Full).await;
    let quiet = world.text("SELECT pg_relation_filepath('quiet')").await;
    let gone = "INSERT INTO fact SELECT generate_series(20001, 21000)";
    world.many("postgres", &[gone]).await;
    world.archive().await;
    // In no archive.
    let last = "INSERT INTO fact VALUES (21001)";
    world.many("postgres", &[last]).await;

    let data = world.cluster.data_directory().to_owned();
    let report = world.restored_in_place().await.unwrap_err().report();
    assert_eq!(report.kind, Kind::Refused);
    assert!(report.primary.contains("a server runs in"), "{report}");
    world.cluster.stop(Stop::Immediate).await;
    let before = files(&data);
    let right = world.delta().await;
    assert_eq!(files(&data), before, "a preview touches nothing");
    assert!(right.kept_files > 800, "{right:?}");
    assert!(
        right.read_bytes < right.stored_bytes,
        "the tablespace is as it was: {} of {}",
        right.read_bytes,
        right.stored_bytes
    );

    flip(&data.join(&quiet));
    let foreign = data.join("base/1/987654");
    std::fs::File::create(&foreign).unwrap();
    // Of another version that shares the folder.
    let other = space.join("PG_9.6_201608131");
    std::fs::create_dir(&other).unwrap();
    std::fs::File::create(other.join("1")).unwrap();
    let wrong = world.delta().await;
    assert_eq!(wrong.kept_files, right.kept_files - 1);
    let restored = world.restored_in_place().await.unwrap();
    assert_eq!(restored.delta.unwrap().kept_files, wrong.kept_files);
    assert!(!restored.salvaged.is_empty() && restored.aside.is_none());
    assert!(!foreign.exists() && !data.join(MARKER).exists() && !space.join(MARKER).exists());
    assert!(other.join("1").exists());
    let healed = files(&data);
    let quiet = PathBuf::from(quiet);
    assert_eq!(healed[&quiet], before[&quiet]);
    world.promoted().await;
    for (sql, expected) in [
        ("SELECT sum(number) FROM quiet", "200010000"),
        ("SELECT count(*) FROM fact", "21001"),
        ("SELECT count(*) FROM old", "5000"),
    ] {
        assert_eq!(world.text(sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn a_chain_goes_over_what_is_there() {
    for version in all().into_iter().filter(|version| *version >= INCREMENTS) {
        let mut world = World::with(version, &[("summarize_wal", "on")]).await;
        let tables = [
            "CREATE TABLE fact AS SELECT generate_series(1, 20000) AS number",
            "CREATE TABLE quiet AS SELECT generate_series(1, 20000) AS number",
            "CREATE TABLE shrunk AS SELECT generate_series(1, 20000) AS number",
        ];
        world.many("postgres", &tables).await;
        let quiet = world.text("SELECT pg_relation_filepath('quiet')").await;
        world.taken(BackupKind::Full).await;
        let changes = [
            "UPDATE fact SET number = -number WHERE number % 500 = 0",
            "CREATE TABLE dropped AS SELECT 1 AS one",
            "DELETE FROM shrunk WHERE number > 500",
            "VACUUM shrunk",
        ];
        world.many("postgres", &changes).await;
        let commit = world.taken(BackupKind::Incremental).await;
        let later = [
            "DROP TABLE dropped",
            "UPDATE fact SET number = number + 1",
            "INSERT INTO shrunk SELECT generate_series(1, 30000)",
        ];
        world.many("postgres", &later).await;
        let expected = world.text("SELECT sum(number) FROM fact").await;
        world.archive().await;
        world.cluster.stop(Stop::Fast).await;
        let data = world.cluster.data_directory().to_owned();
        flip(&data.join(quiet));
        let there = written(&data);
        let restored = world.restored_in_place().await.unwrap();
        // The pages that changed since, and no whole files.
        assert!(restored.bytes < there / 10, "{} of {there}", restored.bytes);
        let anew = world.restored(&commit, "anew").await;
        let (mut ours, anew) = (relations(&data), relations(&anew));
        ours.retain(|name, content| anew.get(name) != Some(content));
        assert_eq!(ours.keys().collect::<Vec<_>>(), Vec::<&String>::new());
        // What an increment has only changes of is put together again.
        assert!(restored.delta.unwrap().kept_files > 10);
        world.promoted().await;
        assert_eq!(world.text("SELECT sum(number) FROM fact").await, expected);
        assert_eq!(world.text("SELECT count(*) FROM quiet").await, "20000");
    }
}

#[tokio::test]
async fn a_link_for_wal_is_not_replaced() {
    let mut world = World::new(all()[0]).await;
    world.taken(BackupKind::Full).await;
    world.cluster.stop(Stop::Fast).await;
    let data = world.cluster.data_directory().to_owned();
    let elsewhere = world.cluster.socket_directory().join("wal");
    std::fs::rename(data.join("pg_wal"), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, data.join("pg_wal")).unwrap();
    let report = world.restored_in_place().await.unwrap_err().report();
    assert_eq!(report.kind, Kind::Refused);
    assert!(report.primary.contains("is a link"), "{report}");
    assert!(data.join("global/pg_control").exists());
}
