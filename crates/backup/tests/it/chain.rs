//! Increments of PostgreSQL 17 and later, put together without space of their own, are the full backup byte for byte.

use std::collections::BTreeMap;
use std::path::Path;

use pawang_backup::repository::{BackupKind, PartSettings, Tablespace};
use pawang_backup::restore::{self, Source, Target, Wanted};
use pawang_backup::{BackupId, Commit};
use pawang_postgres::replication::{BackupEvent, BaseBackupOptions, Replication};
use pawang_postgres::{Environment, Target as Server};
use pawang_testbed::{Version, combinebackup};

use crate::interrupted::written;
use crate::stock;
use crate::world::{Made, World, all, now};

/// The first version that sends increments.
pub(crate) const INCREMENTS: Version = Version(17);
pub(crate) const TABLES: [&str; 6] = [
    "CREATE TABLE fact AS SELECT number, md5(number::text) AS word FROM generate_series(1, 20000) AS number",
    "CREATE INDEX fact_word ON fact (word)",
    "CREATE TABLE dropped AS SELECT * FROM fact",
    "CREATE TABLE cut AS SELECT * FROM fact",
    "CREATE TABLE shrunk AS SELECT * FROM fact",
    "CREATE TABLE cold TABLESPACE cold AS SELECT * FROM fact",
];
pub(crate) const CHANGES: [&str; 9] = [
    "UPDATE fact SET word = 'changed' WHERE number % 400 = 0",
    "INSERT INTO fact SELECT number, 'new' FROM generate_series(90001, 92000) AS number",
    "DROP TABLE dropped",
    "TRUNCATE cut",
    "DELETE FROM shrunk WHERE number > 500",
    "VACUUM shrunk",
    "UPDATE cold SET word = 'warm' WHERE number = 7",
    "CREATE TABLE fresh AS SELECT 1 AS one",
    "CREATE DATABASE second",
];
pub(crate) const LATER_CHANGES: [&str; 5] = [
    "UPDATE fact SET word = 'again' WHERE number % 700 = 0",
    "INSERT INTO shrunk SELECT number, 'grown' FROM generate_series(1, 9000) AS number",
    "INSERT INTO cut SELECT number, 'back' FROM generate_series(1, 100) AS number",
    "REINDEX INDEX fact_word",
    "DROP TABLE fresh",
];
/// Two empty blocks.
const ARCHIVE_END_BYTES: usize = 1024;

/// A backup and what the next one stands on.
struct Taken {
    commit: Commit,
    manifest: Vec<u8>,
}

impl World {
    /// Takes a backup by the protocol, the increment to another when there is one.
    async fn take(&self, number: u8, parent: Option<&Taken>) -> Taken {
        let url = self.cluster.url("postgres");
        let server = Server::parse(&url, &Environment::default()).unwrap();
        let mut replication = Replication::connect(&server, "test").await.unwrap();
        if let Some(parent) = parent {
            replication
                .upload_manifest(parent.manifest.as_slice())
                .await
                .unwrap();
        }
        let options = BaseBackupOptions {
            incremental: parent.is_some(),
            ..BaseBackupOptions::default()
        };
        let started_at = now();
        let mut made = Made {
            id: BackupId::new(started_at, [number; 10]),
            kind: parent.map_or(BackupKind::Full, |_| BackupKind::Incremental),
            parent: parent.map(|parent| parent.commit.backup.clone()),
            started_at,
            start: pawang_core::Lsn(0),
            stop: pawang_core::Lsn(0),
            parts: Vec::new(),
            tablespaces: Vec::new(),
            manifest: Vec::new(),
        };
        let archives = received(&mut replication, &options, &mut made).await;
        let (repository, cluster, id) = (self.repository.clone(), self.id, made.id.clone());
        let write = move || {
            let mut writer = repository.part_writer(&cluster, &id, &PartSettings::default());
            let archives = archives.into_iter().zip(0u32..);
            let parts = archives.map(|((tablespace, bytes), number)| {
                let members = tar::Archive::new(bytes.as_slice())
                    .entries()
                    .unwrap()
                    .count();
                // A part does not end the archive.
                let (content, end) = bytes.split_at(bytes.len() - ARCHIVE_END_BYTES);
                assert!(end.iter().all(|byte| *byte == 0));
                writer.begin(number, tablespace).unwrap();
                writer.write(content).unwrap();
                for _ in 0..members {
                    writer.end_member();
                }
                writer.finish().unwrap()
            });
            parts.collect()
        };
        made.parts = tokio::task::spawn_blocking(write).await.unwrap();
        let manifest = made.manifest.clone();
        let commit = self.put(made).await;
        Taken { commit, manifest }
    }

