//! Sums of what is too fine for a metric: sessions by state instead of by process id.
//!
//! A fold makes a smaller snapshot of a snapshot; everything after it treats both alike.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use pawang_core::{Column, ColumnKind, Snapshot, Value};

use crate::setting;

/// Most rows of one fold; the rest is summed up in one row whose labels are empty.
const ROWS_MAX: usize = 2_000;

/// How the rows of one collector are summed up.
pub(crate) struct Fold {
    /// The collector.
    pub(crate) collector: &'static str,
    /// The columns that tell the sums apart.
    by: &'static [&'static str],
    /// The sums: name, how, unit, help.
    sums: &'static [(&'static str, How, &'static str, &'static str)],
}

/// How several rows become one number.
#[derive(Clone, Copy)]
enum How {
    /// The number of rows.
    Rows,
    /// The number of rows in which a column is true, or not NULL where it is no flag.
    With(&'static str),
    /// The sum of a column.
    Sum(&'static str),
    /// The largest value of a column.
    Max(&'static str),
}

const PROGRESS: &[(&str, How, &str, &str)] = &[(
    "running",
    How::Rows,
    "",
    "Commands that run, by what they do now.",
)];
const PROGRESS_BY: &[&str] = &["datname", "phase"];

/// All folds.
pub(crate) const FOLDS: [Fold; 15] = [
    Fold {
        collector: "activity",
        by: &["datname", "backend_type", "state", "wait_event_type"],
        sums: &[
            (
                "sessions",
                How::Rows,
                "",
                "Server processes by what they do and wait for.",
            ),
            (
                "longest_transaction",
                How::Max("xact_age_seconds"),
                "s",
                "Age of the oldest transaction among them.",
            ),
            (
                "oldest_xmin_age",
                How::Max("backend_xmin_age"),
                "transactions",
                "Age of the oldest snapshot among them, in transactions.",
            ),
        ],
    },
    Fold {
        collector: "activity-history",
        by: &["datname", "backend_type", "state", "wait_event_type"],
        sums: &[
            (
                "sessions",
                How::Sum("sessions"),
                "",
                "Mean number of sessions, sampled every second, by what they do and wait for.",
            ),
            (
                "blocked",
                How::Sum("blocked"),
                "",
                "Samples of sessions that another one blocked.",
            ),
        ],
    },
    Fold {
        collector: "blocking",
        by: &["datname"],
        sums: &[
            (
                "waiting",
                How::With("wait_seconds"),
                "",
                "Sessions that wait for a lock.",
            ),
            (
                "longest_wait",
                How::Max("wait_seconds"),
                "s",
                "How long the first of them has waited.",
            ),
        ],
    },
    Fold {
        collector: "horizon",
        by: &["kind"],
        sums: &[
            (
                "holders",
                How::Rows,
                "",
                "What keeps vacuum from removing rows, by its kind.",
            ),
            (
                "longest",
                How::Max("age_seconds"),
                "s",
                "Age of the oldest of them.",
            ),
            (
                "xmin_age",
                How::Max("xmin_age"),
                "transactions",
                "Age of the oldest snapshot among them, in transactions.",
            ),
        ],
    },
    Fold {
        collector: "host-process",
        by: &[],
        sums: &[
            ("processes", How::Rows, "", "Processes of the server."),
            (
                "anonymous",
                How::Sum("anonymous_bytes"),
                "bytes",
                "Memory that they do not share.",
            ),
            (
                "swap",
                How::Sum("swap_bytes"),
                "bytes",
                "Their memory that was swapped out.",
            ),
            (
                "open_files",
                How::Sum("open_files"),
                "files",
                "Files that they have open.",
            ),
        ],
    },
    Fold {
        collector: "locks",
        by: &["datname"],
        sums: &[
            (
                "held",
                How::Sum("locks"),
                "",
                "Locks of all sessions, those they wait for included.",
            ),
            (
                "waiting",
                How::Sum("waiting"),
                "",
                "Locks that sessions wait for.",
            ),
            (
                "fast_path",
                How::Sum("fast_path"),
                "",
                "Locks taken without the lock manager.",
            ),
            (
                "relations",
                How::Sum("relations"),
                "",
                "Locks on relations.",
            ),
            ("advisory", How::Sum("advisory"), "", "Advisory locks."),
            (
                "most_of_one_session",
                How::Max("locks"),
                "",
                "Locks of the session that has most.",
            ),
        ],
    },
    Fold {
        collector: "prepared-transactions",
        by: &["database"],
        sums: &[
            ("transactions", How::Rows, "", "Prepared transactions."),
            (
                "longest",
                How::Max("age_seconds"),
                "s",
                "Age of the oldest prepared transaction.",
            ),
            (
                "xid_age",
                How::Max("transaction_age"),
                "transactions",
                "Age of the oldest prepared transaction, in transactions.",
            ),
        ],
    },
    Fold {
        collector: "subtransactions",
        by: &["datname"],
        sums: &[
            (
                "sessions",
                How::Rows,
                "",
                "Sessions with open subtransactions.",
            ),
            (
                "most_of_one_session",
                How::Max("subxact_count"),
                "",
                "Open subtransactions of the session that has most.",
            ),
            (
                "overflowed",
                How::With("subxact_overflowed"),
                "",
                "Sessions whose subtransactions no longer fit into shared memory.",
            ),
        ],
    },
    Fold {
        collector: "progress-analyze",
        by: PROGRESS_BY,
        sums: PROGRESS,
    },
    Fold {
        collector: "progress-basebackup",
        by: PROGRESS_BY,
        sums: PROGRESS,
    },
    Fold {
        collector: "progress-cluster",
        by: PROGRESS_BY,
        sums: PROGRESS,
    },
    Fold {
        collector: "progress-copy",
        by: PROGRESS_BY,
        sums: PROGRESS,
    },
    Fold {
        collector: "progress-create-index",
        by: PROGRESS_BY,
        sums: PROGRESS,
    },
    Fold {
        collector: "progress-repack",
        by: PROGRESS_BY,
        sums: PROGRESS,
    },
    Fold {
        collector: "progress-vacuum",
        by: PROGRESS_BY,
        sums: PROGRESS,
    },
];

/// Returns the snapshot that metrics are made of: the same, or a fold of it.
pub(crate) fn fold(snapshot: &Snapshot) -> Cow<'_, Snapshot> {
    if snapshot.collector == "settings" {
        return Cow::Owned(settings(snapshot));
    }
    match FOLDS
        .iter()
        .find(|fold| fold.collector == snapshot.collector)
    {
        Some(fold) => Cow::Owned(summed(fold, snapshot)),
        None => Cow::Borrowed(snapshot),
    }
}

/// Returns the columns that metrics are made of, for collectors that have these columns.
pub(crate) fn columns(collector: &str, columns: &[Column]) -> Vec<Column> {
    if collector == "settings" {
        return settings_columns();
    }
    match FOLDS.iter().find(|fold| fold.collector == collector) {
        Some(fold) => fold.columns(columns),
        None => columns.to_vec(),
    }
}

/// Returns what a sum means.
pub(crate) fn help(collector: &str, column: &str) -> Option<&'static str> {
    if collector == "settings" && column == "value" {
        return Some(
            "Settings that are numbers or flags, in bytes and seconds where they have such a unit.",
        );
    }
    let fold = FOLDS.iter().find(|fold| fold.collector == collector)?;
    let sum = fold.sums.iter().find(|(name, ..)| *name == column)?;
    Some(sum.3)
}

impl Fold {
    /// The labels that the snapshot has; a user's own version of a collector may lack some.
    fn by<'a>(&'a self, columns: &'a [Column]) -> impl Iterator<Item = (&'static str, usize)> + 'a {
        let places = self.by.iter().map(|name| (*name, place(columns, name)));
        places.filter_map(|(name, place)| Some((name, place?)))
    }

    fn columns(&self, columns: &[Column]) -> Vec<Column> {
        let labels = self
            .by(columns)
            .map(|(name, _)| column(name, ColumnKind::Label, ""));
        let sums = self.sums.iter();
        let sums = sums.map(|(name, _, unit, _)| column(name, ColumnKind::Gauge, unit));
        labels.chain(sums).collect()
    }
}

