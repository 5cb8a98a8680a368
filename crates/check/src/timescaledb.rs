//! TimescaleDB: jobs, chunks, compression, retention and continuous aggregates of each database that has it.

use pawang_core::{Blind, Level, Missing, Row, Unit};

use crate::{Check, Direction, Floor, Group, Observation, Scope, View};

/// A job is late when it is this many of its intervals overdue.
const LATE_INTERVALS: f64 = 2.0;

pub(crate) static CHECKS: &[Check] = &[
    Check {
        id: "timescaledb-jobs-failed",
        title: "background jobs that failed",
        needs: &["timescaledb-jobs"],
        unit: Unit::State,
        what: "Scheduled jobs whose last run failed (last_run_status of timescaledb_information.job_stats).",
        why: "A compression, retention or refresh policy that fails does so silently: disks fill and reports show old data.",
        fix: "SELECT * FROM timescaledb_information.job_errors WHERE job_id = ID ORDER BY start_time DESC LIMIT 5; then CALL run_job(ID);",
        observe: failed,
        ..TIMESCALE
    },
    Check {
        id: "timescaledb-jobs-late",
        title: "background jobs that are overdue",
        needs: &["timescaledb-jobs"],
        unit: Unit::Seconds,
        warning: Some(3_600.0),
        critical: Some(86_400.0),
        what: "How long after next_start a scheduled job has not begun (timescaledb_information.job_stats), beyond two of its intervals.",
        why: "The scheduler does not run, or has no free background worker; then no policy of any table runs.",
        fix: "SELECT _timescaledb_functions.start_background_workers(); check timescaledb.max_background_workers and max_worker_processes.",
        observe: late,
        ..TIMESCALE
    },
    Check {
        id: "timescaledb-jobs-never-run",
        title: "background jobs that never ran",
        needs: &["timescaledb-jobs"],
        unit: Unit::State,
        what: "Scheduled jobs without any run although their first start lies in the past.",
        why: "A policy that was set up and never ran is one that nobody noticed is missing.",
        fix: "CALL run_job(ID); and look at timescaledb_information.job_errors.",
        observe: never_run,
        ..TIMESCALE
    },
    Check {
        id: "timescaledb-jobs-disabled",
        title: "background jobs that are switched off",
        needs: &["timescaledb-jobs"],
        unit: Unit::State,
        what: "Policies with scheduled = false (timescaledb_information.jobs).",
        why: "Jobs are switched off for a load or a migration, and forgotten.",
        fix: "SELECT alter_job(ID, scheduled => true);",
        observe: disabled,
        ..TIMESCALE
    },
    Check {
        id: "timescaledb-chunks",
        title: "chunks per hypertable",
        needs: &["timescaledb-hypertables"],
        unit: Unit::Count,
        warning: Some(2_000.0),
        critical: Some(10_000.0),
        what: "Number of chunks of each hypertable (timescaledb_information.hypertables).",
        why: "Each chunk is a table: planning time, locks per query and catalog size grow with their number.",
        fix: "SELECT set_chunk_time_interval('TABLE', INTERVAL '7 days'); merge or drop old chunks; set a retention policy.",
        observe: chunks,
        ..TIMESCALE
    },
    Check {
        id: "timescaledb-uncompressed",
        title: "chunks that should be compressed",
        needs: &["timescaledb-hypertables"],
        unit: Unit::Count,
        warning: Some(5.0),
        critical: Some(50.0),
        what: "Chunks older than compress_after of the compression policy that are not compressed (timescaledb_information.chunks).",
        why: "They take 10 to 20 times the space; a growing number means that the policy cannot follow or fails.",
        fix: "CALL run_job(ID of the compression policy); or SELECT compress_chunk(format('%I.%I', chunk_schema, chunk_name)::regclass), one per transaction.",
        observe: uncompressed,
        ..TIMESCALE
    },
    Check {
        id: "timescaledb-no-compression-policy",
        title: "hypertables without a compression policy",
        needs: &["timescaledb-hypertables"],
        unit: Unit::State,
        floors: &[Floor {
            name: "chunks",
            value: 20.0,
            unit: Unit::Count,
            ignores: "hypertables with fewer chunks",
        }],
        what: "Hypertables with compression enabled and many uncompressed chunks, and no policy that compresses them.",
        why: "Compression that is enabled and never runs saves nothing.",
        fix: "SELECT add_compression_policy('TABLE', INTERVAL '7 days');",
        observe: no_policy,
        ..TIMESCALE
    },
    Check {
        id: "timescaledb-retention",
        title: "chunks that should have been dropped",
        needs: &["timescaledb-hypertables"],
        unit: Unit::Days,
        warning: Some(2.0),
        critical: Some(14.0),
        what: "How far the end of the oldest chunk lies beyond drop_after of the retention policy, less one chunk interval.",
        why: "Data that the policy promises to delete is still there: disk, and possibly law.",
        fix: "CALL run_job(ID of the retention policy); or SELECT drop_chunks('TABLE', older_than => INTERVAL '...');",
        observe: retention,
        ..TIMESCALE
    },
    Check {
        id: "timescaledb-refresh",
        title: "continuous aggregates that are not refreshed",
        needs: &["timescaledb-caggs"],
        unit: Unit::Ratio,
        warning: Some(3.0),
        critical: Some(24.0),
        what: "Time since the refresh policy of a continuous aggregate last succeeded, in intervals of that policy. One without a policy is a warning.",
        why: "Dashboards show old numbers without saying so.",
        fix: "CALL refresh_continuous_aggregate('VIEW', NULL, NULL); or SELECT add_continuous_aggregate_policy(...);",
        observe: refresh,
        ..TIMESCALE
    },
    Check {
        id: "timescaledb-workers",
        title: "background workers of TimescaleDB",
        needs: &["timescaledb-extension"],
        unit: Unit::State,
        what: "timescaledb.max_background_workers against max_worker_processes, which must hold them, the parallel workers and three more.",
        why: "With too few slots jobs wait for each other or never start.",
        fix: "ALTER SYSTEM SET max_worker_processes = N; then restart.",
        observe: workers,
        ..TIMESCALE
    },
    Check {
        id: "timescaledb-version",
        title: "version of the extension TimescaleDB",
        needs: &["timescaledb-extension"],
        unit: Unit::State,
        what: "The version installed in the database against the one whose files are on the server.",
        why: "After a package upgrade the old version keeps running until it is updated in every database, without its fixes.",
        fix: "psql -X -d DATABASE -c 'ALTER EXTENSION timescaledb UPDATE;' as the first statement of a new session.",
        observe: version,
        ..TIMESCALE
    },
];