    pub(crate) async fn restored(&self, commit: &Commit, name: &str) -> std::path::PathBuf {
        let source = Source::read(&self.repository, &self.id).await.unwrap();
        let wanted = Wanted {
            target: Target::Immediate,
            inclusive: true,
            timeline: None,
            backup: Some(commit.backup.clone()),
        };
        let plan = source.plan(&self.repository, &wanted).await.unwrap();
        let into = self.cluster.folder(name);
        let mut options = self.options(&into);
        for space in &plan.tablespaces {
            options.tablespaces.insert(
                space.oid,
                self.cluster.folder(&format!("{name}-{}", space.oid)),
            );
        }
        let restored = restore::run(&self.repository, &plan, &options, now())
            .await
            .unwrap();
        let folders = options.tablespaces.values().chain([&into]);
        let there: u64 = folders.map(|folder| written(folder)).sum();
        let increments: u64 = plan.chain[1..].iter().map(|step| step.raw_bytes).sum();
        assert!(
            restored.bytes <= there + increments,
            "only what the full backup has of a block that an increment has too is written in vain"
        );
        into
    }
}

impl World {
    /// Follows the page about the repository: unpacks each backup of a chain, and combines them by PostgreSQL's own program.
    fn combined_by_hand(&self, program: &Path, chain: &[&Commit]) -> std::path::PathBuf {
        let blocks = stock::blocks(stock::SECTION);
        let [unpack, space, combine, ..] = blocks[..] else {
            panic!("the section has other blocks now: {blocks:?}");
        };
        let (manifest, combine) = combine.split_once('\n').unwrap();
        let folder = self.cluster.folder("by-hand");
        let at = |name: &str| folder.join(name).display().to_string();
        for (number, commit) in chain.iter().enumerate() {
            let oid = commit.tablespaces[0].oid.to_string();
            let here = format!("{unpack}{space}{manifest}")
                .replace(
                    "/srv/backup/cluster/7300000000000000001-17",
                    &self.folder.join(self.id.folder()).display().to_string(),
                )
                .replace("01JD9Z6Y1N8M3Q4R5S6T7V8W9X", commit.backup.as_str())
                .replace("/srv/restored", &at(&format!("unpacked-{number}")))
                .replace("/srv/unpacked-1", &at(&format!("unpacked-{number}")))
                .replace("/srv/space", &at(&format!("space-{number}")))
                .replace("16385", &oid);
            stock::shell(&here);
        }
        let combine = combine
            .replace("pg_combinebackup", &program.display().to_string())
            .replace("/srv/unpacked-full", &at("unpacked-0"))
            .replace("/srv/unpacked-", &at("unpacked-"))
            .replace("/srv/space", &at("space"))
            .replace("/srv/restored", &at("restored"));
        stock::shell(&combine);
        folder.join("restored")
    }
}

/// Asserts that two data directories are the same byte for byte, but for what each of both ways to make them writes itself.
fn same_trees(one: &Path, other: &Path) {
    const THEIR_OWN: [&str; 4] = [
        "backup_manifest",
        "postgresql.auto.conf",
        "recovery.signal",
        "pg_wal",
    ];
    let tree = |root: &Path| {
        let mut found = BTreeMap::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(root).unwrap().display().to_string();
                if THEIR_OWN.contains(&name.as_str()) {
                    continue;
                }
                match path.is_dir() {
                    true => folders.push(path),
                    false => drop(found.insert(name, std::fs::read(&path).unwrap())),
                }
            }
        }
        found
    };
    let (one, other) = (tree(one), tree(other));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    let different = one
        .iter()
        .filter(|(name, content)| other[*name] != **content);
    let different: Vec<&String> = different.map(|(name, _)| name).collect();
    assert_eq!(different, Vec::<&String>::new());
}

