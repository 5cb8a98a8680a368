//! What the daemon knows right now, in memory: the newest sighting of everything, and how observing goes.
//!
//! The daemon writes it, dashboard and exporter read it; nobody asks a server on behalf of a reader.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use pawang_core::alert::AlertsPresent;
use pawang_core::backup::BackupFacts;
use pawang_core::plan::{Outcome, Plan};
use pawang_core::{Blind, Evaluation, Facts, Instance, Report, Snapshot, Timestamp};
use serde::Serialize;
use tokio::sync::watch;

/// The present of the whole estate.
pub struct Live {
    estate: RwLock<BTreeMap<String, Arc<Present>>>,
    daemon: RwLock<Arc<DaemonStatus>>,
    alerts: RwLock<Arc<AlertsPresent>>,
    logs: RwLock<BTreeMap<String, Arc<LogStatus>>>,
    upkeep: RwLock<BTreeMap<String, Arc<Upkeep>>>,
    backups: RwLock<BTreeMap<String, Arc<BackupsPresent>>>,
    changes: watch::Sender<u64>,
}

/// The present of one instance; never changed, only replaced.
#[derive(Clone, Debug)]
pub struct Present {
    /// Which instance.
    pub instance: Instance,
    /// Free texts of the configuration, such as `site = "jakarta"`.
    pub labels: BTreeMap<String, String>,
    /// The newest sighting of every collector and database; `facts.at` is the time of the newest round.
    pub facts: Arc<Facts>,
    /// The newest verdicts, once there are any.
    pub evaluation: Option<Arc<Evaluation>>,
    /// Since when each open finding is open, by fingerprint.
    pub since: Arc<BTreeMap<String, Timestamp>>,
    /// How each collector is doing, by name.
    pub collectors: Arc<[CollectorStatus]>,
    /// What observing costs the server.
    pub budget: BudgetStatus,
    /// The newest samples of active sessions, oldest first, at most some minutes: collector `activity-samples`.
    pub activity: Arc<[Arc<Snapshot>]>,
    /// When the server last answered.
    pub answered_at: Option<Timestamp>,
}

/// How one collector is doing on one instance, all its databases together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CollectorStatus {
    /// The collector's name.
    pub name: String,
    /// The interval that its header asks for.
    pub interval: Duration,
    /// The interval in force, longer under pressure.
    pub interval_now: Duration,
    /// When it was asked last.
    pub asked_at: Option<Timestamp>,
    /// What asking cost last, from the first statement to the last row.
    pub elapsed: Duration,
    /// Rows received last.
    pub rows: usize,
    /// Share of one core of the server over the last minutes, in percent.
    pub percent: f64,
    /// How often it was asked.
    pub runs: u64,
    /// How often it saw nothing though it should have.
    pub failures: u64,
    /// Why it saw nothing last time.
    pub blind: Option<Blind>,
}

/// What observing one instance costs its server, against what it may cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BudgetStatus {
    /// Share of one core that may be used, in percent.
    pub limit_percent: f64,
    /// Share of one core that was used over the last minutes, in percent.
    pub used_percent: f64,
    /// How many times longer than asked for intervals are, to keep the budget; 1 when nothing is held back.
    pub stretch: f64,
    /// Why intervals are longer, for people.
    pub note: Option<String>,
}

/// How reading the log of one instance goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LogStatus {
    /// Why it is not read; what was read before stays.
    pub blind: Option<Blind>,
    /// Where its files are.
    pub directory: Option<PathBuf>,
    /// The files that may still be there, those that were written first before the others.
    pub files: Vec<PathBuf>,
    /// `log_line_prefix`, where the server tells it.
    pub prefix: Option<String>,
    /// `log_timezone`, where the server tells it.
    pub zone: Option<String>,
    /// When it was looked for something new last.
    pub read_at: Option<Timestamp>,
    /// Bytes that were read since the daemon started.
    pub bytes: u64,
    /// Records that were read since the daemon started.
    pub records: u64,
    /// Bytes that are there and were not read yet.
    pub behind_bytes: u64,
    /// Files of which something was not read, with why.
    pub troubles: Vec<String>,
    /// How far each file was read, the newest ones last.
    pub positions: Vec<LogPosition>,
    /// Files that were gone before all of them was read.
    pub lost_files: usize,
    /// At least so many bytes of them were not read.
    pub lost_bytes: u64,
    /// What went wrong last, also when it is right again.
    pub last_error: Option<LogError>,
}

