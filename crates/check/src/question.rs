//! The columns that the statements of `pawang.toml` must return, so that checks can judge their answers.

use std::sync::Arc;

use pawang_core::{Column, ColumnKind};

/// What `[[instance.backup]]` of kind `sql` returns, one row per backup.
const BACKUP: &[(&str, ColumnKind)] = &[
    ("label", ColumnKind::Label),
    ("finished_at", ColumnKind::Info),
    ("size_bytes", ColumnKind::Gauge),
    ("ok", ColumnKind::Info),
];

/// What `[[instance.load]]` returns, one row per load; the last column is the file's `maximum_age` in seconds.
const LOAD: &[(&str, ColumnKind)] = &[
    ("load", ColumnKind::Label),
    ("finished_at", ColumnKind::Info),
    ("status", ColumnKind::Info),
    ("rows_loaded", ColumnKind::Gauge),
    ("rows_rejected", ColumnKind::Gauge),
    ("maximum_age", ColumnKind::Info),
];

/// What `[[instance.freshness]]` returns, one row per table; the last column is the file's `maximum_age` in seconds.
const FRESHNESS: &[(&str, ColumnKind)] = &[
    ("object", ColumnKind::Label),
    ("last_at", ColumnKind::Info),
    ("maximum_age", ColumnKind::Info),
];

/// What a check of the user's own returns, one row per object.
const USER: &[(&str, ColumnKind)] = &[("object", ColumnKind::Label), ("value", ColumnKind::Gauge)];

/// Returns the columns of a backup source.
pub fn backup_columns() -> Arc<[Column]> {
    columns(BACKUP)
}

/// Returns the columns of a load source; the caller appends `maximum_age` in seconds to every row.
pub fn load_columns() -> Arc<[Column]> {
    columns(LOAD)
}

/// Returns the columns of a freshness source; the caller appends `maximum_age` in seconds to every row.
pub fn freshness_columns() -> Arc<[Column]> {
    columns(FRESHNESS)
}

/// Returns the columns of a check of the user's own.
pub fn user_columns() -> Arc<[Column]> {
    columns(USER)
}

fn columns(declared: &[(&str, ColumnKind)]) -> Arc<[Column]> {
    let column = |(name, kind): &(&str, ColumnKind)| Column {
        name: (*name).to_owned(),
        kind: *kind,
        unit: None,
    };
    declared.iter().map(column).collect()
}
