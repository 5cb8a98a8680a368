//! PgBouncer's console.

use std::sync::Arc;
use std::time::Instant;

use pawang_core::{Blind, Column, ColumnKind, Cost, Missing, Sighting, Snapshot, Timestamp, Value};
use pawang_postgres::{Console, Error, Rows, Target, console};

use crate::Collector;
use crate::catalog::parse_version;

/// What PgBouncer says to users who are neither in `admin_users` nor in `stats_users`.
const REFUSALS: [&str; 3] = ["not allowed", "admin access needed", "permission denied"];

/// Reads the wanted collectors of PgBouncer, or says why they cannot be read.
pub(crate) async fn observe(
    target: Option<&Target>,
    purpose: &str,
    wanted: &[&Collector],
    now: Timestamp,
) -> Vec<Sighting> {
    let Some(target) = target else {
        let none = Missing::NotApplicable("no PgBouncer is configured".to_owned());
        return all(wanted, &none);
    };
    let session = match console(target, purpose).await {
        Ok(session) => session,
        Err(error) => return all(wanted, &missing(&error, target)),
    };
    let version = match version(&session).await {
        Ok(version) => version,
        Err(error) => return all(wanted, &missing(&error, target)),
    };
    let mut sightings = Vec::new();
    for collector in wanted {
        let seen = read(&session, collector, version, target, now).await;
        sightings.push(Sighting {
            collector: collector.name.clone(),
            database: None,
            seen: seen.map(Arc::new),
        });
    }
    sightings
}

fn all(wanted: &[&Collector], missing: &Missing) -> Vec<Sighting> {
    let sighting = |collector: &&Collector| Sighting {
        collector: collector.name.clone(),
        database: None,
        seen: Err(missing.clone()),
    };
    wanted.iter().map(sighting).collect()
}

/// Returns the version of `PgBouncer 1.18.0`.
async fn version(session: &Console) -> Result<(u32, u32), Error> {
    let rows = session.read_text("SHOW VERSION").await?;
    let text = rows.rows.first().and_then(|row| row.first()?.as_text());
    let number = text.and_then(|text| text.split_whitespace().last());
    // A console without a version is older than all that is known.
    Ok(number.and_then(parse_version).unwrap_or((1, 0)))
}

async fn read(
    session: &Console,
    collector: &Collector,
    version: (u32, u32),
    target: &Target,
    now: Timestamp,
) -> Result<Snapshot, Missing> {
    let command = collector.statement(version).ok_or_else(|| {
        Missing::NotApplicable(format!(
            "PgBouncer {}.{} has no such command",
            version.0, version.1
        ))
    })?;
    let started = Instant::now();
    let rows = session
        .read_text(command.trim())
        .await
        .map_err(|error| missing(&error, target))?;
    let columns = collector.header.columns.clone();
    Ok(Snapshot {
        collector: collector.name.clone(),
        database: None,
        at: now,
        epoch: None,
        cost: Cost {
            elapsed: started.elapsed(),
            rows: rows.rows.len(),
        },
        rows: arrange(&columns, rows),
        columns,
    })
}

/// Brings the console's texts into the declared order and types; versions differ in columns, and new ones are left out.
fn arrange(columns: &[Column], rows: Rows) -> Vec<Vec<Value>> {
    let sources: Vec<Option<usize>> = columns
        .iter()
        .map(|column| rows.names.iter().position(|name| *name == column.name))
        .collect();
    let value = |row: &[Value], column: &Column, source: &Option<usize>| {
        let value = source.and_then(|index| row.get(index)).cloned();
        let value = value.unwrap_or_default();
        match (column.kind, value.as_text()) {
            (ColumnKind::Counter | ColumnKind::Gauge, Some(text)) => number(text),
            _ => value,
        }
    };
    rows.rows
        .iter()
        .map(|row| {
            columns
                .iter()
                .zip(&sources)
                .map(|(column, source)| value(row, column, source))
                .collect()
        })
        .collect()
}

fn number(text: &str) -> Value {
    let whole = text.parse().ok().map(Value::Int);
    whole
        .or_else(|| text.parse().ok().map(Value::Float))
        .unwrap_or_default()
}

fn missing(error: &Error, target: &Target) -> Missing {
    let what = error.line();
    if REFUSALS.iter().any(|text| what.contains(text)) {
        return Blind::NoPrivilege {
            what,
            grant: format!(
                "in pgbouncer.ini, section [pgbouncer]: stats_users = {}  (add it to the list, then RELOAD in the console)",
                target.user
            ),
        }
        .into();
    }
    let refused = matches!(
        error,
        Error::Refused { .. } | Error::PasswordMissing { .. } | Error::LogIn { .. }
    );
    // At max_client_conn nobody gets in, whoever asks.
    if refused && !what.contains("no more connections") {
        return Blind::NoPrivilege {
            what,
            grant: format!(
                "in the file of auth_file: a line for \"{user}\" with its password, and in pgbouncer.ini, section [pgbouncer]: stats_users = {user}  (add it to the list, then RELOAD in the console)",
                user = target.user
            ),
        }
        .into();
    }
    error.blind().into()
}
