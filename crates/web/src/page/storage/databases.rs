//! Databases by size: the sum of their tables and indexes, since asking the server for more would take locks.

use std::collections::BTreeMap;

use maud::{Markup, html};
use pawang_store::history::{Fold, Growth, Series};
use pawang_store::live::Present;

use super::chart;
use crate::page::parts::{Ask, combine, dash, growth, percent, series, summed};
use crate::page::tables::{everywhere, not_seen};
use crate::page::{PageError, Visit};
use crate::words;

/// Databases that are listed, largest first.
const DATABASES_MAX: usize = 100;
/// Databases that have a line of their own in the chart.
const LINES_MAX: usize = 7;

/// What is known of the size of one database.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Size {
    tables: f64,
    indexes: f64,
    /// Growth in the range.
    grown: Option<f64>,
}

impl Size {
    fn total(&self) -> f64 {
        self.tables + self.indexes
    }
}

/// Draws list and chart.
///
/// # Errors
/// The history does not answer.
pub(super) fn section(
    visit: &Visit<'_>,
    name: &str,
    present: &Present,
) -> Result<Markup, PageError> {
    let mut sizes: BTreeMap<String, Size> = BTreeMap::new();
    for (collector, is_table) in [("tables", true), ("indexes", false)] {
        for line in everywhere(present, collector) {
            let size = sizes
                .entry(line.database().unwrap_or_default().to_owned())
                .or_default();
            let bytes = line.number("size_bytes").unwrap_or(0.0);
            if is_table {
                size.tables += bytes;
            } else {
                size.indexes += bytes;
            }
        }
        let grown = growth(visit, name, collector, &["size_bytes"], visit.range.span)?;
        add_growth(&mut sizes, &grown);
    }
    let mut rows: Vec<(String, Size)> = sizes.into_iter().collect();
    rows.sort_by(|a, b| b.1.total().total_cmp(&a.1.total()));
    let lines = over_time(visit, name, &rows)?;
    let lines: Vec<(&str, &Series)> = lines.iter().map(|(name, s)| (name.as_str(), s)).collect();
    let total: f64 = rows.iter().map(|(_, size)| size.total()).sum();
    Ok(html! {
        section #databases {
            h2 { "Databases" small { (words::bytes(total)) " in tables and indexes" } }
            (not_seen(present, "tables"))
            @if !rows.is_empty() {
                div .pair {
                    (list(&rows, total))
                    (chart(visit, "Size by database", "bytes", &lines, true))
                }
                p .muted { "Tables of at least 64 pages with their TOAST, and indexes of at least 64 pages, by relpages: as large as the last VACUUM or ANALYZE of each saw it." }
            }
        }
    })
}

fn add_growth(sizes: &mut BTreeMap<String, Size>, rows: &[Growth]) {
    for row in rows {
        let database = row.database.as_deref().unwrap_or_default();
        if let (Some(size), Some(Some(bytes))) = (sizes.get_mut(database), row.growth.first()) {
            *size.grown.get_or_insert(0.0) += bytes;
        }
    }
}

fn list(rows: &[(String, Size)], total: f64) -> Markup {
    html! {
        div .wide { table {
            thead { tr {
                th scope="col" { "Database" } th .number scope="col" { "Size" } th .number scope="col" { "Share" }
                th .number scope="col" { "Tables" } th .number scope="col" { "Indexes" } th .number scope="col" title="in the range" { "Growth" }
            } }
            tbody { @for (name, size) in rows.iter().take(DATABASES_MAX) { tr {
                td { (name) }
                td .number { (words::bytes(size.total())) }
                td .number { (percent(if total > 0.0 { 100.0 * size.total() / total } else { 0.0 })) }
                td .number { (words::bytes(size.tables)) }
                td .number { (words::bytes(size.indexes)) }
                td .number { @match size.grown { Some(grown) => (words::bytes(grown)), None => (dash("two samples are needed")) } }
            } } }
        } }
        @if rows.len() > DATABASES_MAX { p .muted { (rows.len() - DATABASES_MAX) " more" } }
    }
}

/// Returns the sizes of the largest databases over time.
fn over_time(
    visit: &Visit<'_>,
    name: &str,
    rows: &[(String, Size)],
) -> Result<Vec<(String, Series)>, PageError> {
    let mut lines = Vec::new();
    for (database, _) in rows.iter().take(LINES_MAX) {
        let of = |collector| {
            let ask = Ask {
                collector,
                database: Some(database),
                columns: &["size_bytes"],
                fold: Fold::SumBy(&[]),
                ..Ask::default()
            };
            Ok::<Series, PageError>(summed("size_bytes", series(visit, name, &ask)?))
        };
        let (tables, indexes) = (of("tables")?, of("indexes")?);
        let both = if indexes.points.is_empty() {
            tables
        } else {
            combine(&tables, &indexes, |tables, indexes| Some(tables + indexes))
        };
        lines.push((database.clone(), both));
    }
    Ok(lines)
}