/// What the checks of this group have in common.
const TIMESCALE: Check = Check {
    id: "",
    group: Group::Timescaledb,
    title: "",
    scope: Scope::Database,
    needs: &[],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "",
    why: "",
    fix: "",
    observe: |_| Ok(Vec::new()),
};

fn judged(object: String, level: Level, title: String) -> Observation {
    Observation {
        object,
        value: f64::from(u8::from(level > Level::Ok)),
        level: Some(level),
        title,
        ..Observation::default()
    }
}

fn text<'a>(row: Row<'a>, column: &str) -> &'a str {
    row.text(column).unwrap_or_default()
}

fn job(row: Row<'_>) -> String {
    let id = row.int("job_id").unwrap_or_default();
    format!("job {id} {}", text(row, "proc_name"))
}

fn hypertable(row: Row<'_>) -> String {
    format!(
        "{}.{}",
        text(row, "hypertable_schema"),
        text(row, "hypertable_name")
    )
}

const JOB: [&str; 7] = [
    "application_name",
    "owner",
    "hypertable_name",
    "next_start",
    "last_successful_finish",
    "last_run_status",
    "total_failures",
];

fn jobs<'a>(view: &View<'a>) -> Result<Vec<Row<'a>>, Missing> {
    let rows = view.here("timescaledb-jobs")?.rows();
    Ok(rows
        .filter(|row| row.flag("scheduled") == Some(true))
        .collect())
}

fn failed(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observation = |row: Row<'_>| {
        let failed = text(row, "last_run_status").eq_ignore_ascii_case("failed");
        let level = if failed { Level::Critical } else { Level::Ok };
        let title = format!("the last run of {} failed", job(row));
        Observation {
            evidence: row.evidence(&JOB),
            ..judged(job(row), level, title)
        }
    };
    Ok(jobs(view)?.into_iter().map(observation).collect())
}

fn late(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let mut observations = Vec::new();
    for row in jobs(view)? {
        let running = text(row, "job_status").eq_ignore_ascii_case("running");
        let Some(next) = row.time("next_start").filter(|_| !running) else {
            continue;
        };
        let overdue = view.now.duration_since(next).as_secs_f64();
        let patience = row.float("schedule_interval_s").unwrap_or(0.0) * LATE_INTERVALS;
        observations.push(Observation {
            object: job(row),
            value: overdue.max(0.0),
            level: (overdue < patience).then_some(Level::Ok),
            title: format!(
                "{} should have begun {} ago",
                job(row),
                Unit::Seconds.show(overdue)
            ),
            since: Some(next),
            evidence: row.evidence(&JOB),
            ..Observation::default()
        });
    }
    Ok(observations)
}

fn never_run(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observation = |row: Row<'_>| {
        let never = row.int("total_runs").unwrap_or(0) == 0;
        let due = row.time("next_start").is_some_and(|next| next < view.now);
        let level = if never && due {
            Level::Warning
        } else {
            Level::Ok
        };
        Observation {
            evidence: row.evidence(&JOB),
            ..judged(job(row), level, format!("{} has never run", job(row)))
        }
    };
    Ok(jobs(view)?.into_iter().map(observation).collect())
}

fn disabled(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observation = |row: Row<'_>| {
        let off = row.flag("scheduled") == Some(false);
        let level = if off { Level::Warning } else { Level::Ok };
        let id = row.int("job_id").unwrap_or_default();
        Observation {
            remedy: Some(format!("SELECT alter_job({id}, scheduled => true);")),
            evidence: row.evidence(&JOB),
            ..judged(job(row), level, format!("{} is switched off", job(row)))
        }
    };
    Ok(view
        .here("timescaledb-jobs")?
        .rows()
        .map(observation)
        .collect())
}

