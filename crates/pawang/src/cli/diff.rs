//! `pawang diff`: what changed on a server between two times.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use pawang_core::{ColumnKind, Kind, Report, Row, Snapshot, Timestamp, Unit, Value};
use pawang_store::history::{GrowthQuery, Span};
use serde::Serialize;

use super::history::History;
use crate::cli::Global;
use crate::grid::Grid;
use crate::output::{self, Exit};
use crate::{environment, when};

/// Statements are compared over so long before each of the two times.
const STATEMENTS_SPAN: SignedDuration = SignedDuration::from_hours(1);
const SIZES_SHOWN: usize = 20;
const STATEMENTS_SHOWN: usize = 20;
/// Changes of one collector that are listed; the rest is counted.
const CHANGES_SHOWN_MAX: usize = 500;

/// Collectors whose rows and columns are compared one by one, and the columns that only say when or where.
const COMPARED: [(&str, &str, &[&str]); 4] = [
    ("settings", "SETTINGS", &["sourceline", "pending_restart"]),
    ("schema-objects", "SCHEMA OBJECTS", &[]),
    ("roles", "ROLES", &[]),
    ("extensions", "EXTENSIONS", &[]),
];

/// Show what changed between two times: settings, schema, roles, sizes, top statements
///
/// Examples:
///   pawang diff yesterday now
///   pawang diff "2026-11-20 08:00" "2026-11-20 09:00" -i dwh-1
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The earlier time: yesterday, 03:12, -2h, "2026-11-20 03:12" or RFC 3339
    #[arg(allow_hyphen_values = true)]
    from: String,
    /// The later time
    #[arg(allow_hyphen_values = true, default_value = "now")]
    to: String,
}

#[derive(Serialize)]
struct Difference {
    instance: String,
    from: Timestamp,
    to: Timestamp,
    changes: Vec<Change>,
    sizes: Vec<Size>,
    statements: Vec<Statement>,
    /// What could not be compared, and why.
    unseen: Vec<String>,
}

/// A row that came, went, or has another value.
#[derive(Serialize)]
struct Change {
    collector: &'static str,
    database: Option<String>,
    object: String,
    column: Option<String>,
    before: Option<Value>,
    after: Option<Value>,
}

#[derive(Serialize)]
struct Size {
    database: Option<String>,
    object: String,
    bytes: f64,
    growth_bytes: f64,
}

#[derive(Serialize)]
struct Statement {
    queryid: String,
    labels: Vec<String>,
    text: Option<String>,
    before_ms: Option<f64>,
    after_ms: Option<f64>,
}

/// Runs the command; exit code 1 when nothing could be compared.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let history = History::open(global)?;
    let (now, zone) = (environment::now(), TimeZone::system());
    let from = when::instant(&args.from, now, &zone)?;
    let to = when::instant(&args.to, now, &zone)?;
    if from >= to {
        return Err(
            Report::new(Kind::Usage, "cannot compare with a time that is not later")
                .with_detail(format!("from {from} to {to}"))
                .with_hint("the earlier time comes first: pawang diff yesterday now"),
        );
    }
    let mut differences = Vec::new();
    for instance in history.instances(global)? {
        differences.push(difference(&history, &instance, Span { from, to })?);
    }
    if global.json {
        output::json("pawang.diff/1", &differences)?;
    } else {
        for difference in &differences {
            output::data(&text(difference, &zone))?;
        }
    }
    let blind = differences.iter().all(|d| d.unseen.len() >= COMPARED.len());
    Ok(if blind { Exit::Answer } else { Exit::Good })
}

fn difference(history: &History, instance: &str, span: Span) -> Result<Difference, Report> {
    let mut found = Difference {
        instance: instance.to_owned(),
        from: span.from,
        to: span.to,
        changes: Vec::new(),
        sizes: sizes(history, instance, span)?,
        statements: statements(history, instance, span)?,
        unseen: Vec::new(),
    };
    let read = |collector: &str, at| {
        let snapshots = history.reader.snapshots_at(instance, collector, at);
        snapshots.map_err(|error| error.report())
    };
    for (collector, _, quiet) in COMPARED {
        let (older, newer) = (read(collector, span.from)?, read(collector, span.to)?);
        if older.is_empty() || newer.is_empty() {
            let when = if older.is_empty() { span.from } else { span.to };
            found
                .unseen
                .push(format!("{collector}: not seen at {when}"));
            continue;
        }
        for newer in &newer {
            let older = older.iter().find(|older| older.database == newer.database);
            match older {
                Some(older) => compare(collector, older, newer, quiet, &mut found.changes),
                None => found.unseen.push(format!(
                    "{collector}: database \"{}\" was not seen at {}",
                    newer.database.as_deref().unwrap_or_default(),
                    span.from
                )),
            }
        }
    }
    Ok(found)
}