/// How far a file of a log was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogPosition {
    /// Its name.
    pub name: String,
    /// Its bytes on disk.
    pub bytes: u64,
    /// Where the next record begins, in what it unpacks to.
    pub read_to: u64,
    /// Whether it is compressed.
    pub compressed: bool,
    /// Whether nothing of it is left to be read.
    pub whole: bool,
}

/// What went wrong with a log, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogError {
    /// When it was so last.
    pub at: Timestamp,
    /// What.
    pub what: String,
}

/// How the daemon itself is doing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DaemonStatus {
    /// Pawang's version.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// The configuration file, if there is one.
    pub config_file: Option<PathBuf>,
    /// When the configuration in force was read.
    pub config_loaded_at: Timestamp,
    /// Why the newest configuration was refused; the one before is in force.
    pub config_refused: Option<Report>,
    /// How the store is doing.
    pub store: StoreStatus,
    /// Resident memory of the daemon, in bytes.
    pub memory_bytes: u64,
    /// CPU time of the daemon since its start.
    pub cpu_time: Duration,
    /// How each remote store is doing.
    pub remote_writes: Vec<RemoteWriteStatus>,
    /// Things to know, such as a history file that was set aside because it was damaged.
    pub notes: Vec<String>,
}

/// How the store is doing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StoreStatus {
    /// The data directory.
    pub directory: PathBuf,
    /// Size of the history and state files.
    pub bytes: u64,
    /// Snapshots that wait in memory for the disk.
    pub waiting_snapshots: usize,
    /// Memory that they take.
    pub waiting_bytes: usize,
    /// Snapshots that were dropped because memory ran out while the disk refused.
    pub dropped_snapshots: u64,
    /// Since when and why nothing can be written.
    pub trouble: Option<Report>,
    /// When something was last written for good.
    pub committed_at: Option<Timestamp>,
}

/// What is due on one instance, when it will be done, and what is being done.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Upkeep {
    /// What would be done now, were a window open: a draft, whose objects are looked at again before anything is done.
    pub plan: Option<Arc<Plan>>,
    /// Why nothing could be planned.
    pub trouble: Option<Report>,
    /// The policies that concern the instance.
    pub policies: Vec<PolicyStatus>,
    /// What is being done.
    pub running: Option<Running>,
}

/// What is known of the backups of one instance, when they are taken, and what is being done.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BackupsPresent {
    /// What is in the repositories.
    pub facts: Arc<BackupFacts>,
    /// The window as the configuration writes it; without one only people take backups.
    pub window: Option<String>,
    /// Until when the window is open now.
    pub open_until: Option<Timestamp>,
    /// When it opens next.
    pub opens_at: Option<Timestamp>,
    /// What is being done.
    pub running: Vec<BackupWork>,
}

/// One kind of work on backups while it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackupWork {
    /// The work: `backup`, `wal`, `expire`, `verify`, `drill`.
    pub work: String,
    /// The repository.
    pub repository: String,
    /// Since when.
    pub since: Timestamp,
    /// How far it is, in words; empty when nobody can tell.
    pub progress: String,
}

/// When a policy runs on one instance.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PolicyStatus {
    /// Its name.
    pub name: String,
    /// Its window as the configuration writes it; without one only people apply it.
    pub window: Option<String>,
    /// Until when the window is open now.
    pub open_until: Option<Timestamp>,
    /// When it opens next.
    pub opens_at: Option<Timestamp>,
    /// When it was applied last since the daemon started.
    pub applied_at: Option<Timestamp>,
    /// What came of it.
    pub outcome: Option<Arc<Outcome>>,
    /// Why it could not be applied at all.
    pub trouble: Option<Report>,
}

/// A plan while it is applied.
#[derive(Clone, Debug, Serialize)]
pub struct Running {
    /// The policy.
    pub policy: String,
    /// The hash of the plan.
    pub plan: String,
    /// Since when.
    pub since: Timestamp,
    /// Actions of the plan.
    pub actions: usize,
    /// Actions that ended.
    pub ended: usize,
    /// What runs now: the action and how far it is, in words.
    pub now: BTreeMap<String, String>,
}

/// How one remote store is doing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RemoteWriteStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Samples that it has acknowledged.
    pub samples_sent: u64,
    /// Bytes that wait on disk.
    pub waiting_bytes: u64,
    /// Samples dropped because the queue was full or the store refused them for good.
    pub samples_dropped: u64,
    /// Why the last attempt did not work out.
    pub trouble: Option<String>,
}

