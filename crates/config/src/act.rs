//! The part of `pawang.toml` about changing servers.

use std::path::PathBuf;
use std::time::Duration;

use pawang_core::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::{Period, Size};

/// How Pawang behaves while it changes a server.
///
/// Over a limit no new work begins until the server has recovered; at `hard_factor` times the limit (free disk: the
/// limit divided by it) Pawang cancels what it runs itself. It never cancels the work of others to make room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ActConfig {
    /// Actions that run at the same time; two never touch the same table.
    #[schemars(range(min = 1, max = 16))]
    pub lanes: u32,
    /// While this file exists nothing begins and everything that runs is cancelled.
    pub stop_file: Option<PathBuf>,
    /// How long an action waits for the server to recover, or for old transactions to end, before it is left out; the
    /// end of the window comes first.
    pub patience: Period,
    /// How long others may wait for a lock that VACUUM, ANALYZE or a concurrent action holds before it gives way.
    pub give_way: Period,
    /// Most that a standby may be behind in replay.
    pub replica_lag: Size,
    /// Most sessions of others that run a statement at the same time.
    #[schemars(range(min = 1))]
    pub active_sessions: u32,
    /// Most WAL per second, from all sources.
    pub wal_rate: Size,
    /// Least free space of the data directory, besides twice what the action itself needs; only known on this machine.
    pub free_disk: Size,
    /// Most WAL files that wait to be archived.
    #[schemars(range(min = 1))]
    pub archive_backlog: u32,
    /// Most space of temporary files.
    pub temporary_files: Size,
    /// Whether actions wait while a base backup runs.
    pub wait_for_base_backup: bool,
    /// How many times a limit must be passed for running work to be cancelled.
    #[schemars(range(min = 1.0, max = 100.0))]
    pub hard_factor: f64,
    /// Roles whose sessions are never cancelled or terminated, with `*`.
    pub protected_roles: Vec<String>,
    /// Applications (`application_name`) whose sessions are never cancelled or terminated, with `*`.
    ///
    /// Sessions of backup programs and of Pawang itself never are, whatever stands here.
    pub protected_applications: Vec<String>,
    /// How many sessions `pawang session terminate --blockers` may end at once, however few there are.
    #[schemars(range(min = 0, max = 10000))]
    pub terminate_sessions_max: u32,
    /// Up to which share of all client sessions it may go beyond that, in percent.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub terminate_percent_max: f64,
}

impl Default for ActConfig {
    fn default() -> ActConfig {
        ActConfig {
            lanes: 2,
            stop_file: None,
            patience: Period(Duration::from_secs(30 * 60)),
            give_way: Period(Duration::from_secs(1)),
            replica_lag: Size(ByteSize(1 << 30)),
            active_sessions: 100,
            wal_rate: Size(ByteSize(256 << 20)),
            free_disk: Size(ByteSize(5 << 30)),
            archive_backlog: 256,
            temporary_files: Size(ByteSize(50 << 30)),
            wait_for_base_backup: true,
            hard_factor: 2.0,
            protected_roles: Vec::new(),
            protected_applications: Vec::new(),
            terminate_sessions_max: 3,
            terminate_percent_max: 5.0,
        }
    }
}