/// Adds what differs between two snapshots of one collector and database.
fn compare(
    collector: &'static str,
    older: &Snapshot,
    newer: &Snapshot,
    quiet: &[&str],
    changes: &mut Vec<Change>,
) {
    let rows = |snapshot: &'_ Snapshot| -> BTreeMap<Vec<String>, usize> {
        let labels = snapshot.rows().map(|row| row.labels());
        labels
            .enumerate()
            .map(|(index, labels)| (labels, index))
            .collect()
    };
    let (before, after) = (rows(older), rows(newer));
    let names: BTreeSet<&Vec<String>> = before.keys().chain(after.keys()).collect();
    for labels in names {
        let row = |snapshot, index: Option<&usize>| {
            let mut rows = Snapshot::rows(snapshot);
            index.and_then(|index| rows.nth(*index))
        };
        let (old, new) = (
            row(older, before.get(labels)),
            row(newer, after.get(labels)),
        );
        let mut push = |column: Option<&str>, before: Option<Value>, after: Option<Value>| {
            changes.push(Change {
                collector,
                database: newer.database.clone(),
                object: labels.join(" "),
                column: column.map(str::to_owned),
                before,
                after,
            });
        };
        match (old, new) {
            (Some(old), Some(new)) => {
                for column in newer.columns.iter().filter(|c| c.kind == ColumnKind::Info) {
                    let known = older.columns.iter().any(|old| old.name == column.name);
                    if !known || quiet.contains(&column.name.as_str()) {
                        continue;
                    }
                    let (old, new) = (old.value(&column.name), new.value(&column.name));
                    if old != new {
                        push(Some(&column.name), Some(old.clone()), Some(new.clone()));
                    }
                }
            }
            (old, new) => push(None, old.map(told), new.map(told)),
        }
    }
}

/// Returns a row that came or went by its info columns.
fn told(row: Row<'_>) -> Value {
    let facts = row.infos();
    let facts: Vec<String> = facts
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    Value::Text(facts.join(" ").into())
}

fn sizes(history: &History, instance: &str, span: Span) -> Result<Vec<Size>, Report> {
    let mut sizes = Vec::new();
    for collector in ["tables", "indexes"] {
        let query = GrowthQuery {
            instance,
            collector,
            database: None,
            columns: &["size_bytes"],
            span,
        };
        let rows = history
            .reader
            .growth(&query)
            .map_err(|error| error.report())?;
        sizes.extend(rows.into_iter().filter_map(|row| {
            let growth_bytes = row.growth.first().copied().flatten()?;
            Some(Size {
                database: row.database,
                object: row.labels.join("."),
                bytes: row.last.first().copied().flatten()?,
                growth_bytes,
            })
        }));
    }
    sizes.retain(|size| size.growth_bytes != 0.0);
    sizes.sort_by(|a, b| b.growth_bytes.abs().total_cmp(&a.growth_bytes.abs()));
    sizes.truncate(SIZES_SHOWN);
    Ok(sizes)
}

