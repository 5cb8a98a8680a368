//! What each statement did between two samples.

use pawang_core::{Blind, Missing, Row, Timestamp};

use crate::View;
use crate::security::{monitor, quoted};

/// A statement in the newer sample, and what it can be compared with.
pub(super) struct Statement<'a> {
    pub(super) row: Row<'a>,
    older: Option<Row<'a>>,
    older_at: Timestamp,
    /// Whether the older sample listed every statement, so that one which is not in it was not there.
    complete: bool,
}

/// The statements of two samples.
pub(super) struct Grown<'a> {
    pub(super) statements: Vec<Statement<'a>>,
    pub(super) seconds: f64,
}

impl Statement<'_> {
    /// Returns the growth of a counter; a statement first seen after the older sample has grown from nothing.
    pub(super) fn growth(&self, name: &str) -> Option<f64> {
        match self.comparable() {
            Some(older) => self.row.growth(older, name),
            None => self.is_new().then(|| self.row.float(name)).flatten(),
        }
    }

    /// Returns a number of the older sample, if it counts from the same start.
    pub(super) fn before(&self, name: &str) -> Option<f64> {
        self.comparable()?.float(name)
    }

    fn is_new(&self) -> bool {
        match self.row.time("stats_since") {
            Some(since) => since > self.older_at,
            None => self.complete && self.older.is_none(),
        }
    }

    fn comparable(&self) -> Option<Row<'_>> {
        self.older
            .filter(|older| older.value("stats_since") == self.row.value("stats_since"))
    }
}

/// Returns what every listed statement did since the older sample.
pub(super) fn grown<'a>(view: &View<'a>) -> Result<Grown<'a>, Missing> {
    visible(view)?;
    let older = |collector| {
        view.older
            .and_then(|older| older.snapshot(collector, None).ok())
    };
    let before = older("statements").ok_or(Blind::FirstSample)?;
    let entries = older("statements-info").and_then(|info| info.first()?.int("entries"));
    let complete = entries.is_some_and(|entries| i64::try_from(before.rows.len()) == Ok(entries));
    let growth = view.growth("statements")?;
    let statement = |(row, older)| Statement {
        row,
        older,
        older_at: before.at,
        complete,
    };
    Ok(Grown {
        statements: growth.rows.into_iter().map(statement).collect(),
        seconds: growth.seconds,
    })
}

/// Refuses to judge when statements of other roles are hidden.
pub(super) fn visible(view: &View<'_>) -> Result<(), Missing> {
    let statements = view.snapshot("statements")?;
    let hidden = statements
        .rows()
        .filter(|row| row.int("queryid").is_none())
        .count();
    if hidden == 0 {
        return Ok(());
    }
    monitor(view, "which statements other roles run")?;
    Err(Blind::Disabled {
        setting: "compute_query_id = on".to_owned(),
    }
    .into())
}

/// Returns the name of a statement: its identity, who runs it and where.
pub(super) fn name(row: Row<'_>) -> String {
    let nested = if row.flag("toplevel") == Some(false) {
        " (nested)"
    } else {
        ""
    };
    format!(
        "{} of {} in {}{nested}",
        row.value("queryid"),
        row.value("rolname"),
        row.value("datname")
    )
}

/// Returns the statement that shows the text: Pawang does not read texts, since all of them are read for one.
pub(super) fn show_text(row: Row<'_>) -> String {
    format!(
        "SELECT query FROM pg_stat_statements WHERE queryid = {} LIMIT 1;  -- role {}, database {}",
        row.value("queryid"),
        quoted(row.text("rolname").unwrap_or_default()),
        quoted(row.text("datname").unwrap_or_default())
    )
}
