//! Standbys: state, position and delay.

use pawang_core::{Level, Role, Unit};

use super::why;
use crate::memory::{Pair, Seen};
use crate::table::{Cell, Heading, Line, Table};
use crate::words::{NOTHING, number, seconds};

const HEADINGS: [Heading; 8] = [
    Heading::text("standby", 18),
    Heading::text("address", 15),
    Heading::text("state", 10),
    Heading::text("sync", 7),
    Heading::number("behind", 9),
    Heading::number("write", 7),
    Heading::number("flush", 7),
    Heading::number("replay", 7),
];

pub(super) fn table(seen: &Seen) -> Table {
    if let Err(missing) = seen.snapshots("replication") {
        return Table {
            empty: why(missing, "standbys"),
            ..Table::default()
        };
    }
    let standby = matches!(&seen.present.facts.server, Ok(server) if server.role == Role::Standby);
    Table {
        headings: HEADINGS.to_vec(),
        lines: seen.rows("replication").into_iter().map(line).collect(),
        notes: slots(seen),
        empty: if standby {
            "this standby sends its WAL to nobody".to_owned()
        } else {
            "no standby is connected".to_owned()
        },
    }
}

fn slots(seen: &Seen) -> Vec<String> {
    let slots = seen.rows("slots");
    let inactive = slots
        .iter()
        .filter(|pair| pair.row.flag("active") == Some(false))
        .count();
    if slots.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "{} replication slots, {inactive} of them inactive",
        slots.len()
    )]
}

fn line(pair: Pair<'_>) -> Line {
    let row = pair.row;
    let text = |column: &str| Cell::text(row.text(column).unwrap_or(NOTHING));
    let behind = match (row.float("current_lsn"), row.float("replay_lsn")) {
        (Some(current), Some(replayed)) => Some((current - replayed).max(0.0)),
        _ => None,
    };
    let lag = |column: &str| {
        let value = row.float(column);
        Cell::number(value.map_or(NOTHING.to_owned(), seconds), value)
    };
    Line {
        key: row.label(),
        cells: vec![
            text("application_name"),
            text("client_addr"),
            text("state"),
            text("sync_state"),
            Cell::number(number(behind, Unit::Bytes), behind),
            lag("write_lag"),
            lag("flush_lag"),
            lag("replay_lag"),
        ],
        level: (row.text("state") != Some("streaming")).then_some(Level::Warning),
        detail: row.evidence(&[
            "application_name",
            "pid",
            "usename",
            "client_addr",
            "state",
            "sync_state",
            "slot_name",
            "sent_lsn",
            "write_lsn",
            "flush_lsn",
            "replay_lsn",
            "reply_time",
            "backend_xmin_age",
        ]),
    }
}