/// Returns the statements whose time changed most between the hours before the two times.
fn statements(history: &History, instance: &str, span: Span) -> Result<Vec<Statement>, Report> {
    let hour = |to: Timestamp| -> Result<BTreeMap<Vec<String>, f64>, Report> {
        let from = to.checked_sub(STATEMENTS_SPAN).unwrap_or(Timestamp::MIN);
        let query = GrowthQuery {
            instance,
            collector: "statements",
            database: None,
            columns: &["total_exec_time"],
            span: Span { from, to },
        };
        let rows = history
            .reader
            .growth(&query)
            .map_err(|error| error.report())?;
        let rows = rows.into_iter();
        Ok(rows
            .filter_map(|row| Some((row.labels, row.growth.first().copied().flatten()?)))
            .collect())
    };
    let (before, after) = (hour(span.from)?, hour(span.to)?);
    let names: BTreeSet<&Vec<String>> = before.keys().chain(after.keys()).collect();
    let mut statements: Vec<Statement> = names
        .into_iter()
        .map(|labels| Statement {
            // The labels are database, role, toplevel, queryid.
            queryid: labels.last().cloned().unwrap_or_default(),
            labels: labels.clone(),
            text: None,
            before_ms: before.get(labels).copied(),
            after_ms: after.get(labels).copied(),
        })
        .collect();
    let change = |s: &Statement| (s.after_ms.unwrap_or(0.0) - s.before_ms.unwrap_or(0.0)).abs();
    statements.retain(|statement| change(statement) > 0.0);
    statements.sort_by(|a, b| change(b).total_cmp(&change(a)));
    statements.truncate(STATEMENTS_SHOWN);
    for statement in &mut statements {
        if let Ok(id) = statement.queryid.parse() {
            statement.text = history.reader.text(id).map_err(|error| error.report())?;
        }
    }
    Ok(statements)
}

fn text(found: &Difference, zone: &TimeZone) -> String {
    let clock = |at: Timestamp| {
        at.to_zoned(zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S %Z")
            .to_string()
    };
    let mut out = format!(
        "{}: {} to {}\n",
        found.instance,
        clock(found.from),
        clock(found.to)
    );
    for (collector, title, _) in COMPARED {
        out.push_str(&format!("\n{title}\n{}", changes_text(found, collector)));
    }
    out.push_str(&format!(
        "\nSIZES that changed most\n{}",
        sizes_text(&found.sizes)
    ));
    let title = "STATEMENTS whose time changed most, in the hours before the two times";
    out.push_str(&format!(
        "\n{title}\n{}",
        statements_text(&found.statements)
    ));
    out
}

fn changes_text(found: &Difference, collector: &str) -> String {
    let changes: Vec<&Change> = found
        .changes
        .iter()
        .filter(|c| c.collector == collector)
        .collect();
    let prefix = format!("{collector}:");
    let unseen = found.unseen.iter().filter(|why| why.starts_with(&prefix));
    let mut out: String = unseen.map(|why| format!("{why}\n")).collect();
    if changes.is_empty() {
        if out.is_empty() {
            out.push_str("nothing changed\n");
        }
        return out;
    }
    let mut grid = Grid::new(&["", "database", "object", "what", "before", "after"]);
    for change in changes.iter().take(CHANGES_SHOWN_MAX) {
        let sign = match (&change.before, &change.after) {
            (None, _) => "+",
            (_, None) => "-",
            _ => "~",
        };
        let value =
            |value: &Option<Value>| value.as_ref().map(Value::to_string).unwrap_or_default();
        grid.row(vec![
            sign.to_owned(),
            change.database.clone().unwrap_or_default(),
            change.object.clone(),
            change.column.clone().unwrap_or_default(),
            value(&change.before),
            value(&change.after),
        ]);
    }
    out.push_str(&grid.text());
    if let Some(more) = changes
        .len()
        .checked_sub(CHANGES_SHOWN_MAX)
        .filter(|more| *more > 0)
    {
        out.push_str(&format!("and {more} more (--json shows all)\n"));
    }
    out
}

fn sizes_text(sizes: &[Size]) -> String {
    let mut grid = Grid::new(&["database", "object", "size>", "change>"]);
    for size in sizes {
        let sign = if size.growth_bytes < 0.0 { "-" } else { "+" };
        grid.row(vec![
            size.database.clone().unwrap_or_default(),
            size.object.clone(),
            Unit::Bytes.show(size.bytes),
            format!("{sign}{}", Unit::Bytes.show(size.growth_bytes.abs())),
        ]);
    }
    if grid.is_empty() {
        "nothing changed\n".to_owned()
    } else {
        grid.text()
    }
}

fn statements_text(statements: &[Statement]) -> String {
    let mut grid = Grid::new(&["before>", "after>", "queryid", "query"]);
    let show =
        |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| Unit::Milliseconds.show(ms));
    for statement in statements {
        grid.row(vec![
            show(statement.before_ms),
            show(statement.after_ms),
            statement.queryid.clone(),
            statement.text.clone().unwrap_or_default(),
        ]);
    }
    if grid.is_empty() {
        "no statement took another time\n".to_owned()
    } else {
        grid.text()
    }
}
