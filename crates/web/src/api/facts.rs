//! What collectors saw, now or then, and how they are doing.

use pawang_core::{Facts, Missing, Timestamp};
use pawang_store::live::CollectorStatus;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::estate::Unseen;
use super::{limit, reply};
use crate::page::parts::without_secrets;
use crate::page::{Visit, parts, range};
use crate::problem::Problem;
use crate::routes::{Look, Reply};

/// Most rows of one snapshot in an answer; more are counted.
const ROWS_MAX: usize = 20_000;

/// What one collector saw at one instant.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Snapshot {
    /// The collector.
    collector: String,
    /// The database that it was read in; absent for the server as a whole.
    database: Option<String>,
    /// When; absent when nothing was seen.
    at: Option<Timestamp>,
    /// The columns, in the order of the values of a row.
    columns: Vec<Column>,
    /// One value per column.
    rows: Vec<Vec<Value>>,
    /// How many rows there are; more than are told when there are very many.
    rows_total: usize,
    /// How long reading took, in seconds.
    elapsed_seconds: f64,
    /// Why nothing was seen.
    blind: Option<Unseen>,
    /// Why the question does not arise here.
    not_applicable: Option<String>,
}

/// A column of a collector.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Column {
    /// PostgreSQL's own name where there is one.
    name: String,
    /// `label`, `counter`, `gauge` or `info`.
    kind: Value,
    /// The unit of a number.
    unit: Option<String>,
}

/// How one collector is doing.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Collector {
    /// The collector.
    name: String,
    /// Seconds from one look to the next, as it asks for.
    interval_seconds: f64,
    /// Seconds from one look to the next, as it is now.
    interval_now_seconds: f64,
    /// When it was asked last.
    asked_at: Option<Timestamp>,
    /// How long asking took last, in seconds.
    elapsed_seconds: f64,
    /// Rows received last.
    rows: usize,
    /// Share of one core of the server over the last minutes, in percent.
    percent: f64,
    /// How often it was asked.
    runs: u64,
    /// How often it saw nothing though it should have.
    failures: u64,
    /// Why it saw nothing last time.
    blind: Option<Unseen>,
}

/// Answers with how each collector of an instance is doing.
pub(crate) fn collectors(look: &Look<'_>) -> Result<Reply, Problem> {
    let present = look.visit.instance(look.arguments.get("name"))?;
    let collectors: Vec<Collector> = present.collectors.iter().map(collector).collect();
    reply(&collectors)
}

fn collector(status: &CollectorStatus) -> Collector {
    Collector {
        name: status.name.clone(),
        interval_seconds: status.interval.as_secs_f64(),
        interval_now_seconds: status.interval_now.as_secs_f64(),
        asked_at: status.asked_at,
        elapsed_seconds: status.elapsed.as_secs_f64(),
        rows: status.rows,
        percent: status.percent,
        runs: status.runs,
        failures: status.failures,
        blind: status.blind.as_ref().map(Unseen::from),
    }
}

/// Answers with what a collector saw, last or at a time.
pub(crate) fn snapshots(look: &Look<'_>) -> Result<Reply, Problem> {
    let name = look.arguments.get("name");
    let collector = look.arguments.get("collector");
    let present = look.visit.site.live.instance(name);
    let present = present.ok_or_else(|| Problem::not_found(&format!("instance \"{name}\"")))?;
    let mut found = match look.visit.parameter("at") {
        None => now(&look.visit, &present.facts, collector),
        Some(at) => {
            let at = range::read_instant(at)
                .ok_or_else(|| Problem::parameter("at", "RFC 3339, or milliseconds since 1970"))?;
            let then = look.visit.reader.snapshots_at(name, collector, at)?;
            then.iter()
                .map(|snapshot| shown(&look.visit, snapshot))
                .collect()
        }
    };
    if found.is_empty() {
        return Err(Problem::not_found(&format!(
            "snapshot of \"{collector}\" of \"{name}\""
        )));
    }
    if let Some(database) = look.visit.parameter("database") {
        found.retain(|snapshot| snapshot.database.as_deref() == Some(database));
    }
    reply(&found)
}

/// Answers with the newest samples of active sessions.
pub(crate) fn activity(look: &Look<'_>) -> Result<Reply, Problem> {
    let present = look.visit.instance(look.arguments.get("name"))?;
    let newest = present.activity.iter().rev().take(limit(look)?);
    let samples: Vec<Snapshot> = newest.map(|sample| shown(&look.visit, sample)).collect();
    reply(&samples)
}

fn now(visit: &Visit<'_>, facts: &Facts, collector: &str) -> Vec<Snapshot> {
    let sightings = facts.sightings.iter();
    let sightings = sightings.filter(|sighting| sighting.collector == collector);
    sightings
        .map(|sighting| match &sighting.seen {
            Ok(snapshot) => shown(visit, snapshot),
            Err(missing) => unseen(collector, sighting.database.clone(), missing),
        })
        .collect()
}

fn unseen(collector: &str, database: Option<String>, missing: &Missing) -> Snapshot {
    let (blind, not_applicable) = match missing {
        Missing::Blind(blind) => (Some(Unseen::from(blind)), None),
        Missing::NotApplicable(why) => (None, Some(why.clone())),
    };
    Snapshot {
        collector: collector.to_owned(),
        database,
        at: None,
        columns: Vec::new(),
        rows: Vec::new(),
        rows_total: 0,
        elapsed_seconds: 0.0,
        blind,
        not_applicable,
    }
}

fn shown(visit: &Visit<'_>, snapshot: &pawang_core::Snapshot) -> Snapshot {
    let cell = |(column, value): (&pawang_core::Column, &pawang_core::Value)| match value {
        pawang_core::Value::Text(text) => Value::String(safe(visit, &column.name, text)),
        value => serde_json::to_value(value).unwrap_or_default(),
    };
    Snapshot {
        collector: snapshot.collector.clone(),
        database: snapshot.database.clone(),
        at: Some(snapshot.at),
        columns: snapshot
            .columns
            .iter()
            .map(|column| Column {
                name: column.name.clone(),
                kind: serde_json::to_value(column.kind).unwrap_or_default(),
                unit: column.unit.clone(),
            })
            .collect(),
        rows: snapshot
            .rows
            .iter()
            .take(ROWS_MAX)
            .map(|row| snapshot.columns.iter().zip(row).map(cell).collect())
            .collect(),
        rows_total: snapshot.rows.len(),
        elapsed_seconds: snapshot.cost.elapsed.as_secs_f64(),
        blind: None,
        not_applicable: None,
    }
}

/// Returns a text as it may leave the process: statements without values, connection strings without passwords.
pub(super) fn safe(visit: &Visit<'_>, column: &str, text: &str) -> String {
    match column {
        "query" => parts::shown(visit, text),
        _ if text.contains(['=', ':']) => without_secrets(text),
        _ => text.to_owned(),
    }
}