fn chunks(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observation = |row: Row<'_>| {
        let chunks = row.float("chunks")?;
        Some(Observation {
            object: hypertable(row),
            value: chunks,
            title: format!("hypertable {} has {chunks:.0} chunks", hypertable(row)),
            evidence: row.evidence(&["chunks", "chunk_interval_s", "num_dimensions"]),
            ..Observation::default()
        })
    };
    Ok(view
        .here("timescaledb-hypertables")?
        .rows()
        .filter_map(observation)
        .collect())
}

fn uncompressed(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observation = |row: Row<'_>| {
        row.float("compress_after_s")?;
        let eligible = row.float("eligible_uncompressed_chunks")?;
        Some(Observation {
            object: hypertable(row),
            value: eligible,
            title: format!(
                "{eligible:.0} chunks of {} are old enough to be compressed and are not",
                hypertable(row)
            ),
            evidence: row.evidence(&["chunks", "uncompressed_chunks", "compress_after_s"]),
            ..Observation::default()
        })
    };
    Ok(view
        .here("timescaledb-hypertables")?
        .rows()
        .filter_map(observation)
        .collect())
}

fn no_policy(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observation = |row: Row<'_>| {
        let open = row.float("uncompressed_chunks").unwrap_or(0.0);
        let none = row.flag("compression_enabled") == Some(true)
            && row.float("compress_after_s").is_none()
            && open >= view.floor("chunks");
        let level = if none { Level::Warning } else { Level::Ok };
        let title = format!(
            "{} has {open:.0} uncompressed chunks and no compression policy",
            hypertable(row)
        );
        judged(hypertable(row), level, title)
    };
    Ok(view
        .here("timescaledb-hypertables")?
        .rows()
        .map(observation)
        .collect())
}

fn retention(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observation = |row: Row<'_>| {
        let after = row.float("drop_after_s")?;
        let oldest = row.time("oldest_chunk_end")?;
        let age = view.now.duration_since(oldest).as_secs_f64();
        let beyond = age - after - row.float("chunk_interval_s").unwrap_or(0.0);
        let days = beyond.max(0.0) / 86_400.0;
        Some(Observation {
            object: hypertable(row),
            value: days,
            title: format!(
                "the oldest chunk of {} should have been dropped {days:.1} days ago",
                hypertable(row)
            ),
            evidence: row.evidence(&["oldest_chunk_end", "drop_after_s", "chunk_interval_s"]),
            ..Observation::default()
        })
    };
    Ok(view
        .here("timescaledb-hypertables")?
        .rows()
        .filter_map(observation)
        .collect())
}

fn refresh(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observation = |row: Row<'_>| {
        let name = format!("{}.{}", text(row, "view_schema"), text(row, "view_name"));
        let Some(interval) = row.float("refresh_interval_s").filter(|s| *s > 0.0) else {
            let title = format!("continuous aggregate {name} has no refresh policy");
            return judged(name, Level::Warning, title);
        };
        let Some(last) = row.time("last_successful_finish") else {
            let title = format!("continuous aggregate {name} was never refreshed by its policy");
            return judged(name, Level::Warning, title);
        };
        let seconds = view.now.duration_since(last).as_secs_f64().max(0.0);
        Observation {
            value: seconds / interval,
            title: format!(
                "continuous aggregate {name} was last refreshed {} ago, its policy says every {}",
                Unit::Seconds.show(seconds),
                Unit::Seconds.show(interval)
            ),
            object: name,
            since: Some(last),
            evidence: row.evidence(&["refresh_job_id", "materialized_only", "hypertable_name"]),
            ..Observation::default()
        }
    };
    Ok(view
        .here("timescaledb-caggs")?
        .rows()
        .map(observation)
        .collect())
}

fn extension<'a>(view: &View<'a>) -> Result<Row<'a>, Missing> {
    let none = || Blind::Failed {
        what: "collector \"timescaledb-extension\" returned no row".to_owned(),
    };
    let row = view.here("timescaledb-extension")?.first();
    row.ok_or_else(|| none().into())
}

fn workers(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = extension(view)?;
    let (Some(own), Some(all)) = (
        row.float("max_background_workers"),
        row.float("max_worker_processes"),
    ) else {
        return Err(Blind::Failed {
            what: "timescaledb.max_background_workers is not set: is the library preloaded"
                .to_owned(),
        }
        .into());
    };
    let level = if own + 3.0 > all {
        Level::Warning
    } else {
        Level::Ok
    };
    let title =
        format!("timescaledb.max_background_workers is {own:.0} and max_worker_processes {all:.0}");
    Ok(vec![judged(String::new(), level, title)])
}

fn version(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = extension(view)?;
    let (own, newest) = (text(row, "extversion"), text(row, "default_version"));
    let behind = !newest.is_empty() && own != newest;
    let level = if behind { Level::Warning } else { Level::Ok };
    let title = format!("version {own} is installed in the database and {newest} on the server");
    Ok(vec![judged(String::new(), level, title)])
}
