//! Whether policies have done what they promise: compression, retention, refresh.

use pawang_core::{Level, Missing, Row, Timestamp, Unit};

use super::{hypertable, name, on_primary, regclass};
use crate::{Check, Direction, Floor, Group, Observation, Scope, View};

/// How many of its own intervals a policy may take until what is due counts as overdue.
const PATIENCE: f64 = 2.0;
/// A continuous aggregate has no limits in time of its own, only in its schedule; below this nobody notices.
const REFRESH_QUIET_SECONDS: f64 = 600.0;

pub(super) const UNCOMPRESSED_CHUNKS: Check = Check {
    id: "timescaledb-uncompressed-chunks",
    group: Group::Timescaledb,
    title: "chunks overdue for compression",
    scope: Scope::Database,
    needs: &["timescaledb-hypertables"],
    unit: Unit::Seconds,
    direction: Direction::Above,
    warning: Some(86_400.0),
    critical: Some(7.0 * 86_400.0),
    floors: &[],
    what: "For how long the oldest uncompressed chunk has been older than the compression policy's compress_after (or \
           compress_created_before), less two of the policy's schedule intervals (timescaledb_information.chunks and jobs). From \
           2.13 on a chunk that late rows created is due when it was created. Hypertables with integer time are not judged, and \
           chunks that are compressed but got new rows count as compressed.",
    why: "Uncompressed chunks take several times the space and slow down scans; a policy that falls behind fills the disk.",
    fix: "CALL run_job(...); with the id of the policy, and look at timescaledb-job-failed, -late and -paused. To catch up by hand \
          compress one chunk per transaction: SELECT compress_chunk(format('%I.%I', chunk_schema, chunk_name)::regclass);",
    observe: uncompressed_chunks,
};

