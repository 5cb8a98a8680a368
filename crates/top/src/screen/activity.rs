//! Sessions: what they run, since when, and what they wait for.

use pawang_core::{Level, Row, Timestamp};

use super::{waits, why};
use crate::memory::Seen;
use crate::table::{Cell, Heading, Line, Table};
use crate::words::{NOTHING, line, seconds};

/// A transaction that sits idle for longer is pointed at.
const IDLE_SECONDS_MAX: f64 = 60.0;

const HEADINGS: [Heading; 7] = [
    Heading::number("pid", 7),
    Heading::text("database", 9),
    Heading::text("user", 9),
    Heading::number("xact", 6),
    Heading::number("query", 6),
    Heading::text("waits for", 16),
    Heading::text("state and query", 0),
];

pub(super) fn table(seen: &Seen, _now: Timestamp) -> Table {
    let snapshots = match seen.snapshots("activity") {
        Ok(snapshots) => snapshots,
        Err(missing) => {
            return Table {
                empty: why(missing, "sessions"),
                ..Table::default()
            };
        }
    };
    let rows = snapshots.iter().flat_map(|snapshot| snapshot.rows());
    let busy = rows.filter(|row| {
        row.text("backend_type") == Some("client backend") && row.text("state") != Some("idle")
            || row.text("wait_event_type") == Some("Lock")
    });
    let mut lines: Vec<(f64, Line)> = busy.map(|row| (age(row), session(row))).collect();
    lines.sort_by(|a, b| b.0.total_cmp(&a.0));
    Table {
        headings: HEADINGS.to_vec(),
        lines: lines.into_iter().map(|(_, line)| line).collect(),
        notes: notes(seen),
        empty: "no session is busy".to_owned(),
    }
}

fn notes(seen: &Seen) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(pair) = seen.rows("sessions").first() {
        let count = |column: &str| pair.row.int(column).unwrap_or(0);
        notes.push(format!(
            "{} of {} connections: {} active, {} idle, {} idle in xact, {} wait for a lock",
            count("client_backends"),
            count("usable_connections"),
            count("active"),
            count("idle"),
            count("idle_in_transaction") + count("idle_in_transaction_aborted"),
            count("waiting_lock"),
        ));
    }
    notes.extend(waits::bar(seen));
    notes
}

fn age(row: Row<'_>) -> f64 {
    let ages = [
        row.float("xact_age_seconds"),
        row.float("query_age_seconds"),
    ];
    ages.into_iter().flatten().fold(0.0, f64::max)
}

fn session(row: Row<'_>) -> Line {
    let state = row.text("state").unwrap_or(NOTHING);
    let wait = match (row.text("wait_event_type"), row.text("wait_event")) {
        (Some(kind), Some(event)) => format!("{kind}:{event}"),
        _ => NOTHING.to_owned(),
    };
    let idle = state.starts_with("idle in transaction");
    let long = row
        .float("state_age_seconds")
        .is_some_and(|age| age > IDLE_SECONDS_MAX);
    let level = match (row.text("wait_event_type"), idle && long) {
        (Some("Lock"), _) => Some(Level::Warning),
        (_, true) => Some(Level::Warning),
        _ => None,
    };
    let query = line(row.text("query").unwrap_or_default());
    let shown = if state == "active" {
        query
    } else {
        format!("[{}] {query}", state.replace("transaction", "xact"))
    };
    let of = |column: &str| {
        let value = row.float(column);
        Cell::number(value.map_or(NOTHING.to_owned(), seconds), value)
    };
    let text = |column: &str| Cell::text(row.text(column).unwrap_or(NOTHING));
    let pid = row.int("pid").unwrap_or(0);
    Line {
        key: pid.to_string(),
        cells: vec![
            Cell::number(pid.to_string(), Some(pid as f64)),
            text("datname"),
            text("usename"),
            of("xact_age_seconds"),
            of("query_age_seconds"),
            Cell::text(wait),
            Cell::text(shown),
        ],
        level,
        detail: row.evidence(&[
            "query",
            "pid",
            "datname",
            "usename",
            "application_name",
            "client_addr",
            "backend_type",
            "state",
            "wait_event_type",
            "wait_event",
            "backend_start",
            "xact_start",
            "query_start",
            "state_change",
            "backend_xmin_age",
            "query_id",
        ]),
    }
}
