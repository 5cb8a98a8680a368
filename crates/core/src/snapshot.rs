//! What one collector saw at one instant.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a column means to whoever reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnKind {
    /// Part of the key of a row.
    Label,
    /// A number that only grows until it is reset.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Anything else: texts, flags, instants.
    Info,
}

/// A declared column of a collector; servers that do not have it deliver `Null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// PostgreSQL's own name where there is one.
    pub name: String,
    /// What it means.
    pub kind: ColumnKind,
    /// Unit of a number: `bytes`, `ms`, `s`, `pages`, `rows`, ...
    #[serde(default)]
    pub unit: Option<String>,
}

/// One value as the server sent it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// SQL NULL, or a column that this server version does not have.
    #[default]
    Null,
    /// `boolean`.
    Bool(bool),
    /// Any integer type, `oid`, and `pg_lsn` as a byte position.
    Int(i64),
    /// Any floating-point type.
    Float(f64),
    /// `timestamptz`.
    Time(Timestamp),
    /// Any text type.
    Text(Box<str>),
    /// `text[]`.
    List(Vec<String>),
}

/// What makes a counter comparable with an older reading of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// `pg_control_system().system_identifier`.
    pub system_identifier: u64,
    /// Timeline of the last checkpoint.
    pub timeline: u32,
    /// `pg_postmaster_start_time()`.
    pub started_at: Timestamp,
}

/// What reading cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// From sending the statement to its last row.
    pub elapsed: Duration,
    /// Rows received.
    pub rows: usize,
}

/// What one collector saw at one instant: typed columns times rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The collector's kebab-case name.
    pub collector: String,
    /// The database that it was read in; `None` when the facts belong to the whole server or its host.
    pub database: Option<String>,
    /// The server's clock where a server was asked, else the caller's.
    pub at: Timestamp,
    /// What makes its counters comparable; `None` for host, PgBouncer and Patroni.
    pub epoch: Option<Epoch>,
    /// What reading cost.
    pub cost: Cost,
    /// Every declared column, in the header's order; shared by all snapshots of the collector.
    pub columns: Arc<[Column]>,
    /// One value per column.
    pub rows: Vec<Vec<Value>>,
}

/// One row of a snapshot, with access by column name.
///
/// Asking for a column that the collector does not declare is a bug of the caller and panics;
/// a declared column that this server version lacks reads as NULL.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    columns: &'a [Column],
    values: &'a [Value],
}

/// A column looked up once, for loops over many rows.
#[derive(Clone, Copy, Debug)]
pub struct Key(usize);

impl Snapshot {
    /// Returns the rows in the order in which the server sent them.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> + Clone {
        self.rows.iter().map(|values| Row {
            columns: &self.columns,
            values,
        })
    }

    /// Returns the only row of a one-row collector, if the server sent one.
    pub fn first(&self) -> Option<Row<'_>> {
        self.rows().next()
    }

    /// Looks a column up once, for [`Row::at`].
    pub fn key(&self, name: &str) -> Key {
        Key(position(&self.columns, name))
    }

    /// Pairs every row with its older self, by the label columns.
    ///
    /// Rows without an older self, and all rows when the epochs differ, are paired with `None`; so are rows whose
    /// labels are not theirs alone, since nobody knows which is whose older self.
    pub fn paired<'a>(&'a self, older: &'a Snapshot) -> Vec<(Row<'a>, Option<Row<'a>>)> {
        let comparable =
            self.epoch == older.epoch && self.database == older.database && self.at > older.at;
        if !comparable {
            return self.rows().map(|row| (row, None)).collect();
        }
        let (newer, older) = (self.by_identity(), older.by_identity());
        self.rows()
            .map(|row| {
                let identity = row.identity();
                let alone = newer.get(&identity).is_some_and(Option::is_some);
                let old = older.get(&identity).copied().flatten();
                (row, old.filter(|_| alone))
            })
            .collect()
    }

    /// Returns the rows by their labels; `None` for labels that several rows have.
    fn by_identity(&self) -> HashMap<String, Option<Row<'_>>> {
        let mut rows = HashMap::with_capacity(self.rows.len());
        for row in self.rows() {
            rows.entry(row.identity())
                .and_modify(|found| *found = None)
                .or_insert(Some(row));
        }
        rows
    }
}

