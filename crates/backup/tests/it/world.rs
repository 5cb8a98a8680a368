//! Backups and WAL of a throw-away cluster, brought into a repository by the plainest means, and servers on what is restored.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use pawang_backup::drill::{Scratch, ScratchSettings};
use pawang_backup::repository::{
    BackupKind, FORMAT, Keys, Mode, Object, Pages, Part, PartSettings, Position,
    RepositorySettings, ServerFacts, Tablespace,
};
use pawang_backup::restore::{Action, Options, Owner, RestorePlan, Source, Target, Wanted};
use pawang_backup::wal::{Content, SegmentName, Timeline, store_segment};
use pawang_backup::{BackupId, ClusterId, Commit, Repository};
use pawang_core::Lsn;
use pawang_testbed::{Cluster, Setup, Version, versions};
use sha2::{Digest, Sha256};

/// A restore does not read it.
const NO_MANIFEST: &str = "{}";
/// What the server makes anew, or what belongs to the one that runs.
const LEFT_OUT: [&str; 9] = [
    "postmaster.pid",
    "postmaster.opts",
    "pg_wal/",
    "pg_replslot/",
    "pg_dynshmem/",
    "pg_notify/",
    "pg_stat_tmp/",
    "pg_subtrans/",
    "global/pg_control",
];

/// A cluster with a repository beside it.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) folder: PathBuf,
    pub(crate) repository: Repository,
    pub(crate) id: ClusterId,
    segment_bytes: u32,
}

impl World {
    pub(crate) async fn new(version: Version) -> World {
        World::with(version, &[]).await
    }

    pub(crate) async fn with(version: Version, more: &[(&str, &str)]) -> World {
        World::with_keys(version, more, Keys::default()).await
    }

    /// A world whose repository is sealed.
    pub(crate) async fn sealed(version: Version, keys: &Keys) -> World {
        World::with_keys(version, &[], keys.clone()).await
    }

