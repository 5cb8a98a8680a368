//! What happened to a server, from the history: what may have made a statement slower.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use jiff::SignedDuration;
use pawang_core::{Epoch, Snapshot, Timestamp, Value};
use pawang_store::Error;
use pawang_store::history::{Change, Reader, Span};

use crate::regression::{CauseKind, Mark, Stale};

/// Changes of one collector that are looked through.
const CHANGES_MAX: usize = 20_000;
/// Objects of a schema whose change is told; the definitions of more are not looked up.
const OBJECTS_MAX: usize = 200;
/// Characters of a value or of a definition.
const SHOWN_CHARACTERS_MAX: usize = 80;
/// The collector whose one small row comes most often with every life of the server.
const LIVES: &str = "statements-info";
/// Definitions of what is gone are looked for so far back.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(1);
const SCHEMA: &str = "schema-objects";

/// What happened to a server.
#[derive(Debug, Default)]
pub(super) struct Happened {
    /// What may be a cause, in no order.
    pub(super) marks: Vec<Mark>,
    /// The tables of indexes that appeared, vanished or changed, by their names.
    pub(super) owners: BTreeMap<String, Vec<String>>,
}

/// Returns what happened within a span.
pub(super) fn happened(reader: &Reader, instance: &str, span: Span) -> Result<Happened, Error> {
    let mut happened = Happened {
        marks: settings(reader, instance, span)?,
        ..Happened::default()
    };
    happened.marks.extend(lives(reader, instance, span)?);
    upgraded(&mut happened.marks);
    schema(reader, instance, span, &mut happened)?;
    happened.marks.extend(analysed(reader, instance, span)?);
    Ok(happened)
}

/// Returns the tables whose statistics were gathered before many of their rows changed, as last seen.
pub(super) fn stale(reader: &Reader, instance: &str, now: Timestamp) -> Result<Vec<Stale>, Error> {
    let snapshots = reader.snapshots_at(instance, "tables", now)?;
    let mut found = Vec::new();
    for row in snapshots.iter().flat_map(Snapshot::rows) {
        let (Some(schema), Some(table)) = (row.text("schemaname"), row.text("relname")) else {
            continue;
        };
        let number = |name: &str| row.value(name).as_float().unwrap_or(0.0);
        let time = |name: &str| match row.value(name) {
            Value::Time(at) => Some(*at),
            _ => None,
        };
        if matches!(schema, "pg_catalog" | "pg_toast" | "information_schema") {
            continue;
        }
        found.push(Stale {
            name: format!("{schema}.{table}"),
            table: table.to_owned(),
            analysed_at: time("last_analyze").max(time("last_autoanalyze")),
            changed: number("n_mod_since_analyze"),
            rows: number("n_live_tup"),
        });
    }
    Ok(found)
}

fn settings(reader: &Reader, instance: &str, span: Span) -> Result<Vec<Mark>, Error> {
    let changes = reader.changes(instance, "settings", span, CHANGES_MAX)?;
    let told = changes.into_iter().filter_map(|change| {
        let name = change.labels.first()?;
        if change.column.as_deref() != Some("setting") || name == "server_version_num" {
            return None;
        }
        let (before, after) = (shown(&change.before), shown(&change.after));
        let (kind, what) = match name.as_str() {
            // However long the upgrade took, these are the values of before and since.
            "server_version" => (
                CauseKind::Upgrade,
                format!("PostgreSQL {before} became {after}"),
            ),
            _ => (
                CauseKind::Setting,
                format!("setting {name} changed from {before} to {after}"),
            ),
        };
        Some(Mark {
            at: change.at,
            kind,
            what,
            evidence: "pg_settings, first seen then".to_owned(),
            tables: Vec::new(),
        })
    });
    Ok(told.collect())
}

/// Gives upgrades the time of the start that brought them: only a start can.
fn upgraded(marks: &mut [Mark]) {
    let starts = marks.iter().filter(|mark| mark.kind == CauseKind::Restart);
    let starts: Vec<Timestamp> = starts.map(|mark| mark.at).collect();
    for mark in marks
        .iter_mut()
        .filter(|mark| mark.kind == CauseKind::Upgrade)
    {
        let start = starts.iter().filter(|start| **start <= mark.at).max();
        mark.at = start.copied().unwrap_or(mark.at);
    }
}

fn shown(value: &Option<Value>) -> String {
    let text = value.as_ref().map(Value::to_string).unwrap_or_default();
    let short: String = text.chars().take(SHOWN_CHARACTERS_MAX).collect();
    if short.is_empty() {
        "nothing".to_owned()
    } else {
        short
    }
}

