//! Rows of snapshots, old ones too: what an older Pawang did not collect reads as NULL.

use pawang_core::{Facts, Missing, Snapshot, Timestamp, Value};
use pawang_store::live::Present;

/// One row of a snapshot; a column that it lacks reads as NULL.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    snapshot: &'a Snapshot,
    values: &'a [Value],
}

/// Returns the rows of a collector of the whole server or its host.
///
/// # Errors
/// Why it saw nothing.
pub(crate) fn lines<'a>(facts: &'a Facts, collector: &str) -> Result<Vec<Line<'a>>, Missing> {
    Ok(lines_of(facts.snapshot(collector, None)?))
}

/// Returns the rows of a snapshot.
pub(crate) fn lines_of(snapshot: &Snapshot) -> Vec<Line<'_>> {
    let rows = snapshot.rows.iter();
    rows.map(|values| Line { snapshot, values }).collect()
}

/// Returns how old what is known of an instance is: one that does not answer was not seen when it was asked.
pub(crate) fn known_at(present: &Present) -> Option<Timestamp> {
    match &present.facts.server {
        Ok(_) => Some(present.facts.at),
        Err(_) => present.answered_at,
    }
}

impl<'a> Line<'a> {
    /// Returns the database that the row was read in, for collectors that are read in each.
    pub(crate) fn database(&self) -> Option<&'a str> {
        self.snapshot.database.as_deref()
    }

    /// Returns when it was seen.
    pub(crate) fn seen_at(&self) -> Timestamp {
        self.snapshot.at
    }

    /// Returns a value; NULL when there is no such column.
    pub(crate) fn value(&self, name: &str) -> &'a Value {
        let columns = self.snapshot.columns.iter();
        let mut found = columns
            .zip(self.values)
            .filter(|(column, _)| column.name == name);
        found.next().map_or(&Value::Null, |(_, value)| value)
    }

    /// Returns a number.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.value(name).as_float()
    }

    /// Returns an integer.
    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        self.value(name).as_int()
    }

    /// Returns a text that is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.value(name).as_text().filter(|text| !text.is_empty())
    }

    /// Returns a text; empty when there is none.
    pub(crate) fn word(&self, name: &str) -> &'a str {
        self.text(name).unwrap_or_default()
    }

    /// Returns a flag.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        match self.value(name) {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// Returns an instant.
    pub(crate) fn time(&self, name: &str) -> Option<Timestamp> {
        match self.value(name) {
            Value::Time(at) => Some(*at),
            _ => None,
        }
    }
}