impl Default for Live {
    fn default() -> Live {
        Live {
            estate: RwLock::default(),
            daemon: RwLock::default(),
            alerts: RwLock::default(),
            logs: RwLock::default(),
            upkeep: RwLock::default(),
            backups: RwLock::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl Live {
    /// Returns the present of one instance.
    pub fn instance(&self, name: &str) -> Option<Arc<Present>> {
        let estate = self.estate.read().unwrap_or_else(PoisonError::into_inner);
        estate.get(name).cloned()
    }

    /// Returns the present of all instances, by name.
    pub fn instances(&self) -> Vec<Arc<Present>> {
        let estate = self.estate.read().unwrap_or_else(PoisonError::into_inner);
        estate.values().cloned().collect()
    }

    /// Replaces the present of one instance and tells whoever watches.
    pub fn put(&self, present: Present) {
        let name = present.instance.name.clone();
        let mut estate = self.estate.write().unwrap_or_else(PoisonError::into_inner);
        estate.insert(name, Arc::new(present));
        drop(estate);
        self.changed();
    }

    /// Forgets the present of an instance that is no longer looked after.
    pub fn remove(&self, name: &str) {
        let mut estate = self.estate.write().unwrap_or_else(PoisonError::into_inner);
        estate.remove(name);
        drop(estate);
        let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
        logs.remove(name);
        drop(logs);
        let mut upkeep = self.upkeep.write().unwrap_or_else(PoisonError::into_inner);
        upkeep.remove(name);
        drop(upkeep);
        self.put_backups(name, None);
    }

    /// Returns how reading the log of an instance goes; none when nobody reads it.
    pub fn log(&self, name: &str) -> Option<Arc<LogStatus>> {
        let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
        logs.get(name).cloned()
    }

    /// Replaces how reading the log of an instance goes; none when nobody reads it any more.
    pub fn put_log(&self, name: &str, status: Option<LogStatus>) {
        let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
        match status {
            Some(status) => logs.insert(name.to_owned(), Arc::new(status)),
            None => logs.remove(name),
        };
        drop(logs);
        self.changed();
    }

    /// Returns how the daemon is doing.
    pub fn daemon(&self) -> Arc<DaemonStatus> {
        let daemon = self.daemon.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&daemon)
    }

    /// Replaces how the daemon is doing.
    pub fn put_daemon(&self, status: DaemonStatus) {
        let mut daemon = self.daemon.write().unwrap_or_else(PoisonError::into_inner);
        *daemon = Arc::new(status);
        drop(daemon);
        self.changed();
    }

    /// Returns what is due and being done on one instance.
    pub fn upkeep(&self, name: &str) -> Option<Arc<Upkeep>> {
        let upkeep = self.upkeep.read().unwrap_or_else(PoisonError::into_inner);
        upkeep.get(name).cloned()
    }

    /// Replaces what is due and being done on one instance.
    pub fn put_upkeep(&self, name: &str, status: Upkeep) {
        let mut upkeep = self.upkeep.write().unwrap_or_else(PoisonError::into_inner);
        upkeep.insert(name.to_owned(), Arc::new(status));
        drop(upkeep);
        self.changed();
    }

    /// Returns what is known of the backups of one instance; none when no repository holds any.
    pub fn backups(&self, name: &str) -> Option<Arc<BackupsPresent>> {
        let backups = self.backups.read().unwrap_or_else(PoisonError::into_inner);
        backups.get(name).cloned()
    }

    /// Replaces what is known of the backups of one instance; none when no repository holds any now.
    pub fn put_backups(&self, name: &str, present: Option<BackupsPresent>) {
        let mut backups = self.backups.write().unwrap_or_else(PoisonError::into_inner);
        match present {
            Some(present) => backups.insert(name.to_owned(), Arc::new(present)),
            None => backups.remove(name),
        };
        drop(backups);
        self.changed();
    }

    /// Returns what is to know of alerts.
    pub fn alerts(&self) -> Arc<AlertsPresent> {
        let alerts = self.alerts.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&alerts)
    }

    /// Replaces what is to know of alerts and tells whoever watches.
    pub fn put_alerts(&self, present: AlertsPresent) {
        let mut alerts = self.alerts.write().unwrap_or_else(PoisonError::into_inner);
        *alerts = Arc::new(present);
        drop(alerts);
        self.changed();
    }

    /// Returns a receiver that sees a new number after every change.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}