fn summed(fold: &Fold, snapshot: &Snapshot) -> Snapshot {
    let columns = &snapshot.columns;
    let by: Vec<usize> = fold.by(columns).map(|(_, place)| place).collect();
    let sources: Vec<Option<usize>> = fold
        .sums
        .iter()
        .map(|(_, how, ..)| match how {
            How::Rows => None,
            How::With(name) | How::Sum(name) | How::Max(name) => place(columns, name),
        })
        .collect();
    let mut sums: BTreeMap<Vec<String>, Vec<Option<f64>>> = BTreeMap::new();
    for row in &snapshot.rows {
        let mut key: Vec<String> = by.iter().map(|place| row[*place].to_string()).collect();
        if sums.len() >= ROWS_MAX && !sums.contains_key(&key) {
            key.iter_mut().for_each(String::clear);
        }
        let sums = sums
            .entry(key)
            .or_insert_with(|| vec![None; fold.sums.len()]);
        for (place, ((_, how, ..), source)) in fold.sums.iter().zip(&sources).enumerate() {
            let value = source.map(|source| &row[source]);
            add(&mut sums[place], *how, value);
        }
    }
    // Nobody waits is a fact; it must not look like "not seen".
    if by.is_empty() && sums.is_empty() {
        let none = |how: &How| matches!(how, How::Rows | How::With(_) | How::Sum(_)).then_some(0.0);
        sums.insert(
            Vec::new(),
            fold.sums.iter().map(|(_, how, ..)| none(how)).collect(),
        );
    }
    let rows = sums.into_iter().map(|(labels, sums)| {
        let labels = labels.into_iter().map(|label| Value::Text(label.into()));
        let sums = sums.into_iter().map(|sum| sum.map_or(Value::Null, value));
        labels.chain(sums).collect()
    });
    like(snapshot, fold.columns(columns), rows.collect())
}