/// Returns starts and failovers.
fn lives(reader: &Reader, instance: &str, span: Span) -> Result<Vec<Mark>, Error> {
    let mut marks = Vec::new();
    let mut before: Option<(Epoch, Timestamp)> = None;
    let mut each = |snapshot: Snapshot| {
        let Some(epoch) = snapshot.epoch else {
            return ControlFlow::Continue(());
        };
        if let Some((old, _)) = &before {
            marks.extend(life(old, &epoch, snapshot.at));
        }
        before = Some((epoch, snapshot.at));
        ControlFlow::Continue(())
    };
    reader.walk(instance, LIVES, span, &mut each)?;
    Ok(marks)
}

/// Returns what lies between two epochs that follow each other.
fn life(old: &Epoch, new: &Epoch, seen_at: Timestamp) -> Option<Mark> {
    let mark = |at, kind, what: String, evidence: &str| {
        Some(Mark {
            at,
            kind,
            what,
            evidence: evidence.to_owned(),
            tables: Vec::new(),
        })
    };
    let (from, to) = (old.timeline, new.timeline);
    // A server that does not tell its timeline says 0.
    if from != to && from != 0 && to != 0 {
        let what = format!("a standby was promoted: timeline {from} became {to}");
        return mark(
            seen_at,
            CauseKind::Failover,
            what,
            "pg_control_checkpoint(), first seen then",
        );
    }
    if old.started_at == new.started_at {
        return None;
    }
    let what = "the server was started: its memory was empty".to_owned();
    mark(
        new.started_at,
        CauseKind::Restart,
        what,
        "pg_postmaster_start_time()",
    )
}

/// Adds objects that appeared, vanished or changed.
fn schema(
    reader: &Reader,
    instance: &str,
    span: Span,
    happened: &mut Happened,
) -> Result<(), Error> {
    let changes = reader.changes(instance, SCHEMA, span, CHANGES_MAX)?;
    let wanted = |change: &&Change| {
        let whole = change.column.is_none();
        whole || change.column.as_deref() == Some("definition_hash")
    };
    let mut definitions = Definitions::default();
    for change in changes.iter().filter(wanted).take(OBJECTS_MAX) {
        let [kind, schema, name] = change.labels.as_slice() else {
            continue;
        };
        let gone = change.column.is_none() && change.after.is_none();
        let definition = definitions.of(reader, instance, change, gone)?;
        let what = match (&change.column, gone) {
            (None, true) => "is gone",
            (None, false) => "is new",
            (Some(_), _) => "changed",
        };
        let database = change.database.as_deref().unwrap_or_default();
        let tables: Vec<String> = tables(kind, name, definition.as_deref())
            .into_iter()
            .collect();
        if kind.ends_with("index") && !tables.is_empty() {
            happened.owners.insert(name.to_lowercase(), tables.clone());
        }
        // What belongs to no table would be named with every statement.
        if tables.is_empty() && !matches!(kind.as_str(), "function" | "procedure" | "extension") {
            continue;
        }
        let shown: String = definition
            .unwrap_or_default()
            .chars()
            .take(SHOWN_CHARACTERS_MAX)
            .collect();
        happened.marks.push(Mark {
            at: change.at,
            kind: CauseKind::Schema,
            what: format!("{kind} {schema}.{name} {what}"),
            evidence: format!("catalogues of database {database}, first seen then: {shown}"),
            tables: if tables.is_empty() {
                vec![plain(name)]
            } else {
                tables
            },
        });
    }
    Ok(())
}

/// Returns the table that an object belongs to, or the object itself where statements name that.
fn tables(kind: &str, name: &str, definition: Option<&str>) -> Option<String> {
    match kind {
        "index" | "partitioned index" => {
            let (_, rest) = definition?.split_once("ON ")?;
            let (table, _) = rest.split_once(" USING ")?;
            Some(table.to_owned())
        }
        "constraint" | "trigger" | "policy" => {
            name.split_once('.').map(|(table, _)| table.to_owned())
        }
        "table" | "partition" | "partitioned table" | "foreign table" | "view"
        | "materialized view" => Some(name.to_owned()),
        _ => None,
    }
}

/// Returns the name of a function without its arguments.
fn plain(name: &str) -> String {
    name.split('(').next().unwrap_or(name).to_owned()
}

