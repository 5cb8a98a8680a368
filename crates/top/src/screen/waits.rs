//! What active sessions waited for over the last samples.

use std::collections::BTreeMap;

use pawang_core::Row;

use crate::memory::Seen;
use crate::table::{Cell, Heading, Line, Table};
use crate::words::NOTHING;

/// The class of a session that runs.
const RUNNING: &str = "CPU";
const BAR_CHARACTERS: usize = 40;

const HEADINGS: [Heading; 5] = [
    Heading::text("class", 12),
    Heading::text("event", 26),
    Heading::number("sessions", 9),
    Heading::number("share", 7),
    Heading::text("", 0),
];

pub(super) fn table(seen: &Seen) -> Table {
    let samples = seen.present.activity.len();
    let counts = counts(seen, |row| {
        let event = row.text("wait_event").unwrap_or(NOTHING);
        (class(row), event.to_owned())
    });
    let total: usize = counts.values().sum();
    let mut lines: Vec<(usize, Line)> = counts
        .into_iter()
        .map(|((class, event), count)| {
            let share = count as f64 / total.max(1) as f64;
            let mean = count as f64 / samples.max(1) as f64;
            let cells = vec![
                Cell::text(class.clone()),
                Cell::text(event.clone()),
                Cell::number(format!("{mean:.2}"), Some(mean)),
                Cell::number(format!("{:.0} %", share * 100.0), Some(share)),
                Cell::text("#".repeat((share * BAR_CHARACTERS as f64).round() as usize)),
            ];
            let line = Line {
                key: format!("{class}:{event}"),
                cells,
                level: None,
                detail: Vec::new(),
            };
            (count, line)
        })
        .collect();
    lines.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    Table {
        headings: HEADINGS.to_vec(),
        lines: lines.into_iter().map(|(_, line)| line).collect(),
        notes: vec![format!(
            "average active sessions over the last {samples} samples"
        )],
        empty: if samples == 0 {
            "no samples yet".to_owned()
        } else {
            "no session was active".to_owned()
        },
    }
}

/// Returns a line with the average active sessions by wait class, when there are samples.
pub(super) fn bar(seen: &Seen) -> Option<String> {
    let samples = seen.present.activity.len();
    if samples == 0 {
        return None;
    }
    let counts = counts(seen, class);
    let total: usize = counts.values().sum();
    let mut parts: Vec<(usize, String)> = counts
        .into_iter()
        .map(|(class, count)| {
            (
                count,
                format!("{class} {:.1}", count as f64 / samples as f64),
            )
        })
        .collect();
    parts.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let parts: Vec<String> = parts.into_iter().map(|(_, part)| part).collect();
    let mean = total as f64 / samples as f64;
    Some(format!("{mean:.1} active on average: {}", parts.join("  ")))
}

fn class(row: Row<'_>) -> String {
    row.text("wait_event_type").unwrap_or(RUNNING).to_owned()
}

/// Counts the samples of active sessions by some property.
fn counts<K: Ord>(seen: &Seen, property: impl Fn(Row<'_>) -> K) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    let rows = seen
        .present
        .activity
        .iter()
        .flat_map(|sample| sample.rows());
    for row in rows.filter(|row| row.text("state") == Some("active")) {
        *counts.entry(property(row)).or_default() += 1;
    }
    counts
}
