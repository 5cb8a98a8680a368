//! Logical dumps of databases and roles, by the client programs of PostgreSQL, in the same repository as backups.
//!
//! `cluster/<id>/dump/<ulid>/` holds `globals.sql.zst`, one `<number>.dump.zst` for each database, in the custom format of
//! `pg_dump`, and `COMMIT.json`, which is written last: without it there is no dump.

mod client;
mod create;
mod expire;
mod read;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::repository::{BackupId, ClusterId, Object, Repository};
use crate::{Error, repository};

pub use client::{Client, client};
pub use create::{DumpRequest, create};
pub use expire::{DumpFate, expire};
pub use read::{RestoreRequest, has_to_be_made, restore, verify};

/// The object with roles and tablespaces.
const GLOBALS: &str = "globals.sql.zst";
const COMMIT: &str = "COMMIT.json";
/// The lease that keeps others from dumping and expiring at the same time.
pub(crate) const LEASE: &str = "dump";

/// A dump that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dump {
    /// [`repository::FORMAT`].
    pub format: u32,
    /// Its name.
    pub dump: BackupId,
    /// What people call the server.
    pub instance: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// `server_version_num`.
    pub server_version: u32,
    /// What made it, with its version: `pg_dump (PostgreSQL) 15.14`.
    pub program: String,
    /// Roles and tablespaces; none when they were not wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub globals: Option<Dumped>,
    /// Whether passwords of roles are in it: only a superuser may read them.
    pub passwords: bool,
    /// The databases.
    pub databases: Vec<Dumped>,
    /// The program that kept it, with its version.
    pub tool: String,
}

/// One stream of a dump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dumped {
    /// The database; empty for what belongs to no database.
    pub database: String,
    /// The name of the object; it ends in `.age` where it is encrypted.
    pub name: String,
    /// Bytes before compression.
    pub raw_bytes: u64,
    /// What is stored.
    #[serde(flatten)]
    pub stored: Object,
    /// `ENCODING` of the database.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub encoding: String,
    /// `LC_COLLATE` and `LC_CTYPE` of the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<(String, String)>,
}

impl Dump {
    /// Returns how much is stored.
    pub fn stored_bytes(&self) -> u64 {
        let all = self.databases.iter().chain(&self.globals);
        all.map(|dumped| dumped.stored.bytes).sum()
    }
}

impl Repository {
    /// Returns the dumps of a cluster, oldest first.
    ///
    /// # Errors
    /// The store could not say, or a commit cannot be read.
    pub async fn dumps(&self, cluster: &ClusterId) -> Result<Vec<Dump>, Error> {
        let mut dumps = Vec::new();
        for entry in self.list(&folder_of_all(cluster)).await? {
            if !entry.path.ends_with(COMMIT) {
                continue;
            }
            let read: Option<Dump> = self.read_json(&entry.path).await?;
            if let Some(dump) = read {
                if dump.format > repository::FORMAT {
                    let problem = format!("it has format {}", dump.format);
                    return Err(self.wrong(&entry.path, problem));
                }
                dumps.push(dump);
            }
        }
        dumps.sort_by(|a, b| a.dump.cmp(&b.dump));
        Ok(dumps)
    }
}

pub(crate) fn folder_of_all(cluster: &ClusterId) -> String {
    format!("{}/dump", cluster.folder())
}

fn folder(cluster: &ClusterId, dump: &BackupId) -> String {
    format!("{}/{dump}", folder_of_all(cluster))
}

fn object(cluster: &ClusterId, dump: &BackupId, name: &str) -> String {
    format!("{}/{name}", folder(cluster, dump))
}
