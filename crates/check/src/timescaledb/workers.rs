//! Whether TimescaleDB can run its jobs at all, and which version it is.

use pawang_core::{Blind, Level, Missing, Row, Timestamp, Unit};

use crate::{Check, Direction, Group, Observation, Scope, View};

pub(super) const SCHEDULER: Check = Check {
    id: "timescaledb-scheduler",
    group: Group::Timescaledb,
    title: "job scheduler",
    scope: Scope::Database,
    needs: &["timescaledb-workers"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Whether a database with scheduled jobs has its scheduler process (pg_stat_activity). Critical when jobs are past their \
           start, else information: after a start of the server the launcher takes up to a minute.",
    why: "Without its scheduler no job of the database ever runs: nothing is compressed, dropped or refreshed, and nothing fails.",
    fix: "SELECT _timescaledb_functions.start_background_workers(); (schema _timescaledb_internal before 2.12). When it does not \
          stay: timescaledb in shared_preload_libraries, timescaledb.restoring off, enough timescaledb.max_background_workers.",
    observe: scheduler,
};

pub(super) const BACKGROUND_WORKERS: Check = Check {
    id: "timescaledb-background-workers",
    group: Group::Timescaledb,
    title: "background workers",
    scope: Scope::Server,
    needs: &["timescaledb-workers"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Workers wanted at this moment (the launcher, a scheduler for each database with jobs, jobs that run, jobs two \
           minutes past their start) as a share of timescaledb.max_background_workers or max_worker_processes, whichever is less. \
           Critical when the launcher and the schedulers leave no worker for any job, a warning when jobs wait and all \
           workers are taken, and when the setting is 0, by which jobs are switched off.",
    why: "Jobs without a worker wait silently; a database for which there is no scheduler runs no jobs at all. Parallel queries and \
          logical replication take from the same max_worker_processes.",
    fix: "ALTER SYSTEM SET timescaledb.max_background_workers = ...; ALTER SYSTEM SET max_worker_processes = ...; (at least 3 + \
          timescaledb.max_background_workers + max_parallel_workers), then restart, standbys first.",
    observe: background_workers,
};

pub(super) const RESTORING: Check = Check {
    id: "timescaledb-restoring",
    group: Group::Timescaledb,
    title: "restore mode left on",
    scope: Scope::Database,
    needs: &["timescaledb-workers"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Whether timescaledb.restoring is on in the database, as timescaledb_pre_restore() leaves it until \
           timescaledb_post_restore().",
    why: "In that mode no job runs, and rows and DDL pass by TimescaleDB: after a restore that ended without the last step the \
          database looks healthy and its policies are dead.",
    fix: "SELECT timescaledb_post_restore(); in that database, once the restore is over.",
    observe: restoring,
};

pub(super) const VERSION: Check = Check {
    id: "timescaledb-version",
    group: Group::Timescaledb,
    title: "version of TimescaleDB",
    scope: Scope::Database,
    needs: &["extensions"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "The version of extension timescaledb in the database (pg_extension) against the one that the server's files offer \
           (pg_available_extensions): a warning when they differ.",
    why: "Each version has a library of its own: the database keeps using the old one, without its fixes, until the package \
          removes that file; then every statement on a hypertable fails.",
    fix: "ALTER EXTENSION timescaledb UPDATE; as the first statement of a new session (psql -X), in every database.",
    observe: version,
};

/// Returns the row of one database.
fn here<'a>(view: &View<'a>, database: Option<&str>) -> Result<Row<'a>, Missing> {
    let snapshot = view.facts.snapshot("timescaledb-workers", database)?;
    let none = || Blind::Failed {
        what: "collector \"timescaledb-workers\" returned no row".to_owned(),
    };
    snapshot.first().ok_or_else(|| none().into())
}

fn scheduler(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = here(view, view.database)?;
    let jobs = row.int("scheduled_jobs").unwrap_or(0);
    let waiting = row.int("waiting_jobs").unwrap_or(0);
    let missing = jobs > 0 && row.int("schedulers") == Some(0);
    let since: Option<Timestamp> = row.time("waiting_since");
    let (level, tail) = match (missing, since) {
        (false, _) => (Level::Ok, String::new()),
        (true, None) => (Level::Info, "none is due".to_owned()),
        (true, Some(since)) => {
            let age = Unit::Seconds.show(view.now.duration_since(since).as_secs_f64());
            let tail = format!("{waiting} should have started, the first {age} ago");
            (Level::Critical, tail)
        }
    };
    Ok(vec![Observation {
        value: f64::from(u8::from(missing)),
        level: Some(level),
        title: format!("no scheduler process for {jobs} scheduled jobs: {tail}"),
        since,
        evidence: row.evidence(&[
            "schedulers",
            "launchers",
            "restoring",
            "max_background_workers",
        ]),
        ..Observation::default()
    }])
}

/// What all databases together want.
#[derive(Default)]
struct Demand {
    databases: f64,
    running: f64,
    waiting: f64,
    since: Option<Timestamp>,
    own: Option<f64>,
    all: Option<f64>,
}

fn background_workers(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let mut demand = Demand::default();
    let (mut unseen, mut absent) = (None, None);
    for database in &view.facts.databases {
        match here(view, Some(database)) {
            Ok(row) => demand.add(&row),
            Err(Missing::Blind(blind)) => unseen = Some(Missing::Blind(blind)),
            Err(reason) => absent = Some(reason),
        }
    }
    let found = demand.observation();
    match (found, unseen) {
        (Some(found), None) => Ok(vec![found]),
        // With more databases it would only be worse.
        (Some(found), Some(_)) if found.level > Some(Level::Ok) => Ok(vec![found]),
        (_, Some(unseen)) => Err(unseen),
        (None, None) if demand.databases > 0.0 => {
            let setting = "shared_preload_libraries = 'timescaledb'".to_owned();
            Err(Blind::Disabled { setting }.into())
        }
        (None, None) => Err(absent.unwrap_or_else(|| {
            Missing::NotApplicable("extension \"timescaledb\" is not installed".to_owned())
        })),
    }
}

impl Demand {
    fn add(&mut self, row: &Row<'_>) {
        let count = |name: &str| row.float(name).unwrap_or(0.0);
        let jobs = count("scheduled_jobs") > 0.0;
        self.databases += f64::from(u8::from(jobs || count("schedulers") > 0.0));
        self.running += count("running_jobs");
        self.waiting += count("waiting_jobs");
        self.since = match (self.since, row.time("waiting_since")) {
            (Some(old), Some(new)) => Some(old.min(new)),
            (old, new) => old.or(new),
        };
        self.own = row.float("max_background_workers").or(self.own);
        self.all = row.float("max_worker_processes").or(self.all);
    }

    /// `None` when there is no extension, or its library is not loaded.
    fn observation(&self) -> Option<Observation> {
        let (own, all) = (self.own?, self.all?);
        let capacity = own.min(all);
        let fixed = 1.0 + self.databases;
        let wanted = fixed + self.running + self.waiting;
        let starved = self.databases > 0.0 && capacity < fixed + 1.0;
        let full = self.waiting > 0.0 && fixed + self.running >= capacity;
        let level = match (starved, full) {
            // 0 is how TimescaleDB is told to run no jobs.
            (true, _) if own == 0.0 => Level::Warning,
            (true, _) => Level::Critical,
            (false, true) => Level::Warning,
            (false, false) => Level::Ok,
        };
        let needed = wanted.max(fixed + 1.0);
        let limit = if own <= all {
            "timescaledb.max_background_workers"
        } else {
            "max_worker_processes"
        };
        Some(Observation {
            value: if capacity > 0.0 {
                100.0 * wanted / capacity
            } else {
                100.0 * needed
            },
            level: Some(level),
            title: format!(
                "the launcher, {:.0} schedulers, {:.0} running and {:.0} waiting jobs share {capacity:.0} workers ({limit})",
                self.databases, self.running, self.waiting
            ),
            since: self.since,
            evidence: vec![
                (
                    "timescaledb.max_background_workers".to_owned(),
                    format!("{own:.0}"),
                ),
                ("max_worker_processes".to_owned(), format!("{all:.0}")),
            ],
            remedy: Some(format!(
                "ALTER SYSTEM SET {limit} = {:.0};  -- then restart the server, standbys first",
                needed.max(2.0 * capacity)
            )),
            ..Observation::default()
        })
    }
}

fn restoring(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = here(view, view.database)?;
    let Some(on) = row.flag("restoring") else {
        let setting = "shared_preload_libraries = 'timescaledb'".to_owned();
        return Err(Blind::Disabled { setting }.into());
    };
    let jobs = row.int("scheduled_jobs").unwrap_or(0);
    Ok(vec![Observation {
        value: f64::from(u8::from(on)),
        level: Some(if on { Level::Warning } else { Level::Ok }),
        title: format!("timescaledb.restoring is on: none of {jobs} scheduled jobs runs"),
        evidence: row.evidence(&["restoring", "schedulers"]),
        ..Observation::default()
    }])
}

fn version(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let extensions = view.here("extensions")?;
    let ours = |row: &Row<'_>| row.text("extname") == Some("timescaledb");
    let Some(row) = extensions.rows().find(ours) else {
        return Err(Missing::NotApplicable(
            "extension \"timescaledb\" is not installed".to_owned(),
        ));
    };
    let installed = row.text("extversion").unwrap_or("?");
    let (level, title) = match row.text("default_version") {
        Some(offered) if offered == installed => (Level::Ok, String::new()),
        Some(offered) => (
            Level::Warning,
            format!("version {installed} is installed, the server offers {offered}"),
        ),
        None => (
            Level::Warning,
            format!("version {installed} is installed, but its files are not on the server"),
        ),
    };
    Ok(vec![Observation {
        value: f64::from(u8::from(level != Level::Ok)),
        level: Some(level),
        title,
        evidence: row.evidence(&["extversion", "default_version"]),
        ..Observation::default()
    }])
}
