//! Whether TimescaleDB's jobs run, in time, and to a good end.

use pawang_core::{Blind, Level, Missing, Row, Unit};

use super::job;
use crate::{Check, Direction, Floor, Group, Observation, Scope, View};

/// So many failures in a row are no accident: retries come later each time.
const FAILURES_CRITICAL: i64 = 5;

const EVIDENCE: [&str; 8] = [
    "owner",
    "last_run_status",
    "last_run_started_at",
    "last_successful_finish",
    "next_start",
    "total_runs",
    "total_failures",
    "total_crashes",
];

pub(super) const FAILED: Check = Check {
    id: "timescaledb-job-failed",
    group: Group::Timescaledb,
    title: "failed jobs",
    scope: Scope::Database,
    needs: &["timescaledb-jobs", "timescaledb-job-errors"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Jobs whose last run failed (timescaledb_information.job_stats) or crashed, with the number of failures in a row \
           (_timescaledb_internal.bgw_job_stat). A warning; critical from the fifth failure in a row, and when TimescaleDB has \
           given the job up: it is not scheduled any more after max_retries. The telemetry job, which fails on every server \
           without access to the internet, is only information. The error's code comes from job_errors, which since 2.10 shows \
           only the jobs of roles that the monitoring role is a member of.",
    why: "A compression policy that fails fills the disk, a retention policy that fails keeps what must be deleted, a refresh \
          that fails serves yesterday's figures as today's; nobody sees an error.",
    fix: "SELECT start_time, sqlerrcode, err_message FROM timescaledb_information.job_errors WHERE job_id = ... ORDER BY \
          start_time DESC LIMIT 5; remove the cause, then CALL run_job(...);",
    observe: failed,
};

pub(super) const LATE: Check = Check {
    id: "timescaledb-job-late",
    group: Group::Timescaledb,
    title: "jobs past their start",
    scope: Scope::Database,
    needs: &["timescaledb-jobs"],
    unit: Unit::Seconds,
    direction: Direction::Above,
    warning: Some(900.0),
    critical: Some(10_800.0),
    floors: &[],
    what: "How long ago a scheduled job that does not run should have started (next_start of timescaledb_information.jobs). \
           TimescaleDB starts due jobs within seconds unless it has no worker for them.",
    why: "Jobs that wait for a worker, or for a scheduler that is not there, do not compress, drop or refresh anything.",
    fix: "Look at timescaledb-scheduler and timescaledb-background-workers: SELECT _timescaledb_functions.start_background_workers(); \
          starts a missing scheduler (schema _timescaledb_internal before 2.12), more workers need \
          timescaledb.max_background_workers, max_worker_processes and a restart.",
    observe: late,
};

pub(super) const NEVER_RUN: Check = Check {
    id: "timescaledb-job-never-run",
    group: Group::Timescaledb,
    title: "jobs that never ran",
    scope: Scope::Database,
    needs: &["timescaledb-jobs"],
    unit: Unit::Seconds,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[Floor {
        name: "age",
        value: 3_600.0,
        unit: Unit::Seconds,
        ignores: "jobs that have been due for less time",
    }],
    what: "Scheduled jobs without any run although their first one is past (initial_start, next_start), or, where TimescaleDB \
           says no time, although an earlier look of Pawang's has already seen the job without a run. Warning; information while it \
           cannot be told yet since when.",
    why: "A policy that exists and does nothing is trusted: the disk fills, or the report stays empty, weeks later.",
    fix: "SELECT * FROM timescaledb_information.jobs WHERE job_id = ...; CALL run_job(...); in the foreground shows its error.",
    observe: never_run,
};

pub(super) const OVERRUN: Check = Check {
    id: "timescaledb-job-overrun",
    group: Group::Timescaledb,
    title: "jobs longer than their schedule",
    scope: Scope::Database,
    needs: &["timescaledb-jobs"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(100.0),
    critical: None,
    floors: &[Floor {
        name: "duration",
        value: 300.0,
        unit: Unit::Seconds,
        ignores: "runs that took less time",
    }],
    what: "How long a scheduled job's last run took, or its present run has been taking, as a share of schedule_interval \
           (timescaledb_information.jobs and job_stats).",
    why: "A job that takes longer than its schedule never catches up and keeps a background worker for itself.",
    fix: "SELECT alter_job(..., schedule_interval => ...); or give each run less: a smaller window between start_offset and \
          end_offset of a refresh, maxchunks_to_compress of a compression policy.",
    observe: overrun,
};

pub(super) const PAUSED: Check = Check {
    id: "timescaledb-job-paused",
    group: Group::Timescaledb,
    title: "paused jobs",
    scope: Scope::Database,
    needs: &["timescaledb-jobs"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Jobs with scheduled = false in timescaledb_information.jobs whose last run did not fail; those that TimescaleDB gave up \
           after failures are in timescaledb-job-failed. Information: somebody paused them.",
    why: "Policies are paused for a migration or a bulk load and forgotten.",
    fix: "SELECT alter_job(..., scheduled => true);",
    observe: paused,
};

/// Where jobs report to the vendor; it fails wherever the internet is out of reach.
fn telemetry(row: &Row<'_>) -> bool {
    row.text("proc_name") == Some("policy_telemetry")
}

fn running(row: &Row<'_>) -> bool {
    row.text("job_status") == Some("Running")
}

fn scheduled(row: &Row<'_>) -> bool {
    row.flag("scheduled") == Some(true)
}

/// Failures in a row and crashes before the last run, 0 when that was good or there was none.
fn failures(row: &Row<'_>) -> i64 {
    let counted = row.int("consecutive_failures").unwrap_or(0);
    // A run in progress counts as a crash until it ends, and not every run can be seen (CALL run_job in a session).
    let crashes = row.int("consecutive_crashes").unwrap_or(0) - 1;
    let said = i64::from(row.text("last_run_status") == Some("Failed"));
    (counted + crashes.max(0)).max(said)
}

fn failed(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let errors = view.here("timescaledb-job-errors").ok();
    let code = |row: &Row<'_>| {
        let same = |error: &Row<'_>| error.int("job_id") == row.int("job_id");
        errors.and_then(|errors| errors.rows().find(same)?.text("sqlerrcode"))
    };
    let jobs = view.here("timescaledb-jobs")?;
    let observations = jobs.rows().map(|row| {
        let count = failures(&row);
        let given_up = count > 0 && row.flag("scheduled") == Some(false);
        let level = match count {
            0 => Level::Ok,
            _ if telemetry(&row) => Level::Info,
            _ if given_up || count >= FAILURES_CRITICAL => Level::Critical,
            _ => Level::Warning,
        };
        let times = match count {
            1 => "failed in its last run".to_owned(),
            _ => format!("failed {count} times in a row"),
        };
        let state = if given_up {
            ", and it is not scheduled any more"
        } else {
            ""
        };
        let code = code(&row);
        let shown = code.map_or(String::new(), |code| format!(" with SQLSTATE {code}"));
        let mut evidence = row.evidence(&EVIDENCE);
        evidence.extend(code.map(|code| ("sqlerrcode".to_owned(), code.to_owned())));
        Observation {
            object: job(&row),
            value: count as f64,
            level: Some(level),
            title: format!("{} {times}{shown}{state}", job(&row)),
            since: row.time("last_successful_finish"),
            evidence,
            remedy: Some(failure_remedy(&row, given_up)),
        }
    });
    Ok(observations.collect())
}

fn failure_remedy(row: &Row<'_>, given_up: bool) -> String {
    let id = row.int("job_id").unwrap_or_default();
    let look = format!(
        "SELECT start_time, sqlerrcode, err_message FROM timescaledb_information.job_errors WHERE job_id = {id} \
         ORDER BY start_time DESC LIMIT 5;"
    );
    if given_up {
        format!("{look} then SELECT alter_job({id}, scheduled => true);")
    } else {
        format!("{look} then CALL run_job({id});")
    }
}

fn late(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let jobs = view.here("timescaledb-jobs")?;
    let waiting = jobs
        .rows()
        .filter(|row| scheduled(row) && !running(row) && !telemetry(row));
    let observations = waiting.filter_map(|row| {
        let start = row.time("next_start")?;
        let seconds = view.now.duration_since(start).as_secs_f64().max(0.0);
        Some(Observation {
            object: job(&row),
            value: seconds,
            title: format!(
                "{} should have started {} ago",
                job(&row),
                Unit::Seconds.show(seconds)
            ),
            since: Some(start),
            evidence: row.evidence(&EVIDENCE),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}

fn never_run(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("age");
    let jobs = view.here("timescaledb-jobs")?;
    let older = view
        .older
        .and_then(|older| older.snapshot("timescaledb-jobs", view.database).ok());
    let older = older.filter(|older| older.epoch == jobs.epoch);
    let never = |row: &Row<'_>| {
        scheduled(row)
            && !running(row)
            && row.int("total_runs").unwrap_or(0) == 0
            && row.time("last_run_started_at").is_none()
    };
    let observations = jobs.rows().filter(|row| never(row)).filter_map(|row| {
        let same = |old: &Row<'_>| old.int("job_id") == row.int("job_id") && never(old);
        let told = row.time("next_start").max(row.time("initial_start"));
        let seen = older.filter(|older| older.rows().any(|old| same(&old)));
        let since = told.or(seen.map(|older| older.at));
        let age = since.map(|since| view.now.duration_since(since).as_secs_f64());
        let (level, title) = match age {
            Some(age) if told.is_some() && age < 0.0 => return None,
            Some(age) if age >= floor => {
                let age = Unit::Seconds.show(age);
                (
                    Level::Warning,
                    format!("{} has been due for {age} and never ran", job(&row)),
                )
            }
            _ => (Level::Info, format!("{} has not run yet", job(&row))),
        };
        let id = row.int("job_id").unwrap_or_default();
        Some(Observation {
            object: job(&row),
            value: age.unwrap_or(0.0),
            level: Some(level),
            title,
            since,
            evidence: row.evidence(&["owner", "scheduled", "initial_start", "next_start"]),
            remedy: Some(format!("CALL run_job({id});")),
        })
    });
    Ok(observations.collect())
}

fn overrun(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("duration");
    let jobs = view.here("timescaledb-jobs")?;
    let observations = jobs.rows().filter(scheduled).filter_map(|row| {
        let interval = row.float("schedule_interval").filter(|s| *s > 0.0)?;
        let present = row.time("last_run_started_at").filter(|_| running(&row));
        let present = present.map(|start| view.now.duration_since(start).as_secs_f64());
        let seconds = present.or(row.float("last_run_duration"))?;
        let verb = if present.is_some() {
            "has been running for"
        } else {
            "took"
        };
        (seconds >= floor).then(|| Observation {
            object: job(&row),
            value: 100.0 * seconds / interval,
            title: format!(
                "{} {verb} {} and is scheduled every {}",
                job(&row),
                Unit::Seconds.show(seconds),
                Unit::Seconds.show(interval)
            ),
            since: row.time("last_run_started_at"),
            evidence: row.evidence(&["schedule_interval", "last_run_duration", "max_runtime"]),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}

fn paused(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let jobs = view.here("timescaledb-jobs")?;
    let off = |row: &Row<'_>| row.flag("scheduled") == Some(false);
    if jobs.rows().any(|row| row.flag("scheduled").is_none()) {
        let what = "timescaledb_information.jobs does not say what is scheduled".to_owned();
        return Err(Blind::Failed { what }.into());
    }
    let quiet = jobs
        .rows()
        .filter(|row| off(row) && failures(row) == 0 && !telemetry(row));
    let observations = quiet.map(|row| Observation {
        object: job(&row),
        value: 1.0,
        level: Some(Level::Info),
        title: format!("{} is paused", job(&row)),
        since: row.time("last_successful_finish"),
        evidence: row.evidence(&EVIDENCE),
        remedy: row
            .int("job_id")
            .map(|id| format!("SELECT alter_job({id}, scheduled => true);")),
    });
    Ok(observations.collect())
}
