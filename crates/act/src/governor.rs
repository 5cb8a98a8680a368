//! What a server can bear: limits, a sample of its state, and the verdict between go, wait and stop. Pure but for the
//! statements that it names.

use std::path::PathBuf;
use std::time::Duration;

use pawang_config::ActConfig;
use pawang_core::{ByteSize, Lsn, Value};
use pawang_postgres::Rows;

/// How much the server, and others who use it, are burdened at most.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// While this file exists nothing begins and everything that runs is cancelled.
    pub stop_file: Option<PathBuf>,
    /// How long an action waits before it is left out.
    pub patience: Duration,
    /// How long others may wait for VACUUM, ANALYZE or a concurrent action before it gives way.
    pub give_way: Duration,
    /// Most that a standby may be behind in replay.
    pub replica_lag: ByteSize,
    /// Most sessions of others that run a statement.
    pub active_sessions: u64,
    /// Most WAL per second.
    pub wal_rate: ByteSize,
    /// Least free space of the data directory.
    pub free_disk: ByteSize,
    /// Most WAL files that wait to be archived.
    pub archive_backlog: u64,
    /// Most space of temporary files.
    pub temporary_files: ByteSize,
    /// Whether actions wait while a base backup runs.
    pub wait_for_base_backup: bool,
    /// How many times a limit must be passed for running work to be cancelled.
    pub hard_factor: f64,
}

impl From<&ActConfig> for Limits {
    fn from(config: &ActConfig) -> Limits {
        Limits {
            stop_file: config.stop_file.clone(),
            patience: config.patience.0,
            give_way: config.give_way.0,
            replica_lag: config.replica_lag.0,
            active_sessions: u64::from(config.active_sessions),
            wal_rate: config.wal_rate.0,
            free_disk: config.free_disk.0,
            archive_backlog: u64::from(config.archive_backlog),
            temporary_files: config.temporary_files.0,
            wait_for_base_backup: config.wait_for_base_backup,
            hard_factor: config.hard_factor,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::from(&ActConfig::default())
    }
}

/// The state of a server at one instant; `None` is "nobody knows", never "enough".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// How far the slowest standby is behind.
    pub replica_lag: Option<u64>,
    /// Standbys that stream.
    pub standbys: Option<u64>,
    /// Sessions of others that run a statement.
    pub active_sessions: Option<u64>,
    /// Where WAL is written.
    pub wal: Option<Lsn>,
    /// WAL per second since the sample before.
    pub wal_rate: Option<u64>,
    /// Free space of the data directory.
    pub free_disk: Option<u64>,
    /// WAL files that wait to be archived.
    pub archive_backlog: Option<u64>,
    /// Space of temporary files.
    pub temporary_files: Option<u64>,
    /// Base backups that run.
    pub base_backups: Option<u64>,
}

/// What a sample means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Work goes on.
    Go,
    /// No new work begins, with the reason.
    Wait(String),
    /// What runs is cancelled, with the reason; new work waits.
    Cancel(String),
}

/// Counts of what everybody may see, and of what `pg_monitor` may; columns that the role may not see are NULL.
pub(crate) const LOAD: &str = "SELECT
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity AS a
        WHERE a.state = 'active' AND a.backend_type = 'client backend'
            AND NOT pg_catalog.starts_with(a.application_name, 'pawang:')) AS active_sessions,
    pg_catalog.pg_current_wal_insert_lsn() AS wal,
    (SELECT pg_catalog.max(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), r.replay_lsn))::pg_catalog.int8
        FROM pg_catalog.pg_stat_replication AS r
        WHERE r.state IN ('streaming', 'catchup') AND r.replay_lsn IS NOT NULL) AS replica_lag,
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication AS r WHERE r.state = 'streaming') AS standbys,
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_progress_basebackup) AS base_backups";

/// What only `pg_monitor` may see.
pub(crate) const FILES: &str = "SELECT
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_ls_archive_statusdir() AS f
        WHERE f.name LIKE '%.ready') AS archive_backlog,
    (SELECT COALESCE(pg_catalog.sum(f.size), 0)::pg_catalog.int8 FROM pg_catalog.pg_ls_tmpdir() AS f) AS temporary_files";

impl Sample {
    /// Takes over what [`LOAD`] returned.
    pub(crate) fn load(&mut self, rows: &Rows) {
        let Some(row) = rows.rows.first() else { return };
        self.active_sessions = number(row.first());
        self.wal = number(row.get(1)).map(Lsn);
        self.replica_lag = number(row.get(2));
        self.standbys = number(row.get(3));
        self.base_backups = number(row.get(4));
    }

    /// Takes over what [`FILES`] returned.
    pub(crate) fn files(&mut self, rows: &Rows) {
        let Some(row) = rows.rows.first() else { return };
        self.archive_backlog = number(row.first());
        self.temporary_files = number(row.get(1));
    }

    /// Computes the rate of WAL since an earlier sample.
    pub(crate) fn rate(&mut self, earlier: &Sample, elapsed: Duration) {
        if let (Some(now), Some(then)) = (self.wal, earlier.wal) {
            let written = now.0.saturating_sub(then.0) as f64;
            let seconds = elapsed.as_secs_f64().max(0.001);
            self.wal_rate = Some((written / seconds) as u64);
        }
    }

