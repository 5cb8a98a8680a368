//! Tables by what happens to them now.

use pawang_core::{Timestamp, Unit};

use super::why;
use crate::memory::{Pair, Seen};
use crate::table::{Cell, Heading, Line, Table};
use crate::words::{NOTHING, age, number, short};

const HEADINGS: [Heading; 8] = [
    Heading::number("seq/s", 7),
    Heading::number("idx/s", 7),
    Heading::number("write/s", 8),
    Heading::number("size", 8),
    Heading::number("dead", 7),
    Heading::number("dead %", 6),
    Heading::number("vacuum", 7),
    Heading::text("table", 0),
];

pub(super) fn table(seen: &Seen, now: Timestamp) -> Table {
    if let Err(missing) = seen.snapshots("tables") {
        return Table {
            empty: why(missing, "tables"),
            ..Table::default()
        };
    }
    let mut lines: Vec<((f64, f64), Line)> = seen
        .rows("tables")
        .into_iter()
        .map(|pair| {
            let size = pair.row.float("size_bytes").unwrap_or(0.0);
            ((writes(pair).unwrap_or(-1.0), size), line(pair, now))
        })
        .collect();
    lines.sort_by(|(a, _), (b, _)| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
    Table {
        headings: HEADINGS.to_vec(),
        lines: lines.into_iter().map(|(_, line)| line).collect(),
        notes: Vec::new(),
        empty: "no table is large enough to be listed".to_owned(),
    }
}

fn writes(pair: Pair<'_>) -> Option<f64> {
    let columns = ["n_tup_ins", "n_tup_upd", "n_tup_del"];
    columns.iter().map(|column| pair.rate(column)).sum()
}

fn line(pair: Pair<'_>, now: Timestamp) -> Line {
    let row = pair.row;
    let rate = |value: Option<f64>| Cell::number(short(value), value);
    let size = row.float("size_bytes");
    let dead = row.float("n_dead_tup");
    let live = row.float("n_live_tup");
    let share = match (dead, live) {
        (Some(dead), Some(live)) if dead + live > 0.0 => Some(dead / (dead + live) * 100.0),
        _ => None,
    };
    let vacuumed = row.time("last_vacuum").max(row.time("last_autovacuum"));
    let vacuum_age = vacuumed.map(|at| now.duration_since(at).as_secs_f64());
    let database = pair.database.unwrap_or(NOTHING);
    let name = format!("{database}: {}", row.label());
    Line {
        cells: vec![
            rate(pair.rate("seq_scan")),
            rate(pair.rate("idx_scan")),
            rate(writes(pair)),
            Cell::number(number(size, Unit::Bytes), size),
            Cell::number(short(dead), dead),
            Cell::number(
                share.map_or(NOTHING.to_owned(), |share| format!("{share:.1}")),
                share,
            ),
            Cell::number(
                vacuumed.map_or(NOTHING.to_owned(), |at| age(at, now)),
                vacuum_age,
            ),
            Cell::text(name.clone()),
        ],
        key: name,
        level: None,
        detail: row.evidence(&[
            "schemaname",
            "relname",
            "size_bytes",
            "reltuples",
            "n_live_tup",
            "n_dead_tup",
            "n_mod_since_analyze",
            "seq_scan",
            "idx_scan",
            "n_tup_ins",
            "n_tup_upd",
            "n_tup_del",
            "n_tup_hot_upd",
            "last_vacuum",
            "last_autovacuum",
            "last_analyze",
            "last_autoanalyze",
            "frozen_xid_age",
        ]),
    }
}