pub(super) const COMPRESSION_POLICY_MISSING: Check = Check {
    id: "timescaledb-compression-policy-missing",
    group: Group::Timescaledb,
    title: "compression without a policy",
    scope: Scope::Database,
    needs: &["timescaledb-hypertables"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[Floor {
        name: "chunks",
        value: 10.0,
        unit: Unit::Count,
        ignores: "hypertables with fewer uncompressed chunks",
    }],
    what: "Hypertables, and continuous aggregates since 2.6, with compression enabled and no compression policy, with their \
           uncompressed chunks (timescaledb_information.hypertables and jobs). Information: a job of one's own may compress them.",
    why: "Enabling compression compresses nothing; without a policy every new chunk stays as it is.",
    fix: "SELECT add_compression_policy('...', compress_after => INTERVAL '7 days'); (add_columnstore_policy since 2.18).",
    observe: compression_policy_missing,
};

pub(super) const RETENTION_LAG: Check = Check {
    id: "timescaledb-retention-lag",
    group: Group::Timescaledb,
    title: "chunks overdue for dropping",
    scope: Scope::Database,
    needs: &["timescaledb-hypertables"],
    unit: Unit::Seconds,
    direction: Direction::Above,
    warning: Some(86_400.0),
    critical: Some(7.0 * 86_400.0),
    floors: &[],
    what: "For how long the oldest chunk has been older than the retention policy's drop_after (or drop_created_before), less two \
           of the policy's schedule intervals (timescaledb_information.chunks and jobs). The whole chunk must be older. From 2.13 \
           on a chunk that late rows created is due when it was created. Hypertables with integer time are not judged.",
    why: "Rows that should be gone fill the disk, and may be rows that the law wants gone.",
    fix: "CALL run_job(...); with the id of the policy, and look at timescaledb-job-failed, -late and -paused; frozen chunks stay \
          until _timescaledb_functions.unfreeze_chunk.",
    observe: retention_lag,
};

pub(super) const CAGG_LAG: Check = Check {
    id: "timescaledb-cagg-lag",
    group: Group::Timescaledb,
    title: "refresh of continuous aggregates",
    scope: Scope::Database,
    needs: &["timescaledb-continuous-aggregates"],
    unit: Unit::Ratio,
    direction: Direction::Above,
    warning: Some(3.0),
    critical: Some(12.0),
    floors: &[],
    what: "Time since the last successful refresh by each refresh policy of a continuous aggregate, in multiples of the policy's \
           schedule_interval (timescaledb_information.job_stats). Below ten minutes it is never a finding. A policy that ran and \
           never succeeded is a warning; one that never ran is in timescaledb-job-never-run.",
    why: "A continuous aggregate that is not refreshed shows old figures as if they were today's; with real-time aggregation \
          its queries get slower instead, because they read the raw rows.",
    fix: "CALL run_job(...); with the id of the policy; CALL refresh_continuous_aggregate('...', start, end); for a gap before \
          the policy's window.",
    observe: cagg_lag,
};

pub(super) const CAGG_POLICY_MISSING: Check = Check {
    id: "timescaledb-cagg-policy-missing",
    group: Group::Timescaledb,
    title: "continuous aggregates without a policy",
    scope: Scope::Database,
    needs: &["timescaledb-continuous-aggregates"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Continuous aggregates that no refresh policy refreshes (timescaledb_information.continuous_aggregates and jobs). \
           Information: a load may refresh them itself.",
    why: "Nothing refreshes them by itself: what is in them is as old as the last refresh by hand.",
    fix: "SELECT add_continuous_aggregate_policy('...', start_offset => ..., end_offset => ..., schedule_interval => ...); or CALL \
          refresh_continuous_aggregate at the end of the load.",
    observe: cagg_policy_missing,
};

/// What the policies of one kind are called in the rows of the collector, and in words.
struct Promise {
    policy: &'static str,
    scheduled: &'static str,
    interval: &'static str,
    after: &'static str,
    chunks: &'static str,
    since: &'static str,
    words: &'static str,
}

const COMPRESSION: Promise = Promise {
    policy: "compression_policy",
    scheduled: "compression_scheduled",
    interval: "compression_interval",
    after: "compress_after",
    chunks: "compress_due_chunks",
    since: "compress_due_since",
    words: "compressed",
};

const RETENTION: Promise = Promise {
    policy: "retention_policy",
    scheduled: "retention_scheduled",
    interval: "retention_interval",
    after: "drop_after",
    chunks: "drop_due_chunks",
    since: "drop_due_since",
    words: "dropped",
};

fn uncompressed_chunks(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    overdue(view, &COMPRESSION)
}

fn retention_lag(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    overdue(view, &RETENTION)
}

fn overdue(view: &View<'_>, promise: &Promise) -> Result<Vec<Observation>, Missing> {
    let hypertables = view.here("timescaledb-hypertables")?;
    on_primary(view)?;
    let judged = hypertables
        .rows()
        .filter(|row| row.flag(promise.policy) == Some(true) && row.float(promise.after).is_some());
    let observations = judged.map(|row| {
        let since = row.time(promise.since);
        let patience = PATIENCE * row.float(promise.interval).unwrap_or(0.0);
        let seconds = since.map_or(0.0, |since| {
            (view.now.duration_since(since).as_secs_f64() - patience).max(0.0)
        });
        let paused = if row.flag(promise.scheduled) == Some(false) {
            "; its policy is paused"
        } else {
            ""
        };
        Observation {
            object: hypertable(&row),
            value: seconds,
            title: overdue_title(&row, promise, since, view.now, paused),
            since,
            evidence: row.evidence(&["chunks", promise.chunks, promise.after, promise.interval]),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

fn overdue_title(
    row: &Row<'_>,
    promise: &Promise,
    since: Option<Timestamp>,
    now: Timestamp,
    paused: &str,
) -> String {
    let chunks = row.int(promise.chunks).unwrap_or(0);
    let total = row.int("chunks").unwrap_or(0);
    let age = since.map_or(0.0, |since| now.duration_since(since).as_secs_f64());
    format!(
        "{chunks} of {total} chunks of {} should be {}, the oldest for {}{paused}",
        hypertable(row),
        promise.words,
        Unit::Seconds.show(age)
    )
}

fn compression_policy_missing(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("chunks");
    let hypertables = view.here("timescaledb-hypertables")?;
    on_primary(view)?;
    let observations = hypertables.rows().filter_map(|row| {
        let chunks = row.float("chunks")? - row.float("compressed_chunks")?;
        let enabled = row.flag("compression_enabled") == Some(true);
        let alone = enabled && row.flag("compression_policy") == Some(false);
        (alone && chunks >= floor).then(|| Observation {
            object: hypertable(&row),
            value: chunks,
            level: Some(Level::Info),
            title: format!(
                "{} has compression enabled, {chunks:.0} uncompressed chunks and no policy",
                hypertable(&row)
            ),
            evidence: row.evidence(&["chunks", "compressed_chunks", "chunk_interval"]),
            remedy: Some(format!(
                "SELECT add_compression_policy({}, compress_after => INTERVAL '7 days');",
                regclass(&row)
            )),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}

fn aggregate(row: &Row<'_>) -> String {
    name(row, "view_schema", "view_name").unwrap_or_default()
}

fn cagg_lag(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let aggregates = view.here("timescaledb-continuous-aggregates")?;
    let observations = aggregates.rows().filter_map(|row| {
        let id = row.int("job_id")?;
        let interval = row.float("schedule_interval").filter(|s| *s > 0.0)?;
        let object = format!("{} (job {id})", aggregate(&row));
        let evidence = row.evidence(&["last_run_status", "last_run_started_at", "scheduled"]);
        let Some(success) = row.time("last_successful_finish") else {
            // Until its first run ends there is nothing to say; whether that comes is the matter of another check.
            row.text("last_run_status")?;
            return Some(Observation {
                title: format!("{} was never refreshed by job {id}", aggregate(&row)),
                object,
                value: f64::from(u8::from(true)),
                level: Some(Level::Warning),
                evidence,
                remedy: Some(format!("CALL run_job({id});")),
                ..Observation::default()
            });
        };
        let seconds = view.now.duration_since(success).as_secs_f64().max(0.0);
        Some(Observation {
            object,
            value: seconds / interval,
            level: (seconds < REFRESH_QUIET_SECONDS).then_some(Level::Ok),
            title: format!(
                "{} was last refreshed {} ago and should be every {}",
                aggregate(&row),
                Unit::Seconds.show(seconds),
                Unit::Seconds.show(interval)
            ),
            since: Some(success),
            evidence,
            remedy: Some(format!("CALL run_job({id});")),
        })
    });
    Ok(observations.collect())
}

fn cagg_policy_missing(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let aggregates = view.here("timescaledb-continuous-aggregates")?;
    let alone = aggregates.rows().filter(|row| row.int("job_id").is_none());
    let observations = alone.map(|row| Observation {
        object: aggregate(&row),
        value: 1.0,
        level: Some(Level::Info),
        title: format!("{} has no refresh policy", aggregate(&row)),
        evidence: row.evidence(&["materialized_only"]),
        ..Observation::default()
    });
    Ok(observations.collect())
}
