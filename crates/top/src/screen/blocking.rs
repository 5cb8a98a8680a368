//! Who waits for whom, as a tree.

use pawang_check::{Branch, forest};
use pawang_core::Level;

use super::why;
use crate::memory::Seen;
use crate::table::{Cell, Heading, Line, Table};
use crate::words::{NOTHING, line, seconds};

const HEADINGS: [Heading; 6] = [
    Heading::text("pid", 12),
    Heading::number("blocks", 6),
    Heading::number("waits", 6),
    Heading::text("user", 9),
    Heading::text("lock", 24),
    Heading::text("state and query", 0),
];

pub(super) fn table(seen: &Seen) -> Table {
    let snapshots = match seen.snapshots("blocking") {
        Ok(snapshots) => snapshots,
        Err(missing) => {
            return Table {
                empty: why(missing, "locks"),
                ..Table::default()
            };
        }
    };
    let branches = snapshots.iter().flat_map(|snapshot| forest(snapshot));
    Table {
        headings: HEADINGS.to_vec(),
        lines: branches.map(branch_line).collect(),
        notes: Vec::new(),
        empty: "nobody waits for a lock".to_owned(),
    }
}

fn branch_line(branch: Branch<'_>) -> Line {
    let Branch {
        depth,
        process,
        row,
        victims,
        circle,
    } = branch;
    let name = match process {
        0 => "prepared".to_owned(),
        _ => process.to_string(),
    };
    let text = |column: &str| {
        row.and_then(|row| row.text(column))
            .unwrap_or(NOTHING)
            .to_owned()
    };
    let wait = row.and_then(|row| row.float("wait_seconds"));
    let lock = match row.and_then(|row| row.text("mode")) {
        Some(mode) => format!("{} {}", mode.trim_end_matches("Lock"), text("relation")),
        None if circle => "deadlock".to_owned(),
        None => NOTHING.to_owned(),
    };
    let state = text("state");
    let query = line(&text("query"));
    let what = match row {
        None => "was gone before it could be read".to_owned(),
        Some(_) if state == "active" => query,
        Some(_) => format!("[{}] {query}", state.replace("transaction", "xact")),
    };
    Line {
        key: process.to_string(),
        cells: vec![
            Cell::text(format!("{}{name}", "  ".repeat(depth.min(5)))),
            Cell::number(victims.to_string(), Some(victims as f64)),
            Cell::number(wait.map_or(NOTHING.to_owned(), seconds), wait),
            Cell::text(text("usename")),
            Cell::text(lock),
            Cell::text(what),
        ],
        level: (depth == 0).then_some(if circle {
            Level::Critical
        } else {
            Level::Warning
        }),
        detail: row
            .map(|row| {
                row.evidence(&[
                    "query",
                    "pid",
                    "datname",
                    "usename",
                    "application_name",
                    "client_addr",
                    "state",
                    "locktype",
                    "mode",
                    "relation",
                    "waitstart",
                    "xact_start",
                    "state_change",
                    "gids",
                ])
            })
            .unwrap_or_default(),
    }
}