/// Receives a backup into memory: its archives, with the tablespace of each.
async fn received(
    replication: &mut Replication,
    options: &BaseBackupOptions,
    made: &mut Made,
) -> Vec<(Option<u32>, Vec<u8>)> {
    let mut archives: Vec<(Option<u32>, Vec<u8>)> = Vec::new();
    let mut backup = replication.base_backup(options).await.unwrap();
    while let Some(event) = backup.next().await.unwrap() {
        match event {
            BackupEvent::Start {
                lsn, tablespaces, ..
            } => {
                made.start = lsn;
                made.tablespaces = tablespaces
                    .into_iter()
                    .map(|space| Tablespace {
                        oid: space.oid,
                        location: space.location.display().to_string(),
                    })
                    .collect();
            }
            BackupEvent::Archive { name, .. } => {
                archives.push((
                    name.strip_suffix(".tar").and_then(|oid| oid.parse().ok()),
                    Vec::new(),
                ));
            }
            BackupEvent::Data(bytes) => archives.last_mut().unwrap().1.extend_from_slice(&bytes),
            BackupEvent::Manifest(bytes) => made.manifest.extend_from_slice(&bytes),
            BackupEvent::Progress(_) => {}
            BackupEvent::Warning(words) => panic!("{words}"),
            BackupEvent::End { lsn, .. } => made.stop = lsn,
        }
    }
    archives
}

/// The content of each file of relations, also of those behind links of tablespaces.
pub(crate) fn relations(data: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![
        data.join("base"),
        data.join("global"),
        data.join("pg_tblspc"),
    ];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("pg_control") {
                let name = path.strip_prefix(data).unwrap().display().to_string();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[tokio::test]
async fn a_chain_is_the_full_backup_byte_for_byte() {
    for version in all().into_iter().filter(|version| *version >= INCREMENTS) {
        // What readers write into pages is in WAL only so, and increments are made from WAL.
        let settings = [
            ("summarize_wal", "on"),
            ("wal_log_hints", "on"),
            ("autovacuum", "off"),
        ];
        let world = World::with(version, &settings).await;
        for space in ["cold", "gone"] {
            let folder = world.cluster.folder(space);
            let create = format!("CREATE TABLESPACE {space} LOCATION '{}'", folder.display());
            world.many("postgres", &[&create]).await;
        }
        world.many("postgres", &TABLES).await;
        let gone = "CREATE TABLE far TABLESPACE gone AS SELECT generate_series(1, 5000) AS number";
        world.many("postgres", &[gone]).await;
        let full = world.take(1, None).await;
        world.many("postgres", &CHANGES).await;
        let gone = ["DROP TABLE far", "DROP TABLESPACE gone"];
        world.many("postgres", &gone).await;
        let first = world.take(2, Some(&full)).await;
        let there = "CREATE TABLE there AS SELECT generate_series(1, 3000) AS number";
        world.many("second", &[there]).await;
        world.many("postgres", &LATER_CHANGES).await;
        for database in ["second", "postgres", "template1"] {
            world
                .many(database, &["VACUUM (FREEZE)", "CHECKPOINT"])
                .await;
        }
        let second = world.take(3, Some(&first)).await;
        let oracle = world.take(4, None).await;
        world.archive().await;
        let bytes = |taken: &Taken| {
            taken
                .commit
                .parts
                .iter()
                .map(|part| part.raw_bytes)
                .sum::<u64>()
        };
        assert!(bytes(&first) < bytes(&full) / 2, "it is an increment");
        let chain = world.restored(&second.commit, "chain").await;
        let whole = world.restored(&oracle.commit, "whole").await;
        let (chain_files, whole_files) = (relations(&chain), relations(&whole));
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&chain_files), names(&whole_files), "{version}");
        let different: Vec<&String> = whole_files
            .iter()
            .filter(|(name, content)| chain_files[*name] != **content)
            .map(|(name, _)| name)
            .collect();
        assert_eq!(different, Vec::<&String>::new(), "{version}");
        if let Some(program) = combinebackup(version) {
            let taken = [&full, &first, &second];
            let combined = world.combined_by_hand(&program, &taken.map(|it| &it.commit));
            same_trees(&combined, &chain);
        }
        let label = std::fs::read_to_string(chain.join("backup_label")).unwrap();
        assert!(
            !label.contains("INCREMENTAL") && label.contains("START WAL LOCATION"),
            "{label}"
        );
    }
}
