//! The parts of the report about the server itself: checkpoints, vacuum, events, crashes.

use std::collections::BTreeMap;

use pawang_core::Level;
use serde::{Deserialize, Serialize};

use super::{Durations, Series, Top};

/// Checkpoints and restartpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checkpoints {
    /// Completed.
    pub count: u64,
    /// Of them restartpoints.
    pub restartpoints: u64,
    /// Starts by reason: `time`, `wal`, `immediate force wait`, ...
    pub reasons: BTreeMap<String, u64>,
    /// Warnings that they come too often.
    pub too_frequent: u64,
    /// The whole time.
    pub total: Durations,
    /// Time of writing.
    pub write: Durations,
    /// Time of syncing.
    pub sync: Durations,
    /// Longest sync of one file.
    pub longest_sync: u64,
    /// Buffers written.
    pub buffers: u64,
    /// WAL files added, removed, recycled.
    pub added: u64,
    /// See `added`.
    pub removed: u64,
    /// See `added`.
    pub recycled: u64,
    /// Bytes of WAL between checkpoints, summed.
    pub distance: u64,
    /// The largest distance.
    pub distance_max: u64,
    /// The largest estimate.
    pub estimate_max: u64,
    /// Completed per bucket of time.
    pub series: Series,
    /// Buffers per bucket of time.
    pub buffers_series: Series,
}

/// Vacuum and analyze by autovacuum.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vacuums {
    /// Automatic vacuums.
    pub vacuums: u64,
    /// Of them aggressive.
    pub aggressive: u64,
    /// Of them to prevent wraparound.
    pub wraparound: u64,
    /// Automatic analyzes.
    pub analyzes: u64,
    /// Cancelled by somebody's lock.
    pub cancelled: u64,
    /// By table, most time first.
    pub tables: Top<VacuumedTable>,
    /// Time of vacuums.
    pub elapsed: Durations,
    /// Vacuums per bucket of time.
    pub series: Series,
}

/// One table, as `database.schema.table`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VacuumedTable {
    /// Its name.
    pub table: String,
    /// Vacuums.
    pub vacuums: u64,
    /// Analyzes.
    pub analyzes: u64,
    /// Time of both.
    pub elapsed: u64,
    /// Rows removed.
    pub removed: u64,
    /// Rows that are dead but could not be removed, of the last vacuum.
    pub dead_kept: u64,
    /// Pages removed.
    pub pages_removed: u64,
    /// Scans of indexes; more than one per vacuum means too little maintenance_work_mem.
    pub index_scans: u64,
    /// Buffers dirtied.
    pub dirtied: u64,
    /// Bytes of WAL.
    pub wal_bytes: u64,
    /// When last.
    pub last_at: Option<i64>,
}

/// Events of the whole server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    /// In order of time; level info only for starts, stops, reloads and promotions.
    pub events: Top<ServerEvent>,
    /// Crashes, each with what is known.
    pub crashes: Vec<Crash>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerEvent {
    /// When.
    pub at: Option<i64>,
    /// Its kind.
    pub kind: String,
    /// How bad it is.
    pub level: Level,
    /// The message, redacted.
    pub message: String,
    /// How often it came within the same minute; an event is listed once a minute.
    pub count: u64,
}

/// A crash: what died, of what, and how long the server was away.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Crash {
    /// When the postmaster saw it.
    pub at: Option<i64>,
    /// The process that died.
    pub pid: u32,
    /// What it was: `server process`, `checkpointer process`, ...
    pub process: String,
    /// Signal, or 0.
    pub signal: u32,
    /// Exit code, or 0.
    pub exit_code: u32,
    /// What the server's words mean: `killed from outside, often by the kernel for memory`.
    pub cause: String,
    /// The statement that it was running, normalised.
    pub statement: String,
    /// Who ran it, as far as the log tells.
    pub who: String,
    /// What the log says about memory shortly before.
    pub memory: String,
    /// Sessions that were ended with it.
    pub victims: u64,
    /// When the server accepted connections again.
    pub ready_at: Option<i64>,
}