impl<'a> Row<'a> {
    /// Returns the value of a column.
    pub fn value(&self, name: &str) -> &'a Value {
        &self.values[position(self.columns, name)]
    }

    /// Returns the value of a column that was looked up before.
    pub fn at(&self, key: Key) -> &'a Value {
        &self.values[key.0]
    }

    /// Returns an integer, or `None` for NULL.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.value(name).as_int()
    }

    /// Returns a number as floating point, or `None` for NULL.
    pub fn float(&self, name: &str) -> Option<f64> {
        self.value(name).as_float()
    }

    /// Returns a text, or `None` for NULL.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.value(name).as_text()
    }

    /// Returns a flag, or `None` for NULL.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.value(name) {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// Returns an instant, or `None` for NULL.
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        match self.value(name) {
            Value::Time(instant) => Some(*instant),
            _ => None,
        }
    }

    /// Returns a list of texts; NULL is an empty list.
    pub fn list(&self, name: &str) -> &'a [String] {
        match self.value(name) {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// Returns the growth of a counter since `older`, or `None` when it shrank (it was reset) or was not there.
    pub fn growth(&self, older: Row<'_>, name: &str) -> Option<f64> {
        let growth = self.float(name)? - older.float(name)?;
        (growth >= 0.0).then_some(growth)
    }

    /// Returns the label columns joined with `.`, the name of the row for people.
    pub fn label(&self) -> String {
        self.labels().join(".")
    }

    /// Returns the label columns kept apart, the identity of the row within its snapshot.
    fn identity(&self) -> String {
        self.labels().join("\0")
    }

    /// Returns the label columns, in their order, as texts.
    pub fn labels(&self) -> Vec<String> {
        let labels = self
            .columns
            .iter()
            .zip(self.values)
            .filter(|(column, _)| column.kind == ColumnKind::Label);
        labels.map(|(_, value)| value.to_string()).collect()
    }

    /// Returns the info columns that are not NULL and their values as texts.
    pub fn infos(&self) -> Vec<(&'a str, String)> {
        let columns = self.columns.iter().zip(self.values);
        let infos =
            columns.filter(|(c, value)| c.kind == ColumnKind::Info && **value != Value::Null);
        infos
            .map(|(column, value)| (column.name.as_str(), value.to_string()))
            .collect()
    }

    /// Returns the named columns that are not NULL and their values as texts: the evidence of a finding.
    pub fn evidence(&self, names: &[&str]) -> Vec<(String, String)> {
        let named = names.iter().map(|name| (*name, self.value(name)));
        let named = named.filter(|(_, value)| **value != Value::Null);
        named
            .map(|(name, value)| (name.to_owned(), value.to_string()))
            .collect()
    }
}

impl Value {
    /// Returns an integer; a float only if it is whole.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            Value::Float(number) if number.fract() == 0.0 && number.abs() < 9.0e18 => {
                Some(*number as i64)
            }
            _ => None,
        }
    }

    /// Returns any number as floating point.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Value::Int(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns a text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Null => Ok(()),
            Value::Bool(flag) => write!(f, "{flag}"),
            Value::Int(number) => write!(f, "{number}"),
            Value::Float(number) => write!(f, "{number}"),
            Value::Time(instant) => write!(f, "{instant}"),
            Value::Text(text) => f.write_str(text),
            Value::List(items) => f.write_str(&items.join(",")),
        }
    }
}

fn position(columns: &[Column], name: &str) -> usize {
    columns
        .iter()
        .position(|column| column.name == name)
        .unwrap_or_else(|| unreachable!("column \"{name}\" is not declared by its collector"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(at: &str, rows: &[(&str, i64)]) -> Snapshot {
        let column = |name: &str, kind| Column {
            name: name.to_owned(),
            kind,
            unit: None,
        };
        Snapshot {
            collector: "database".to_owned(),
            database: None,
            at: at.parse().unwrap(),
            epoch: Some(Epoch::default()),
            cost: Cost::default(),
            columns: [
                column("datname", ColumnKind::Label),
                column("deadlocks", ColumnKind::Counter),
            ]
            .into(),
            rows: rows
                .iter()
                .map(|(name, count)| vec![Value::Text((*name).into()), Value::Int(*count)])
                .collect(),
        }
    }

    #[test]
    fn growth_is_never_negative_and_never_crosses_an_epoch() {
        let older = snapshot("2026-01-01T00:00:00Z", &[("a", 5), ("b", 9)]);
        let newer = snapshot("2026-01-01T00:01:00Z", &[("a", 7), ("b", 1), ("c", 3)]);
        let growths = |newer: &Snapshot, older: &Snapshot| -> Vec<Option<f64>> {
            let pairs = newer.paired(older);
            pairs
                .iter()
                .map(|(row, old)| old.and_then(|old| row.growth(old, "deadlocks")))
                .collect()
        };
        assert_eq!(growths(&newer, &older), [Some(2.0), None, None]);
        let mut failed_over = older.clone();
        failed_over.epoch = Some(Epoch {
            timeline: 2,
            ..Epoch::default()
        });
        assert_eq!(growths(&newer, &failed_over), [None, None, None]);
        assert_eq!(
            growths(&older, &newer),
            [None, None],
            "a clock that went back gives no rate"
        );
    }

    #[test]
    fn rows_that_share_their_labels_have_no_older_self() {
        let older = snapshot(
            "2026-01-01T00:00:00Z",
            &[("a", 5), ("b", 1), ("c", 1), ("c", 9)],
        );
        let newer = snapshot(
            "2026-01-01T00:01:00Z",
            &[("a", 7), ("b", 2), ("b", 9), ("c", 9)],
        );
        let pairs = newer.paired(&older);
        let olds: Vec<_> = pairs
            .iter()
            .map(|(_, old)| old.and_then(|old| old.int("deadlocks")))
            .collect();
        assert_eq!(olds, [Some(5), None, None, None]);
    }

    #[test]
    fn values_survive_json() {
        let older = snapshot("2026-01-01T00:00:00Z", &[("2026-01-01", 5)]);
        let text = serde_json::to_string(&older).unwrap();
        assert_eq!(
            serde_json::from_str::<Snapshot>(&text).unwrap().rows,
            older.rows
        );
    }
}
