//! How the daemon is doing, for `pawang serve status`, the dashboard and systemd.

use pawang_core::alert::ChannelStatus;
use pawang_core::{Level, Timestamp};
use pawang_store::live::{DaemonStatus, Live, LogStatus, Present};
use serde::{Deserialize, Serialize};

/// What `pawang serve status` tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Pawang's version.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// Where the dashboard is.
    pub address: String,
    /// The configuration file, if there is one.
    pub config_file: Option<String>,
    /// When the configuration in force was read.
    pub config_loaded_at: Timestamp,
    /// Why the newest configuration was refused; the one before is in force.
    pub config_refused: Option<String>,
    /// The data directory.
    pub data_directory: String,
    /// What history and state take on disk.
    pub store_bytes: u64,
    /// When something was last written for good.
    pub committed_at: Option<Timestamp>,
    /// Snapshots that wait in memory for the disk.
    pub waiting_snapshots: usize,
    /// Snapshots that were dropped.
    pub dropped_snapshots: u64,
    /// Why nothing can be written.
    pub store_trouble: Option<String>,
    /// Resident memory in bytes.
    pub memory_bytes: u64,
    /// CPU time since the start, in seconds.
    pub cpu_seconds: f64,
    /// Things to know.
    pub notes: Vec<String>,
    /// How each channel is doing.
    #[serde(default)]
    pub channels: Vec<ChannelStatus>,
    /// Every instance.
    pub instances: Vec<InstanceStatus>,
}

/// One instance of `pawang serve status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct InstanceStatus {
    /// Its name.
    pub name: String,
    /// When the server last answered.
    pub answered_at: Option<Timestamp>,
    /// Why it does not answer now.
    pub silent: Option<String>,
    /// Its worst level; `None` before the first evaluation.
    pub level: Option<Level>,
    /// How many checks are critical.
    pub critical: usize,
    /// How many checks warn.
    pub warning: usize,
    /// How many checks could not see.
    pub unknown: usize,
    /// What observing costs the server, in percent of one core.
    pub cost_percent: f64,
    /// What it may cost.
    pub budget_percent: f64,
    /// Why intervals are longer than asked for.
    pub budget_note: Option<String>,
    /// How reading its log goes; none when nobody reads it.
    #[serde(default)]
    pub log: Option<LogReading>,
}

/// How reading a log goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LogReading {
    /// Where its files are.
    pub directory: Option<String>,
    /// When it was looked for something new last.
    pub read_at: Option<Timestamp>,
    /// Records that were read since the daemon started.
    pub records: u64,
    /// Bytes that are there and were not read yet.
    pub behind_bytes: u64,
    /// Why it is not read, or what of it was not.
    pub trouble: Option<String>,
}

/// Returns what `pawang serve status` tells.
pub(super) fn status(live: &Live, address: &str) -> Status {
    let daemon: &DaemonStatus = &live.daemon();
    let alerts = live.alerts();
    let line = |report: &pawang_core::Report| match &report.detail {
        Some(detail) => format!("{}: {detail}", report.primary),
        None => report.primary.clone(),
    };
    Status {
        version: daemon.version.clone(),
        pid: std::process::id(),
        started_at: daemon.started_at,
        address: address.to_owned(),
        config_file: daemon
            .config_file
            .as_ref()
            .map(|path| path.display().to_string()),
        config_loaded_at: daemon.config_loaded_at,
        config_refused: daemon.config_refused.as_ref().map(line),
        data_directory: daemon.store.directory.display().to_string(),
        store_bytes: daemon.store.bytes,
        committed_at: daemon.store.committed_at,
        waiting_snapshots: daemon.store.waiting_snapshots,
        dropped_snapshots: daemon.store.dropped_snapshots,
        store_trouble: daemon.store.trouble.as_ref().map(line),
        memory_bytes: daemon.memory_bytes,
        cpu_seconds: daemon.cpu_time.as_secs_f64(),
        notes: daemon.notes.iter().chain(&alerts.notes).cloned().collect(),
        channels: alerts.channels.clone(),
        instances: live
            .instances()
            .iter()
            .map(|present| instance(present, live))
            .collect(),
    }
}

fn log(status: &LogStatus) -> LogReading {
    let blind = status.blind.as_ref().map(|blind| blind.sentence());
    LogReading {
        directory: status
            .directory
            .as_ref()
            .map(|path| path.display().to_string()),
        read_at: status.read_at,
        records: status.records,
        behind_bytes: status.behind_bytes,
        trouble: blind.or_else(|| status.troubles.first().cloned()),
    }
}

fn instance(present: &Present, live: &Live) -> InstanceStatus {
    let evaluation = present.evaluation.as_deref();
    let count = |level: Level| evaluation.map_or(0, |evaluation| evaluation.count(level));
    InstanceStatus {
        name: present.instance.name.clone(),
        answered_at: present.answered_at,
        silent: present
            .facts
            .server
            .as_ref()
            .err()
            .map(|blind| blind.sentence()),
        level: evaluation.map(|evaluation| evaluation.level()),
        critical: count(Level::Critical),
        warning: count(Level::Warning),
        unknown: count(Level::Unknown),
        cost_percent: present.budget.used_percent,
        budget_percent: present.budget.limit_percent,
        budget_note: present.budget.note.clone(),
        log: live.log(&present.instance.name).map(|status| log(&status)),
    }
}
