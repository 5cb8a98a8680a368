//! What a backup is made of: `COMMIT.json`, written last and never changed.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use object_store::ObjectStoreExt;
use object_store::path::Path as ObjectPath;
use pawang_core::{Kind, Lsn, Report};
use serde::{Deserialize, Serialize};

use super::seal::SUFFIX;
use super::{BackupId, ClusterId, Repository};
use crate::Error;
use crate::take::RELATION_FILES;
use crate::wal::Timeline;

/// PostgreSQL's own manifest in a backup's folder.
pub const MANIFEST: &str = "backup_manifest";

/// The same where it is sealed.
const SEALED_MANIFEST: &str = "backup_manifest.age";

/// The number of the format that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// So many objects are looked at at a time.
const LOOKS_MAX: usize = 8;

/// A backup that exists. Its parts, and all WAL from `start` to `stop`, were durable before it was written (invariant I1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    /// [`FORMAT`].
    pub format: u32,
    /// The backup's name.
    pub backup: BackupId,
    /// Whose data it is.
    pub cluster: ClusterId,
    /// What the server says of itself.
    pub server: ServerFacts,
    /// How it was read.
    pub mode: Mode,
    /// Whether all of the data or only what changed since `parent`.
    pub kind: BackupKind,
    /// The backup that an incremental one stands on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<BackupId>,
    /// When it began, by the clock of the machine that took it.
    pub started_at: Timestamp,
    /// When it ended, by the same clock.
    pub ended_at: Timestamp,
    /// Where replay begins.
    pub start: Position,
    /// Where the data becomes consistent.
    pub stop: Position,
    /// The parts in the order in which they are unpacked.
    pub parts: Vec<Part>,
    /// Where tablespaces lay.
    #[serde(default)]
    pub tablespaces: Vec<Tablespace>,
    /// The object `backup_manifest`, PostgreSQL's own.
    pub manifest: Object,
    /// The object `relation_files.zst`: what files of relations there were, where they were read one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation_files: Option<Object>,
    /// What the pages said while they passed.
    pub pages: Pages,
    /// The recipients of `age` that can read it; empty when it is not encrypted.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// The program, with its version.
    pub tool: String,
}

impl Commit {
    /// Returns the path of `backup_manifest` as it is stored.
    pub fn manifest_path(&self) -> String {
        self.cluster.part(&self.backup, self.manifest_name())
    }

    /// Returns the path of another object with data that belongs to it, such as `relation_files.zst`.
    pub(crate) fn data_path(&self, name: &str) -> String {
        let suffix = if self.sealed() { SUFFIX } else { "" };
        format!("{}{suffix}", self.cluster.part(&self.backup, name))
    }

    /// Returns the bytes of all objects that it names.
    pub fn stored_bytes(&self) -> u64 {
        let parts: u64 = self.parts.iter().map(|part| part.bytes).sum();
        let lists = [Some(&self.manifest), self.relation_files.as_ref()];
        parts
            + lists
                .into_iter()
                .flatten()
                .map(|object| object.bytes)
                .sum::<u64>()
    }

    /// Says whether only the holders of a key can read it.
    pub fn sealed(&self) -> bool {
        !self.recipients.is_empty()
    }

    fn manifest_name(&self) -> &'static str {
        if self.sealed() {
            SEALED_MANIFEST
        } else {
            MANIFEST
        }
    }
}

/// The server at the time of a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// The instance's name in the estate.
    pub instance: String,
    /// `server_version_num`.
    pub version: u32,
    /// Bytes of a WAL segment.
    pub segment_bytes: u32,
    /// Bytes of a page.
    pub block_bytes: u32,
    /// Whether its pages carry checksums.
    pub data_checksums: bool,
    /// Whether it was a standby.
    pub standby: bool,
    /// Sum of the sizes of its files as they were read.
    pub data_bytes: u64,
}

/// A position of WAL on its timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The timeline.
    pub timeline: Timeline,
    /// The position.
    pub lsn: Lsn,
}

/// How a backup was read (the modes A, B and C of the design).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// `BASE_BACKUP` of the replication protocol.
    Protocol,
    /// Several SQL connections that read files.
    Lanes,
    /// The files of the data directory itself.
    Local,
}

/// How much of the data a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackupKind {
    /// All of it.
    Full,
    /// What changed since its parent; other files as `INCREMENTAL.` files of PostgreSQL 17's format.
    Incremental,
}