    async fn with_keys(version: Version, more: &[(&str, &str)], keys: Keys) -> World {
        // Nothing archives by itself here, so WAL waits until a test does; nor does anything write pages that are compared.
        let settings = [
            ("wal_level", "replica"),
            ("wal_keep_size", "256MB"),
            ("autovacuum", "off"),
        ];
        let settings: Vec<(&str, &str)> = settings.iter().chain(more).copied().collect();
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            settings: &settings,
            ..Setup::default()
        })
        .await;
        let folder = cluster.folder("repository");
        let place = folder.display().to_string();
        let settings = RepositorySettings {
            keys,
            ..RepositorySettings::default()
        };
        let repository = Repository::setup(&place, &settings, now(), [7; 10])
            .await
            .unwrap();
        let control = pawang_postgres::control_file::read(cluster.data_directory()).unwrap();
        World {
            id: ClusterId {
                system_identifier: control.system_identifier,
                major: control.major,
            },
            segment_bytes: control.wal_segment_bytes,
            cluster,
            folder,
            repository,
        }
    }

    pub(crate) async fn text(&self, sql: &str) -> String {
        self.cluster.sql("postgres", sql).await[0][0]
            .clone()
            .unwrap()
    }

    pub(crate) async fn many(&self, database: &str, statements: &[&str]) {
        for sql in statements {
            self.cluster.sql(database, sql).await;
        }
    }

    pub(crate) async fn position(&self) -> Lsn {
        self.text("SELECT pg_current_wal_insert_lsn()")
            .await
            .parse()
            .unwrap()
    }

    /// Takes a backup while the server runs, and archives the WAL that it needs.
    pub(crate) async fn backup(&self) -> Commit {
        self.backup_with(|_control| ()).await
    }

    /// Takes a backup whose `pg_control` somebody changed.
    pub(crate) async fn backup_with(&self, change: impl FnOnce(&mut [u8])) -> Commit {
        static NUMBER: AtomicU8 = AtomicU8::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let started_at = now();
        let modern = self.cluster.version() >= Version(15);
        let (start, stop) = match modern {
            true => (
                "SELECT pg_backup_start('test', true)::text",
                "SELECT lsn::text, labelfile FROM pg_backup_stop(false)",
            ),
            false => (
                "SELECT pg_start_backup('test', true, false)::text",
                "SELECT lsn::text, labelfile FROM pg_stop_backup(false, false)",
            ),
        };
        let session = self.cluster.connect("postgres").await;
        let ask = async |sql: &str| {
            let row = session.query_one(sql, &[]).await.unwrap();
            (0..row.len())
                .map(|at| row.get(at))
                .collect::<Vec<String>>()
        };
        let start: Lsn = ask(start).await[0].parse().unwrap();
        let mut files = files(self.cluster.data_directory());
        let tablespaces = tablespaces(self.cluster.data_directory());
        let spaces: Vec<_> = tablespaces
            .iter()
            .map(|space| (space.oid, self::files(Path::new(&space.location))))
            .collect();
        let stopped = ask(stop).await;
        files.push((
            "backup_label".to_owned(),
            Some(stopped[1].clone().into_bytes()),
        ));
        let control = self.cluster.data_directory().join("global/pg_control");
        let mut control = std::fs::read(control).unwrap();
        change(&mut control);
        files.push(("global/pg_control".to_owned(), Some(control)));
        let id = BackupId::new(started_at, [number; 10]);
        let parts = self.parts(&id, files, spaces).await;
        self.archive().await;
        self.put(Made {
            id,
            kind: BackupKind::Full,
            parent: None,
            started_at,
            start,
            stop: stopped[0].parse().unwrap(),
            parts,
            tablespaces,
            manifest: NO_MANIFEST.into(),
        })
        .await
    }

    /// Commits a backup whose parts are there.
    pub(crate) async fn put(&self, made: Made) -> Commit {
        let position = |lsn| Position {
            timeline: Timeline(1),
            lsn,
        };
        let path = self.id.part(&made.id, "backup_manifest");
        let manifest = object(&self.repository, &path, made.manifest.clone()).await;
        let commit = Commit {
            format: FORMAT,
            backup: made.id,
            cluster: self.id,
            server: ServerFacts {
                instance: "test".to_owned(),
                version: self.id.major * 10_000,
                segment_bytes: self.segment_bytes,
                block_bytes: 8192,
                data_checksums: false,
                standby: false,
                data_bytes: made.parts.iter().map(|part| part.raw_bytes).sum(),
            },
            mode: Mode::Local,
            kind: made.kind,
            parent: made.parent,
            started_at: made.started_at,
            ended_at: now(),
            start: position(made.start),
            stop: position(made.stop),
            parts: made.parts,
            tablespaces: made.tablespaces,
            manifest,
            pages: Pages::default(),
            relation_files: None,
            recipients: self.repository.recipients(),
            tool: "test".to_owned(),
        };
        self.repository.commit_backup(&commit).await.unwrap();
        commit
    }

    async fn parts(
        &self,
        id: &BackupId,
        files: Vec<Member>,
        spaces: Vec<(u32, Vec<Member>)>,
    ) -> Vec<Part> {
        let (repository, cluster, id) = (self.repository.clone(), self.id, id.clone());
        let write = move || {
            let settings = PartSettings {
                // Small, so that there are several.
                part_bytes: 4 << 20,
                ..PartSettings::default()
            };
            let mut writer = repository.part_writer(&cluster, &id, &settings);
            let mut parts = Vec::new();
            let spaces = spaces.into_iter().map(|(oid, files)| (Some(oid), files));
            for (tablespace, files) in std::iter::once((None, files)).chain(spaces) {
                for member in files {
                    if !writer.begun() {
                        writer
                            .begin(u32::try_from(parts.len()).unwrap(), tablespace)
                            .unwrap();
                    }
                    writer.write(&archived(&member)).unwrap();
                    if writer.end_member() {
                        parts.push(writer.finish().unwrap());
                    }
                }
                if writer.begun() {
                    parts.push(writer.finish().unwrap());
                }
            }
            parts
        };
        tokio::task::spawn_blocking(write).await.unwrap()
    }

    /// Ends the current segment and archives all that are whole.
    pub(crate) async fn archive(&self) {
        self.cluster.sql("postgres", "SELECT pg_switch_wal()").await;
        let end = self.position().await;
        let wal = self.cluster.data_directory().join("pg_wal");
        let mut names: Vec<SegmentName> = std::fs::read_dir(wal.clone())
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
            .filter(|name: &SegmentName| name.end(self.segment_bytes) <= end)
            .collect();
        names.sort();
        for name in names {
            let content = Content::File(wal.join(name.to_string()));
            store_segment(&self.repository, &self.id, &name, content, 1)
                .await
                .unwrap();
        }
    }

    /// Stores the beginning of the current segment as a receiver does.
    pub(crate) async fn store_live_tail(&self) {
        self.cluster.sql("postgres", "CHECKPOINT").await;
        live_tail(
            &self.cluster,
            &self.id,
            &self.repository,
            self.segment_bytes,
        )
        .await;
    }

    /// Returns the file of the archived segment that holds a position.
    pub(crate) fn segment(&self, position: Lsn) -> PathBuf {
        let name = SegmentName::holding(Timeline(1), position, self.segment_bytes);
        self.folder.join(self.id.segment(&name, self.segment_bytes))
    }

    /// Loses the archived segment that holds a position.
    pub(crate) fn forget(&self, position: Lsn) {
        std::fs::remove_file(self.segment(position)).unwrap();
    }

    pub(crate) async fn plan(&self, target: Target) -> RestorePlan {
        self.try_plan(target).await.unwrap()
    }

    pub(crate) async fn try_plan(
        &self,
        target: Target,
    ) -> Result<RestorePlan, pawang_backup::Error> {
        let source = Source::read(&self.repository, &self.id).await?;
        let wanted = Wanted {
            target,
            inclusive: true,
            timeline: None,
            backup: None,
        };
        source.plan(&self.repository, &wanted).await
    }

    pub(crate) fn options(&self, into: &Path) -> Options {
        Options {
            into: into.to_owned(),
            replace: false,
            delta: false,
            tablespaces: std::collections::BTreeMap::new(),
            action: Action::Promote,
            restore_command: self.restore_command(),
            workers: 2,
            word: "test".to_owned(),
        }
    }

    /// The command of the repository's own page, without any program of ours.
    pub(crate) fn restore_command(&self) -> String {
        let wal = self.folder.join(self.id.wal());
        format!(
            "f=$(find {} -name \"%f.zst\"); test -n \"$f\" || exit 1; zstd -dcq \"$f\" -o %p || exit 200",
            wal.display()
        )
    }

    pub(crate) fn scratch(&self, name: &str) -> ScratchSettings {
        let parent = self.cluster.socket_directory();
        ScratchSettings {
            folder: parent.join(name),
            programs: self.cluster.bin_directory().to_owned(),
            owner: Owner::of(parent),
            role: "postgres".to_owned(),
            shared_buffers_mb: 16,
            preload: String::new(),
            environment: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// Restores to a target into a scratch server that runs.
    pub(crate) async fn recovered(&self, name: &str, target: Target) -> Scratch {
        let plan = self.plan(target).await;
        let mut scratch = Scratch::new(self.scratch(name)).await.unwrap();
        let options = self.options(&scratch.data());
        pawang_backup::restore::run(&self.repository, &plan, &options, now())
            .await
            .unwrap();
        scratch.start(Duration::from_secs(60)).await.unwrap();
        scratch
    }
}

/// Stores the beginning of the segment that a server writes, as a receiver does.
pub(crate) async fn live_tail(
    cluster: &Cluster,
    id: &ClusterId,
    repository: &Repository,
    segment_bytes: u32,
) {
    let flushed = "SELECT pg_current_wal_flush_lsn()";
    let flushed = cluster.sql("postgres", flushed).await[0][0].clone();
    let flushed: Lsn = flushed.unwrap().parse().unwrap();
    let name = SegmentName::holding(Timeline(1), flushed, segment_bytes);
    let path = cluster
        .data_directory()
        .join("pg_wal")
        .join(name.to_string());
    let length = flushed.bytes_since(name.start(segment_bytes));
    let bytes = &std::fs::read(path).unwrap()[..usize::try_from(length).unwrap()];
    let object = id.live(&name, 0, u32::try_from(length).unwrap());
    let frame = zstd::encode_all(bytes, 1).unwrap();
    let digest = |frame: &[u8]| Ok(Sha256::digest(frame).into());
    let created = repository.create_data(&object, frame.into(), digest);
    created.await.unwrap();
}

/// Writes an object beside parts, as the manifest is written.
pub(crate) async fn object(repository: &Repository, path: &str, content: Vec<u8>) -> Object {
    let mut writer = repository.object_writer(path, None).unwrap();
    let write = move || {
        writer.write_all(&content).unwrap();
        writer.finish().unwrap()
    };
    tokio::task::spawn_blocking(write).await.unwrap()
}

/// A backup whose parts are in the repository.
pub(crate) struct Made {
    pub(crate) id: BackupId,
    pub(crate) kind: BackupKind,
    pub(crate) parent: Option<BackupId>,
    pub(crate) started_at: Timestamp,
    pub(crate) start: Lsn,
    pub(crate) stop: Lsn,
    pub(crate) parts: Vec<Part>,
    pub(crate) tablespaces: Vec<Tablespace>,
    pub(crate) manifest: Vec<u8>,
}

/// The versions that these tests run on: each change on the usual ones.
pub(crate) fn all() -> Vec<Version> {
    versions()
}

/// Reads the clock, as the binary does for the crate.
#[expect(clippy::disallowed_methods, reason = "a test is its own binary")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Asks a scratch server.
pub(crate) async fn asked(scratch: &Scratch, sql: &str) -> i64 {
    let target = scratch.target("postgres").unwrap();
    let session = pawang_postgres::Session::connect(&target, "test")
        .await
        .unwrap();
    let rows = session.read(sql).await.unwrap();
    match rows.rows[0][0] {
        pawang_core::Value::Int(number) => number,
        ref other => panic!("{sql}: {other:?}"),
    }
}

/// A member of an archive: a file with its content, or a folder.
type Member = (String, Option<Vec<u8>>);

fn files(root: &Path) -> Vec<Member> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let within = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            // Files come and go in a running server.
            let Ok(metadata) = std::fs::symlink_metadata(&path) else {
                continue;
            };
            let out = LEFT_OUT.iter().any(|out| within.starts_with(out));
            if out || within.contains("pgsql_tmp") || metadata.is_symlink() {
                continue;
            }
            if metadata.is_dir() {
                found.push((within, None));
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                found.push((within, Some(bytes)));
            }
        }
    }
    found
}

fn tablespaces(data: &Path) -> Vec<Tablespace> {
    let entries = std::fs::read_dir(data.join("pg_tblspc")).unwrap();
    let spaces = entries.map(|entry| {
        let entry = entry.unwrap();
        Tablespace {
            oid: entry.file_name().to_str().unwrap().parse().unwrap(),
            location: std::fs::read_link(entry.path())
                .unwrap()
                .display()
                .to_string(),
        }
    });
    spaces.collect()
}

fn archived((name, content): &Member) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_mode(0o600);
    let content = match content {
        Some(content) => content.as_slice(),
        None => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o700);
            &[]
        }
    };
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// Returns who owns a path.
pub(crate) fn owner_of(path: &Path) -> (u32, u32) {
    let metadata = std::fs::metadata(path).unwrap();
    (metadata.uid(), metadata.mode() & 0o777)
}
