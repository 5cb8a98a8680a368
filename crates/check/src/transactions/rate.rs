//! Transactions over time, and the time-outs that bound them.

use pawang_core::{Blind, Level, Missing};

use crate::connections::session::{reset_databases, seconds};
use crate::{Observation, View};

/// Time-outs for new sessions, and what happens without each.
const TIMEOUTS: [(&str, &str); 4] = [
    (
        "idle_in_transaction_session_timeout",
        "a forgotten transaction holds its locks for ever",
    ),
    (
        "lock_timeout",
        "a statement that waits for a lock waits for ever, and everybody behind it",
    ),
    (
        "statement_timeout",
        "a runaway statement runs until somebody stops it",
    ),
    (
        "transaction_timeout",
        "a transaction may stay open for ever however busy it is",
    ),
];

pub(super) fn subtransaction_reads(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let growth = view.growth("slru")?;
    let row = growth
        .rows
        .iter()
        .find(|(row, _)| matches!(row.text("name"), Some("Subtrans" | "subtransaction")));
    let (row, older) = row.ok_or_else(|| Blind::Failed {
        what: "pg_stat_slru has no row for subtransactions".to_owned(),
    })?;
    let reads = older
        .and_then(|older| row.growth(older, "blks_read"))
        .ok_or_else(|| Blind::Reset {
            what: "pg_stat_slru was reset".to_owned(),
        })?;
    Ok(vec![Observation {
        value: reads / growth.seconds,
        title: format!(
            "{reads:.0} blocks of pg_subtrans were read from disk within {}",
            seconds(growth.seconds)
        ),
        evidence: row.evidence(&["name", "blks_hit", "blks_read"]),
        ..Observation::default()
    }])
}

pub(super) fn rollback_ratio(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let growth = view.growth("database")?;
    let floor = view.floor("transactions");
    let mut seen = reset_databases(view, &growth);
    seen.extend(growth.rows.iter().filter_map(|(row, older)| {
        let name = row.text("datname")?;
        let older = (*older)?;
        let committed = row.growth(older, "xact_commit")?;
        let rolled_back = row.growth(older, "xact_rollback")?;
        let all = committed + rolled_back;
        let share = 100.0 * rolled_back / all;
        (all >= floor).then(|| Observation {
            object: name.to_owned(),
            value: share,
            title: format!(
                "{rolled_back:.0} of {all:.0} transactions in database \"{name}\" were rolled back within {} ({share:.1} %)",
                seconds(growth.seconds)
            ),
            evidence: row.evidence(&["xact_commit", "xact_rollback"]),
            ..Observation::default()
        })
    }));
    Ok(seen)
}

pub(super) fn commit_rate(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let growth = view.growth("database")?;
    let mut seen = reset_databases(view, &growth);
    seen.extend(growth.rows.iter().filter_map(|(row, older)| {
        let name = row.text("datname")?;
        if row.flag("datallowconn") != Some(true) || row.flag("datistemplate") != Some(false) {
            return None;
        }
        let committed = row.growth((*older)?, "xact_commit")?;
        let rate = committed / growth.seconds;
        Some(Observation {
            object: name.to_owned(),
            value: rate,
            title: format!(
                "{committed:.0} transactions were committed in database \"{name}\" within {} ({rate:.1}/s)",
                seconds(growth.seconds)
            ),
            ..Observation::default()
        })
    }));
    Ok(seen)
}

pub(super) fn timeouts(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let rows = view.snapshot("settings")?.rows();
    let seen = rows.filter_map(|row| {
        let name = row.text("name")?;
        let (_, effect) = TIMEOUTS.iter().find(|(timeout, _)| *timeout == name)?;
        // Our own session has time-outs; what a new one gets is the value that RESET would bring back.
        let value: f64 = row.text("reset_val")?.parse().ok()?;
        let off = value == 0.0;
        Some(Observation {
            object: name.to_owned(),
            value: f64::from(u8::from(off)),
            level: Some(if off { Level::Info } else { Level::Ok }),
            title: format!("{name} is off: {effect}"),
            remedy: Some(format!("ALTER ROLE application SET {name} = '5min';")),
            ..Observation::default()
        })
    });
    Ok(seen.collect())
}
