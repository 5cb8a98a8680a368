//! Locks that are held, the room for them, and what active sessions wait for.

use pawang_core::{Level, Missing};

use crate::connections::session::{
    counts, end, evidence, hidden, is_hidden, object, ours, reset_databases, seconds, who,
};
use crate::{Observation, View};

/// Tables named in a title.
const TABLES_SHOWN_MAX: usize = 3;

pub(super) fn deadlocks(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let growth = view.growth("database")?;
    let mut seen = reset_databases(view, &growth);
    seen.extend(growth.rows.iter().filter_map(|(row, older)| {
        let name = row.text("datname")?;
        let count = row.growth((*older)?, "deadlocks")?;
        let deadlocks = if count == 1.0 {
            "deadlock"
        } else {
            "deadlocks"
        };
        Some(Observation {
            object: name.to_owned(),
            value: count,
            title: format!(
                "{count:.0} {deadlocks} in database \"{name}\" within {}",
                seconds(growth.seconds)
            ),
            evidence: row.evidence(&["deadlocks"]),
            ..Observation::default()
        })
    }));
    Ok(seen)
}

pub(super) fn wait_times(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    if view.server()?.major() < 19 {
        return Err(Missing::NotApplicable("needs PostgreSQL 19".to_owned()));
    }
    let growth = view.growth("lock-stats")?;
    let seen = growth.rows.iter().filter_map(|(row, older)| {
        let older = (*older)?;
        let (waits, total) = (row.growth(older, "waits")?, row.growth(older, "wait_time")?);
        let mean = total / 1_000.0 / waits.max(1.0);
        let kind = row.text("locktype")?;
        Some(Observation {
            object: kind.to_owned(),
            value: mean,
            level: (waits < view.floor("waits")).then_some(Level::Ok),
            title: format!(
                "{waits:.0} waits for locks of type \"{kind}\" ended within {}, after {} on average",
                seconds(growth.seconds),
                seconds(mean)
            ),
            evidence: row.evidence(&["waits", "wait_time", "fastpath_exceeded", "stats_reset"]),
            ..Observation::default()
        })
    });
    Ok(seen.collect())
}

pub(super) fn exclusive(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let rows = view.snapshot("locks")?.rows();
    let holders = rows.filter(|row| !ours(row) && !row.list("access_exclusive").is_empty());
    if holders.clone().any(|row| is_hidden(&row)) {
        return Err(hidden(view));
    }
    let seen = holders.filter_map(|row| {
        let tables = row.list("access_exclusive");
        // The startup process of a standby holds what its primary holds, and has no transaction of its own.
        let age = row.float("xact_age_seconds")?;
        let shown = tables[..tables.len().min(TABLES_SHOWN_MAX)].join(", ");
        let more = match tables.len().saturating_sub(TABLES_SHOWN_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(Observation {
            object: object(&row),
            value: age,
            title: format!(
                "{} has locked {shown}{more} exclusively, in a transaction of {}",
                who(&row),
                seconds(age)
            ),
            since: row.time("xact_start"),
            evidence: evidence(&row),
            remedy: Some(end(&row)),
            ..Observation::default()
        })
    });
    Ok(seen.collect())
}

pub(super) fn lock_table(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = view.row("lock-table")?;
    let used = row.float("entries").unwrap_or(f64::NAN);
    let capacity = row.float("capacity").unwrap_or(f64::NAN);
    let share = 100.0 * used / capacity;
    Ok(vec![Observation {
        value: share,
        title: format!(
            "{used:.0} of {capacity:.0} entries of the lock table are taken ({share:.0} %)"
        ),
        evidence: row.evidence(&[
            "entries",
            "capacity",
            "locks",
            "fast_path",
            "advisory",
            "predicate",
            "max_locks_per_transaction",
        ]),
        ..Observation::default()
    }])
}

pub(super) fn advisory(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let rows = view.snapshot("locks")?.rows();
    let seen = rows.filter_map(|row| {
        let count = row.float("advisory").filter(|count| *count > 0.0)?;
        Some(Observation {
            object: object(&row),
            value: count,
            title: format!("session of {} holds {count:.0} advisory locks", who(&row)),
            evidence: evidence(&row),
            remedy: Some(end(&row)),
            ..Observation::default()
        })
    });
    Ok(seen.collect())
}

pub(super) fn fast_path(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("locks");
    let rows = view.snapshot("locks")?.rows();
    let full: Vec<f64> = rows
        .filter_map(|row| row.float("relations_not_fast_path"))
        .filter(|count| *count >= floor)
        .collect();
    let most = full.iter().copied().fold(0.0, f64::max);
    Ok(vec![Observation {
        value: full.len() as f64,
        title: format!(
            "{} sessions have run out of fast-path locks; one holds {most:.0} weak table locks outside of it",
            full.len()
        ),
        ..Observation::default()
    }])
}

pub(super) fn wait_lock(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    waits(view, "waiting_lock", "locks")
}

pub(super) fn wait_lwlock(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    waits(view, "waiting_lwlock", "internal locks")
}

pub(super) fn wait_io(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    waits(view, "waiting_io", "I/O")
}

fn waits(view: &View<'_>, column: &str, what: &str) -> Result<Vec<Observation>, Missing> {
    let row = counts(view)?;
    let active = row.float("active").unwrap_or(f64::NAN);
    let waiting = row.float(column).unwrap_or(f64::NAN);
    let share = 100.0 * waiting / active.max(1.0);
    Ok(vec![Observation {
        value: share,
        level: (active < view.floor("active")).then_some(Level::Ok),
        title: format!(
            "{waiting:.0} of {active:.0} active sessions wait for {what} ({share:.0} %)"
        ),
        evidence: row.evidence(&[
            "active",
            "waiting_lock",
            "waiting_lwlock",
            "waiting_io",
            "waiting_client",
            "waiting_ipc",
            "waiting_other",
        ]),
        ..Observation::default()
    }])
}