    /// Returns what nobody knows about the server, for people.
    pub fn unseen(&self) -> Vec<&'static str> {
        [
            (self.free_disk.is_none(), "free disk space"),
            (self.archive_backlog.is_none(), "archive backlog"),
            (self.temporary_files.is_none(), "temporary files"),
        ]
        .into_iter()
        .filter_map(|(unseen, what)| unseen.then_some(what))
        .collect()
    }
}

fn number(value: Option<&Value>) -> Option<u64> {
    value
        .and_then(Value::as_int)
        .map(|number| u64::try_from(number).unwrap_or(0))
}

/// Judges a sample; `standbys` streamed at the beginning, and `needed` bytes of disk are wanted by what runs or begins.
pub fn judge(sample: &Sample, limits: &Limits, standbys: u64, needed: u64) -> Verdict {
    let mut reasons = Vec::new();
    let mut hard = false;
    let bytes = |number: u64| ByteSize(number).to_string();
    let mut above = |what: &str, found: Option<u64>, limit: u64, in_bytes: bool| {
        let Some(found) = found.filter(|found| *found > limit) else {
            return;
        };
        let show = |number: u64| match in_bytes {
            true => bytes(number),
            false => number.to_string(),
        };
        reasons.push(format!("{what} {} (limit {})", show(found), show(limit)));
        hard |= found as f64 > limit as f64 * limits.hard_factor;
    };
    let lag = "the slowest standby is behind by";
    above(lag, sample.replica_lag, limits.replica_lag.0, true);
    let active = "sessions that run a statement:";
    above(
        active,
        sample.active_sessions,
        limits.active_sessions,
        false,
    );
    above("WAL per second:", sample.wal_rate, limits.wal_rate.0, true);
    let backlog = "WAL files that wait to be archived:";
    above(
        backlog,
        sample.archive_backlog,
        limits.archive_backlog,
        false,
    );
    let temporary = limits.temporary_files.0;
    above("temporary files:", sample.temporary_files, temporary, true);
    let wanted = limits.free_disk.0.saturating_add(needed.saturating_mul(2));
    if let Some(free) = sample.free_disk.filter(|free| *free < wanted) {
        reasons.push(format!(
            "free disk space: {} (limit {})",
            bytes(free),
            bytes(wanted)
        ));
        hard |= (free as f64) < limits.free_disk.0 as f64 / limits.hard_factor;
    }
    if sample.standbys.is_some_and(|now| now < standbys) {
        reasons.push("a standby that was connected is not any more".to_owned());
    }
    if limits.wait_for_base_backup && sample.base_backups.is_some_and(|running| running > 0) {
        reasons.push("a base backup runs".to_owned());
    }
    match (reasons.is_empty(), hard) {
        (true, _) => Verdict::Go,
        (false, false) => Verdict::Wait(reasons.join("; ")),
        (false, true) => Verdict::Cancel(reasons.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, Sample, Verdict, judge};

    #[test]
    fn waits_over_a_limit_and_cancels_over_twice_of_it() {
        let quiet = Sample {
            replica_lag: Some(0),
            standbys: Some(1),
            active_sessions: Some(3),
            free_disk: Some(100 << 30),
            ..Sample::default()
        };
        let limits = Limits::default();
        let changed = |change: &dyn Fn(&mut Sample)| {
            let mut sample = quiet.clone();
            change(&mut sample);
            match judge(&sample, &limits, 1, 0) {
                Verdict::Go => ("go", String::new()),
                Verdict::Wait(why) => ("wait", why),
                Verdict::Cancel(why) => ("cancel", why),
            }
        };
        for (change, verdict, why) in [
            (&(|_: &mut Sample| {}) as &dyn Fn(&mut Sample), "go", ""),
            (&|s| s.replica_lag = None, "go", ""),
            (
                &|s| s.replica_lag = Some((1 << 30) + 1),
                "wait",
                "the slowest standby is behind by",
            ),
            (
                &|s| s.replica_lag = Some((2 << 30) + 1),
                "cancel",
                "the slowest standby is behind by",
            ),
            (
                &|s| s.active_sessions = Some(101),
                "wait",
                "sessions that run a statement: 101 (limit 100)",
            ),
            (&|s| s.wal_rate = Some(1 << 30), "cancel", "WAL per second:"),
            (&|s| s.free_disk = Some(4 << 30), "wait", "free disk space:"),
            (
                &|s| s.free_disk = Some(2 << 30),
                "cancel",
                "free disk space:",
            ),
            (
                &|s| s.standbys = Some(0),
                "wait",
                "a standby that was connected is not any more",
            ),
            (&|s| s.base_backups = Some(1), "wait", "a base backup runs"),
        ] {
            let (found, words) = changed(change);
            assert_eq!(found, verdict, "{words}");
            assert!(words.starts_with(why), "{words}");
        }
    }

    #[test]
    fn what_an_action_needs_is_wanted_twice() {
        let sample = Sample {
            free_disk: Some(10 << 30),
            ..Sample::default()
        };
        let limits = Limits::default();
        assert_eq!(judge(&sample, &limits, 0, 2 << 30), Verdict::Go);
        assert!(matches!(
            judge(&sample, &limits, 0, 3 << 30),
            Verdict::Wait(_)
        ));
        let nobody_knows = Sample::default();
        assert_eq!(judge(&nobody_knows, &limits, 0, 3 << 30), Verdict::Go);
        assert!(nobody_knows.unseen().contains(&"free disk space"));
    }
}
