//! Statements by the time that they take now.

use super::why;
use crate::memory::{Pair, Seen};
use crate::table::{Cell, Heading, Line, Table};
use crate::words::{NOTHING, line, short};

const HEADINGS: [Heading; 8] = [
    Heading::number("load", 6),
    Heading::number("calls/s", 8),
    Heading::number("mean ms", 9),
    Heading::number("rows/s", 8),
    Heading::number("read/s", 8),
    Heading::number("total s", 8),
    Heading::text("database", 10),
    Heading::text("query", 0),
];

pub(super) fn table(seen: &Seen) -> Table {
    if let Err(missing) = seen.snapshots("statements") {
        return Table {
            empty: why(missing, "statements"),
            ..Table::default()
        };
    }
    let mut lines: Vec<((f64, f64), Line)> = seen
        .rows("statements")
        .into_iter()
        .map(|pair| {
            let load = pair.rate("total_exec_time").map(|ms| ms / 1_000.0);
            let total = pair.row.float("total_exec_time").unwrap_or(0.0);
            ((load.unwrap_or(-1.0), total), statement(seen, pair, load))
        })
        .collect();
    lines.sort_by(|(a, _), (b, _)| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
    Table {
        headings: HEADINGS.to_vec(),
        lines: lines.into_iter().map(|(_, line)| line).collect(),
        notes: vec!["load: sessions busy with it; total: since its statistics began".to_owned()],
        empty: "no statement was recorded".to_owned(),
    }
}

fn statement(seen: &Seen, pair: Pair<'_>, load: Option<f64>) -> Line {
    let row = pair.row;
    let mean = match (pair.growth("total_exec_time"), pair.growth("calls")) {
        (Some(time), Some(calls)) if calls > 0.0 => Some(time / calls),
        _ => row.float("mean_exec_time"),
    };
    let rate = |column: &str| {
        let value = pair.rate(column);
        Cell::number(short(value), value)
    };
    let total = row.float("total_exec_time").map(|ms| ms / 1_000.0);
    let id = row.value("queryid").to_string();
    let text = row.int("queryid").and_then(|id| seen.text(id));
    Line {
        key: format!("{}:{}:{id}", row.value("datname"), row.value("rolname")),
        cells: vec![
            Cell::number(
                load.map_or(NOTHING.to_owned(), |load| format!("{load:.2}")),
                load,
            ),
            rate("calls"),
            Cell::number(short(mean), mean),
            rate("rows"),
            rate("shared_blks_read"),
            Cell::number(short(total), total),
            Cell::text(row.text("datname").unwrap_or(NOTHING)),
            Cell::text(text.map_or_else(|| format!("queryid {id}"), line)),
        ],
        level: None,
        detail: detail(pair, &id, text),
    }
}

fn detail(pair: Pair<'_>, id: &str, text: Option<&str>) -> Vec<(String, String)> {
    let text = text.unwrap_or("not seen running since this began");
    let mut detail = vec![("query".to_owned(), text.to_owned())];
    detail.push(("queryid".to_owned(), id.to_owned()));
    detail.extend(pair.row.evidence(&[
        "datname",
        "rolname",
        "calls",
        "total_exec_time",
        "mean_exec_time",
        "max_exec_time",
        "rows",
        "shared_blks_hit",
        "shared_blks_read",
        "temp_blks_read",
        "temp_blks_written",
        "wal_bytes",
    ]));
    for (_, text) in &mut detail {
        *text = line(text);
    }
    detail
}