fn add(sum: &mut Option<f64>, how: How, value: Option<&Value>) {
    let number = value.and_then(Value::as_float);
    match how {
        How::Rows => *sum = Some(sum.unwrap_or(0.0) + 1.0),
        How::With(_) => {
            let counts = !matches!(value, None | Some(Value::Null | Value::Bool(false)));
            *sum = Some(sum.unwrap_or(0.0) + if counts { 1.0 } else { 0.0 });
        }
        How::Sum(_) => {
            if let Some(number) = number {
                *sum = Some(sum.unwrap_or(0.0) + number);
            }
        }
        How::Max(_) => {
            if let Some(number) = number {
                *sum = Some(sum.map_or(number, |sum| sum.max(number)));
            }
        }
    }
}

fn value(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9.0e15 {
        Value::Int(number as i64)
    } else {
        Value::Float(number)
    }
}

fn settings(snapshot: &Snapshot) -> Snapshot {
    let rows = snapshot.rows().filter_map(|row| {
        let found = setting::number(&row)?;
        let name = Value::Text(row.text("name")?.into());
        let unit = found
            .unit
            .map_or(Value::Null, |unit| Value::Text(unit.into()));
        Some(vec![name, unit, Value::Float(found.value)])
    });
    let rows = rows.collect();
    like(snapshot, settings_columns(), rows)
}

fn settings_columns() -> Vec<Column> {
    vec![
        column("name", ColumnKind::Label, ""),
        column("unit", ColumnKind::Label, ""),
        column("value", ColumnKind::Gauge, ""),
    ]
}

fn column(name: &str, kind: ColumnKind, unit: &str) -> Column {
    Column {
        name: name.to_owned(),
        kind,
        unit: (!unit.is_empty()).then(|| unit.to_owned()),
    }
}

fn place(columns: &[Column], name: &str) -> Option<usize> {
    columns.iter().position(|column| column.name == name)
}

fn like(snapshot: &Snapshot, columns: Vec<Column>, rows: Vec<Vec<Value>>) -> Snapshot {
    Snapshot {
        collector: snapshot.collector.clone(),
        database: snapshot.database.clone(),
        at: snapshot.at,
        epoch: snapshot.epoch.clone(),
        cost: snapshot.cost,
        columns: Arc::from(columns),
        rows,
    }
}
