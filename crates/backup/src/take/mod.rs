//! Backups are taken: pages are checked and files compared with the manifest while they pass, and the WAL that makes them
//! consistent is durable before the backup exists (invariant I1).

pub mod checksum;
mod contact;
mod contents;
mod crew;
mod cut;
mod keep;
mod lanes;
mod line;
mod local;
pub mod manifest;
mod parent;
mod preflight;
mod protocol;
pub(crate) mod recheck;
pub mod relation_file;
mod relations;
mod run;
mod secure;
mod source;
pub mod tar;
mod way;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pawang_core::{ByteSize, Lsn};
use pawang_postgres::Target;

pub use cut::Geometry;
pub use lanes::{LANES, missing_grants};
pub(crate) use local::list::RELATION_FILES;
pub use preflight::full;
pub use run::take;
pub(crate) use source::read_or_zero;

use crate::repository::{BackupId, Mode, Rate, Repository};

/// Threads that compress unless told otherwise: one reader keeps about as many busy.
pub const THREADS: NonZeroUsize = NonZeroUsize::new(2).expect("two is not zero");
/// A file of a relation has at most so many bytes; a server that was built otherwise is refused.
pub(crate) const RELATION_FILE_BYTES: u32 = 1 << 30;
/// How long WAL may take that somebody else brings, before the backup fetches it by itself.
pub const WAL_WAIT: Duration = Duration::from_secs(60);

/// What backup is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// An incremental one where that is possible, else a full one.
    #[default]
    Auto,
    /// A full one.
    Full,
    /// An incremental one, or none.
    Incremental,
}

/// How files are to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// From the data directory where that is possible and costs no more, else by the replication protocol.
    #[default]
    Auto,
    /// By the replication protocol.
    Protocol,
    /// From the data directory, or not at all.
    Local,
    /// Over several SQL connections, or not at all.
    Lanes,
}

/// What to take, from where, and into what.
#[derive(Clone, Debug)]
pub struct TakeRequest {
    /// The server, and a role with REPLICATION or with the grants that lanes need.
    pub target: Target,
    /// The instance's name in the estate.
    pub instance: String,
    /// Where to.
    pub repository: Repository,
    /// The new backup's name.
    pub backup: BackupId,
    /// Who takes it, for leases: a random word, the machine and the process.
    pub owner: Owner,
    /// Which kind.
    pub wanted: Wanted,
    /// How its files are read.
    pub reading: Reading,
    /// Whether the cluster of this instance may be another one than before.
    pub new_identity: bool,
    /// Whether the checkpoint before it is made at once rather than spread.
    pub checkpoint_fast: bool,
    /// How many bytes a second are read, or sent by the server.
    pub rate_max: Option<ByteSize>,
    /// How many bytes a second go to the repository.
    pub store_rate: Option<Arc<Rate>>,
    /// How much the repository may hold, of all clusters; none is begun beyond that.
    pub space: Option<ByteSize>,
    /// Connections that read files, where they are read over SQL.
    pub lanes: NonZeroUsize,
    /// Threads that compress.
    pub threads: NonZeroUsize,
    /// How long to wait for WAL that somebody else brings.
    pub wal_wait: Duration,
    /// The program, with its version.
    pub tool: String,
    /// The clock.
    pub clock: fn() -> Timestamp,
}

/// Who takes a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// A random word.
    pub word: String,
    /// The machine, its boot and its space of process numbers: see [`crate::repository::LeaseFacts::host`].
    pub host: String,
    /// The process on it.
    pub pid: u32,
}

/// What happens while a backup is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// How the files are read, and where from or why so.
    Reads(Mode, String),
    /// The server makes a checkpoint first.
    Checkpoint,
    /// The backup began.
    Started {
        /// Where replay begins.
        start: Lsn,
        /// The estimated size of everything.
        estimate: Option<ByteSize>,
    },
    /// So much came.
    Came(ByteSize),
    /// All came; WAL up to a position is still missing in the repository.
    Wal {
        /// Where the data becomes consistent.
        stop: Lsn,
        /// Whether the backup fetches it by itself.
        fetching: bool,
    },
    /// Something that a person should know, which is no error.
    Note(String),
}