/// Definitions of objects at the times of changes, each time looked up once.
#[derive(Default)]
struct Definitions {
    at: BTreeMap<Timestamp, Vec<Snapshot>>,
}

impl Definitions {
    fn of(
        &mut self,
        reader: &Reader,
        instance: &str,
        change: &Change,
        gone: bool,
    ) -> Result<Option<String>, Error> {
        let back = SignedDuration::from_micros(i64::from(gone));
        let at = change.at.saturating_sub(back).unwrap_or(change.at);
        let snapshots = match self.at.entry(at) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(last(reader, instance, at)?)
            }
        };
        let there = |snapshot: &&Snapshot| snapshot.database == change.database;
        let Some(snapshot) = snapshots.iter().find(there) else {
            return Ok(None);
        };
        let labels = ["object_type", "schemaname", "name"];
        let mut rows = snapshot.rows();
        let row = rows.find(|row| {
            labels
                .iter()
                .zip(&change.labels)
                .all(|(label, value)| row.text(label) == Some(value))
        });
        Ok(row.and_then(|row| row.text("definition").map(str::to_owned)))
    }
}

/// Returns the last snapshot of each database's objects until then.
fn last(reader: &Reader, instance: &str, at: Timestamp) -> Result<Vec<Snapshot>, Error> {
    let from = at.saturating_sub(LOOK_BACK).unwrap_or(at);
    let mut newest: BTreeMap<Option<String>, Snapshot> = BTreeMap::new();
    let mut each = |snapshot: Snapshot| {
        newest.insert(snapshot.database.clone(), snapshot);
        ControlFlow::Continue(())
    };
    reader.walk(instance, SCHEMA, Span { from, to: at }, &mut each)?;
    Ok(newest.into_values().collect())
}

/// Returns the tables that were analysed: plans may be others since.
fn analysed(reader: &Reader, instance: &str, span: Span) -> Result<Vec<Mark>, Error> {
    let changes = reader.changes(instance, "tables", span, CHANGES_MAX)?;
    let told = changes.into_iter().filter_map(|change| {
        let by = match change.column.as_deref()? {
            "last_analyze" => "ANALYZE",
            "last_autoanalyze" => "autovacuum",
            _ => return None,
        };
        let (schema, table) = (change.labels.first()?, change.labels.get(1)?);
        let Some(Value::Time(at)) = change.after else {
            return None;
        };
        Some(Mark {
            at,
            kind: CauseKind::Statistics,
            what: format!("statistics of {schema}.{table} were gathered anew"),
            evidence: format!("by {by}, pg_stat_all_tables"),
            tables: vec![table.clone()],
        })
    });
    Ok(told.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_belongs_to_a_table() {
        let index = "UNIQUE ON orders USING btree (customer)";
        assert_eq!(
            tables("index", "orders_customer", Some(index)).as_deref(),
            Some("orders")
        );
        assert_eq!(
            tables("trigger", "orders.stamp", None).as_deref(),
            Some("orders")
        );
        assert_eq!(tables("table", "orders", None).as_deref(), Some("orders"));
        assert_eq!(tables("index", "orders_customer", None), None);
        assert_eq!(plain("f(integer, text)"), "f");
    }

    #[test]
    fn an_upgrade_is_of_the_last_start_before_it_was_seen() {
        let mark = |second: i64, kind| Mark {
            at: Timestamp::from_second(second).unwrap(),
            kind,
            what: String::new(),
            evidence: String::new(),
            tables: Vec::new(),
        };
        use CauseKind::{Restart, Upgrade};
        let mut marks = [
            mark(300, Upgrade),
            mark(9, Restart),
            mark(200, Restart),
            mark(400, Restart),
        ];
        upgraded(&mut marks);
        assert_eq!(marks[0].at.as_second(), 200);
    }

    #[test]
    fn a_start_and_a_promotion_are_told_apart() {
        let epoch = |second: i64, timeline: u32| Epoch {
            started_at: Timestamp::from_second(second).unwrap(),
            timeline,
            ..Epoch::default()
        };
        let seen = Timestamp::from_second(50).unwrap();
        let kind = |old, new| life(&old, &new, seen).map(|mark| (mark.kind, mark.at.as_second()));
        assert_eq!(kind(epoch(1, 1), epoch(1, 1)), None);
        assert_eq!(
            kind(epoch(1, 1), epoch(9, 1)),
            Some((CauseKind::Restart, 9))
        );
        assert_eq!(
            kind(epoch(1, 1), epoch(9, 2)),
            Some((CauseKind::Failover, 50))
        );
    }
}
