//! What collectors saw, now or then, and how they are doing.

use pawang_core::{Facts, Missing, Timestamp};
use pawang_store::live::CollectorStatus;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::estate::Unseen;
use super::{limit, reply};
use crate::page::parts::{safe_item, safe_setting, without_secrets};
use crate::page::{Visit, parts, range};
use crate::problem::Problem;
use crate::routes::{Look, Reply};

/// Most rows of all snapshots in an answer; more are counted.
const ROWS_MAX: usize = 20_000;
/// Collectors whose rows are settings.
const SETTINGS: [&str; 3] = ["settings", "role-settings", "file-settings"];
/// Columns that hold the value of a setting.
const SETTING_VALUES: [&str; 4] = ["setting", "boot_val", "reset_val", "value"];

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
    let database = look.visit.parameter("database");
    let wanted = |read_in: Option<&str>| database.is_none_or(|database| read_in == Some(database));
    let found = match look.visit.parameter("at") {
        None => now(&look.visit, &present.facts, collector, wanted),
        Some(at) => {
            let at = range::read_instant(at)
                .ok_or_else(|| Problem::parameter("at", "RFC 3339, or milliseconds since 1970"))?;
            let then = look.visit.reader.snapshots_at(name, collector, at)?;
            let mut room = ROWS_MAX;
            (!then.is_empty()).then(|| {
                then.iter()
                    .filter(|snapshot| wanted(snapshot.database.as_deref()))
                    .map(|snapshot| shown(&look.visit, snapshot, &mut room))
                    .collect()
            })
        }
    };
    let missing = || Problem::not_found(&format!("snapshot of \"{collector}\" of \"{name}\""));
    reply(&found.ok_or_else(missing)?)
}

/// Answers with the newest samples of active sessions.
pub(crate) fn activity(look: &Look<'_>) -> Result<Reply, Problem> {
    let present = look.visit.instance(look.arguments.get("name"))?;
    let newest = present.activity.iter().rev().take(limit(look)?);
    let mut room = ROWS_MAX;
    let samples: Vec<Snapshot> = newest
        .map(|sample| shown(&look.visit, sample, &mut room))
        .collect();
    reply(&samples)
}

/// Returns what a collector saw last, in the databases that are wanted; `None` when it is not asked here.
fn now(
    visit: &Visit<'_>,
    facts: &Facts,
    collector: &str,
    wanted: impl Fn(Option<&str>) -> bool,
) -> Option<Vec<Snapshot>> {
    let mut room = ROWS_MAX;
    let sightings = facts.sightings.iter();
    let mut sightings = sightings
        .filter(|sighting| sighting.collector == collector)
        .peekable();
    sightings.peek()?;
    let wanted = sightings.filter(|sighting| wanted(sighting.database.as_deref()));
    let shown = wanted.map(|sighting| match &sighting.seen {
        Ok(snapshot) => shown(visit, snapshot, &mut room),
        Err(missing) => unseen(collector, sighting.database.clone(), missing),
    });
    Some(shown.collect())
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

/// Returns a snapshot as it may leave the process, with as many rows as there is room for.
fn shown(visit: &Visit<'_>, snapshot: &pawang_core::Snapshot, room: &mut usize) -> Snapshot {
    let told = snapshot.rows.len().min(*room);
    *room -= told;
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
            .take(told)
            .map(|row| values(visit, snapshot, row))
            .collect(),
        rows_total: snapshot.rows.len(),
        elapsed_seconds: snapshot.cost.elapsed.as_secs_f64(),
        blind: None,
        not_applicable: None,
    }
}

fn values(
    visit: &Visit<'_>,
    snapshot: &pawang_core::Snapshot,
    row: &[pawang_core::Value],
) -> Vec<Value> {
    let columns = || snapshot.columns.iter().zip(row);
    let mut names = columns().filter(|(column, _)| column.name == "name");
    let setting = names.next().and_then(|(_, name)| name.as_text());
    columns()
        .map(|(column, value)| {
            let origin = Origin {
                collector: &snapshot.collector,
                column: &column.name,
                setting,
            };
            safe(visit, &origin, value)
        })
        .collect()
}

/// Where a value comes from, as far as that decides what of it may leave the process.
pub(super) struct Origin<'a> {
    /// The collector.
    pub collector: &'a str,
    /// The column.
    pub column: &'a str,
    /// The setting that the row is about, where its name is known.
    pub setting: Option<&'a str>,
}

/// Returns a value as it may leave the process: statements without values, connection strings without passwords,
/// settings without secrets.
pub(super) fn safe(visit: &Visit<'_>, origin: &Origin<'_>, value: &pawang_core::Value) -> Value {
    match value {
        pawang_core::Value::Text(text) => Value::String(safe_text(visit, origin, text)),
        pawang_core::Value::List(items) => items.iter().map(|item| safe_item(item)).collect(),
        value => serde_json::to_value(value).unwrap_or_default(),
    }
}

fn safe_text(visit: &Visit<'_>, origin: &Origin<'_>, text: &str) -> String {
    match origin.column {
        "query" => parts::shown(visit, text),
        column if SETTINGS.contains(&origin.collector) && SETTING_VALUES.contains(&column) => {
            // Where nobody knows the name it may be that of a secret.
            safe_setting(origin.setting.unwrap_or(".secret"), text)
        }
        _ => without_secrets(text),
    }
}