/// One part: complete members of a tar archive without its end, one or more frames of zstd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name in the backup's folder: `part-00000.tar.zst`, or with a tablespace `part-00001.16385.tar.zst`.
    pub name: String,
    /// The tablespace whose folder its members are unpacked into; without it the data directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tablespace: Option<u32>,
    /// Bytes as stored.
    pub bytes: u64,
    /// Bytes of the tar archive.
    pub raw_bytes: u64,
    /// How many members it has.
    pub members: u32,
    /// SHA-256 of the bytes as stored, in hexadecimal.
    pub sha256: String,
}

/// An object of a backup besides its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Bytes as stored.
    pub bytes: u64,
    /// SHA-256 of the bytes as stored, in hexadecimal.
    pub sha256: String,
}

/// Where a tablespace lay when the backup was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tablespace {
    /// Its object id, which names the link in `pg_tblspc`.
    pub oid: u32,
    /// Its folder, or the path inside the data directory of one that is in place.
    pub location: String,
}

/// What the pages said while they passed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pages {
    /// How many were checked.
    pub checked: u64,
    /// How many are wrong; the first of them are in `bad`.
    pub wrong: u64,
    /// The first pages that are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bad: Vec<BadPage>,
}

/// A page that is not what its checksum says, older than the backup: not torn, but corrupt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadPage {
    /// The file within the data directory.
    pub file: String,
    /// The page's number within the relation's fork.
    pub block: u64,
    /// What is wrong with it.
    pub problem: String,
    /// The relation, when the catalog could be asked: `database.schema.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<String>,
}

impl Repository {
    /// Makes a backup exist: looks at each of its objects once more, and writes its commit (invariant I1).
    ///
    /// The same commit twice is no mistake, so that one whose answer got lost can be written again.
    ///
    /// # Errors
    /// An object is missing or has another size, the parent does not exist, or the store refused.
    pub async fn commit_backup(&self, commit: &Commit) -> Result<(), Error> {
        self.refuse_inconsistent(commit)?;
        if let Some(parent) = &commit.parent
            && self.commit(&commit.cluster, parent).await?.is_none()
        {
            return Err(refused(
                commit,
                format!("its parent {parent} does not exist"),
            ));
        }
        let part = |part: &Part| commit.cluster.part(&commit.backup, &part.name);
        let parts = commit.parts.iter().map(|it| (part(it), it.bytes));
        let files = commit.relation_files.as_ref();
        let files = files.map(|object| (commit.data_path(RELATION_FILES), object.bytes));
        let manifest = (commit.manifest_path(), commit.manifest.bytes);
        let looks: Vec<_> = parts
            .chain(files)
            .chain([manifest])
            .map(|(path, bytes)| self.look(commit, path, bytes))
            .collect();
        stream::iter(looks)
            .buffer_unordered(LOOKS_MAX)
            .try_collect::<()>()
            .await?;
        let path = commit.cluster.commit(&commit.backup);
        self.create_json(&path, commit).await.map(drop)
    }

    /// What could never be restored is not committed.
    fn refuse_inconsistent(&self, commit: &Commit) -> Result<(), Error> {
        let names: BTreeSet<&str> = commit.parts.iter().map(|part| part.name.as_str()).collect();
        let problem = if commit.format != FORMAT {
            format!("its format is {}", commit.format)
        } else if commit.parts.is_empty() {
            "it has no parts".to_owned()
        } else if names.len() != commit.parts.len() {
            "two of its parts have the same name".to_owned()
        } else if commit.stop.lsn < commit.start.lsn {
            "it stops before it starts".to_owned()
        } else if commit
            .parts
            .iter()
            .any(|part| part.name.ends_with(SUFFIX) != commit.sealed())
        {
            "a part is sealed or clear where the others are not".to_owned()
        } else if (commit.kind == BackupKind::Incremental) != commit.parent.is_some() {
            "only an incremental backup has a parent, and needs one".to_owned()
        } else {
            return Ok(());
        };
        Err(refused(commit, problem))
    }

    async fn look(&self, commit: &Commit, path: String, bytes: u64) -> Result<(), Error> {
        match self.store.head(&ObjectPath::from(path.as_str())).await {
            Ok(there) if there.size == bytes => Ok(()),
            Ok(there) => Err(refused(
                commit,
                format!(
                    "\"{path}\" has {} bytes there instead of {bytes}",
                    there.size
                ),
            )),
            Err(object_store::Error::NotFound { .. }) => {
                Err(refused(commit, format!("\"{path}\" is not there")))
            }
            Err(source) => Err(self.failed("read", &path, source)),
        }
    }
}

fn refused(commit: &Commit, problem: String) -> Error {
    let primary = format!("backup \"{}\" was not committed", commit.backup);
    let report = Report::new(Kind::Refused, primary)
        .with_detail(problem)
        .with_hint("pawang backup create");
    Error::Refused(Box::new(report))
}
