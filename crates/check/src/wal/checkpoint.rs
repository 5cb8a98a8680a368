//! How often checkpoints come, and what they cost.

use pawang_core::{Missing, Unit};

use super::{MEGABYTE, bytes, number, on_primary, seconds};
use crate::{Check, Direction, Floor, Group, Observation, Scope, View};

pub(super) const REQUESTED: Check = Check {
    id: "requested-checkpoints",
    group: Group::Wal,
    title: "checkpoints forced by WAL volume",
    scope: Scope::Server,
    needs: &["checkpointer"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(50.0),
    critical: None,
    floors: &[Floor {
        name: "checkpoints",
        value: 4.0,
        unit: Unit::Count,
        ignores: "intervals with fewer checkpoints than this",
    }],
    what: "Requested checkpoints as a share of all checkpoints since the last sample, from pg_stat_checkpointer (pg_stat_bgwriter before \
           PostgreSQL 17). CHECKPOINT by hand, base backups and CREATE DATABASE count as requested too.",
    why: "Every checkpoint makes the next change of each page write the whole page to WAL: forced ones multiply WAL and I/O.",
    fix: "Raise max_wal_size until most checkpoints are timed: ALTER SYSTEM SET max_wal_size = '4GB'; SELECT pg_reload_conf();",
    observe: requested,
};

/// Timed and requested checkpoints since the last sample, and the seconds in between.
fn checkpoints(view: &View<'_>) -> Result<(f64, f64, f64), Missing> {
    on_primary(view)?;
    let growth = view.growth("checkpointer")?;
    let pair = growth
        .rows
        .first()
        .and_then(|(row, old)| Some((row, (*old)?)));
    let Some((row, old)) = pair else {
        return Ok((0.0, 0.0, growth.seconds));
    };
    let grown = |name| row.growth(old, name).unwrap_or(0.0);
    Ok((grown("num_timed"), grown("num_requested"), growth.seconds))
}

fn requested(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let (timed, requested, elapsed) = checkpoints(view)?;
    let total = timed + requested;
    if total < view.floor("checkpoints") {
        return Ok(Vec::new());
    }
    Ok(vec![Observation {
        value: 100.0 * requested / total,
        title: format!(
            "{requested:.0} of {total:.0} checkpoints in the last {} were requested, not timed",
            seconds(elapsed)
        ),
        evidence: vec![
            ("requested".to_owned(), format!("{requested:.0}")),
            ("timed".to_owned(), format!("{timed:.0}")),
        ],
        ..Observation::default()
    }])
}

pub(super) const INTERVAL: Check = Check {
    id: "checkpoint-interval",
    group: Group::Wal,
    title: "time between forced checkpoints",
    scope: Scope::Server,
    needs: &["checkpointer"],
    unit: Unit::Seconds,
    direction: Direction::Below,
    warning: Some(30.0),
    critical: None,
    floors: &[Floor {
        name: "checkpoints",
        value: 3.0,
        unit: Unit::Count,
        ignores: "intervals with fewer requested checkpoints than this",
    }],
    what: "Seconds since the last sample divided by the requested checkpoints in between; the limit is the server's own checkpoint_warning.",
    why: "Checkpoints this close together mean that max_wal_size is far too small for the load.",
    fix: "ALTER SYSTEM SET max_wal_size = '4GB'; SELECT pg_reload_conf();",
    observe: interval,
};

fn interval(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let (_, requested, elapsed) = checkpoints(view)?;
    if requested < view.floor("checkpoints") {
        return Ok(Vec::new());
    }
    let every = elapsed / requested;
    Ok(vec![Observation {
        value: every,
        title: format!("a checkpoint was forced every {}", seconds(every)),
        evidence: vec![
            ("requested".to_owned(), format!("{requested:.0}")),
            ("seconds".to_owned(), format!("{elapsed:.0}")),
        ],
        ..Observation::default()
    }])
}

pub(super) const SYNC_TIME: Check = Check {
    id: "checkpoint-sync-time",
    group: Group::Wal,
    title: "time that checkpoints spend flushing",
    scope: Scope::Server,
    needs: &["checkpointer"],
    unit: Unit::Seconds,
    direction: Direction::Above,
    warning: Some(10.0),
    critical: Some(60.0),
    floors: &[],
    what: "sync_time per checkpoint since the last sample. write_time is spread over the interval on purpose and is not judged.",
    why: "While files are flushed, commits and reads wait for the same disk: users see stalls of this length.",
    fix: "Let the kernel write earlier (checkpoint_flush_after, vm.dirty_background_bytes) or move to faster storage.",
    observe: sync_time,
};

fn sync_time(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    on_primary(view)?;
    let growth = view.growth("checkpointer")?;
    let pair = growth
        .rows
        .first()
        .and_then(|(row, old)| Some((row, (*old)?)));
    let Some((row, old)) = pair else {
        return Ok(Vec::new());
    };
    let grown = |name| row.growth(old, name);
    // Before PostgreSQL 18 checkpoints that were skipped on an idle server count too.
    let asked = grown("num_timed").unwrap_or(0.0) + grown("num_requested").unwrap_or(0.0);
    let done = grown("num_done").unwrap_or(asked);
    let spent = grown("sync_time").unwrap_or(0.0) / 1_000.0;
    if done == 0.0 {
        return Ok(Vec::new());
    }
    let each = spent / done;
    Ok(vec![Observation {
        value: each,
        title: format!(
            "a checkpoint spends {} flushing files to disk",
            seconds(each)
        ),
        evidence: vec![("checkpoints".to_owned(), format!("{done:.0}"))],
        ..Observation::default()
    }])
}

pub(super) const OVERDUE: Check = Check {
    id: "checkpoint-overdue",
    group: Group::Wal,
    title: "age of the last checkpoint",
    scope: Scope::Server,
    needs: &["checkpointer", "wal", "settings"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(300.0),
    critical: Some(1_000.0),
    floors: &[Floor {
        name: "wal_bytes",
        value: 64.0 * MEGABYTE,
        unit: Unit::Bytes,
        ignores: "servers that wrote less WAL than this since the last checkpoint, because an idle server skips checkpoints",
    }],
    what: "The age of the last completed checkpoint (pg_control_checkpoint) as a share of checkpoint_timeout.",
    why: "A checkpoint that does not finish (failing disk, fsync error) makes WAL pile up, and crash recovery as long as all of it.",
    fix: "Read the server log for errors of the checkpointer, and look at what it waits for: \
          SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE backend_type = 'checkpointer';",
    observe: overdue,
};

fn overdue(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    on_primary(view)?;
    let row = view.row("checkpointer")?;
    let current = view.row("wal")?.float("current_lsn").unwrap_or(f64::NAN);
    let written = current - row.float("redo_lsn").unwrap_or(f64::NAN);
    let age = row.float("checkpoint_age").unwrap_or(f64::NAN);
    let timeout = number(view, "checkpoint_timeout")?.unwrap_or(f64::NAN);
    if written < view.floor("wal_bytes") {
        return Ok(Vec::new());
    }
    Ok(vec![Observation {
        value: 100.0 * age / timeout,
        title: format!(
            "the last checkpoint is {} old, {} of WAL ago, with checkpoint_timeout at {}",
            seconds(age),
            bytes(written),
            seconds(timeout)
        ),
        since: row.time("checkpoint_time"),
        evidence: row.evidence(&["checkpoint_time", "checkpoint_age"]),
        ..Observation::default()
    }])
}
