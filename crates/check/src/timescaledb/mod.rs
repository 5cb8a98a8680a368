//! TimescaleDB: its jobs and policies, its chunks, its workers.
//!
//! The statements behind these checks are tested against the published signatures of TimescaleDB's views, not against the extension itself.

mod chunks;
mod jobs;
mod policies;
mod workers;

use pawang_core::{Missing, Role, Row};

use crate::relation::{identifier, quoted};
use crate::{Check, View};

pub(crate) static CHECKS: &[Check] = &[
    jobs::FAILED,
    jobs::LATE,
    jobs::NEVER_RUN,
    jobs::OVERRUN,
    jobs::PAUSED,
    policies::UNCOMPRESSED_CHUNKS,
    policies::COMPRESSION_POLICY_MISSING,
    policies::RETENTION_LAG,
    policies::CAGG_LAG,
    policies::CAGG_POLICY_MISSING,
    chunks::CHUNK_COUNT,
    chunks::CHUNK_LOCKS,
    chunks::CHUNK_SIZE,
    workers::SCHEDULER,
    workers::BACKGROUND_WORKERS,
    workers::RESTORING,
    workers::VERSION,
];

/// Returns `schema.name` as people read it.
fn name(row: &Row<'_>, schema: &str, name: &str) -> Option<String> {
    Some(format!("{}.{}", row.text(schema)?, row.text(name)?))
}

/// Returns the hypertable of a row as people know it: by the continuous aggregate on top of it, if there is one.
fn hypertable(row: &Row<'_>) -> String {
    name(row, "view_schema", "view_name")
        .or_else(|| name(row, "hypertable_schema", "hypertable_name"))
        .unwrap_or_default()
}

/// Returns the same as a literal of type `regclass`, quoted twice where the name needs it.
fn regclass(row: &Row<'_>) -> String {
    let pair = |schema: &str, name: &str| Some(quoted(row.text(schema)?, row.text(name)?));
    let path = pair("view_schema", "view_name")
        .or_else(|| pair("hypertable_schema", "hypertable_name"))
        .unwrap_or_default();
    format!("'{}'", path.replace('\'', "''"))
}

/// Returns a job as people know it: its procedure, its table and its number.
fn job(row: &Row<'_>) -> String {
    let id = row.int("job_id").unwrap_or_default();
    let procedure = identifier(row.text("proc_name").unwrap_or("?"));
    match name(row, "hypertable_schema", "hypertable_name") {
        Some(table) => format!("{procedure} of {table} (job {id})"),
        None => format!("{procedure} (job {id})"),
    }
}

/// Policies work on the primary; a standby only shows what the primary's did.
fn on_primary(view: &View<'_>) -> Result<(), Missing> {
    if view.server()?.role == Role::Primary {
        Ok(())
    } else {
        Err(Missing::NotApplicable("the server is a standby".to_owned()))
    }
}
