//! Storage: disks and how long they last, databases and tables by size and growth, WAL and temporary files.

mod databases;
mod disks;

use maud::{Markup, html};
use pawang_store::history::Series;
use pawang_store::live::Present;

use super::parts::{
    Ask, figure, instance_path, known_at, lines, or_dash, path, shell, single, unseen,
};
use super::tables::{self, Relation};
use super::{Page, PageError, Place, Visit};
use crate::words;
use pawang_chart::Chart;

/// Rows of the lists of the largest and of the fastest growing tables.
const TOP: usize = 15;

/// Draws the page.
///
/// # Errors
/// There is no such instance, or the history does not answer.
pub(crate) fn render(visit: &Visit<'_>, name: &str) -> Result<Page, PageError> {
    let present = visit.instance(name)?;
    let relations = tables::read(visit, name, &present)?;
    let body = html! {
        (disks::section(visit, name, &present)?)
        (databases::section(visit, name, &present)?)
        (largest(visit, name, &relations))
        (wal(visit, name, &present)?)
        (words::command(&format!("pawang check disk-space -i {}", shell(name))))
    };
    Ok(Page {
        title: "Storage".to_owned(),
        place: Place::Storage,
        instance: Some(name.to_owned()),
        body,
        seen_at: tables::seen_at(&present, "tables").or_else(|| known_at(&present)),
    })
}

/// Draws one chart.
fn chart(
    visit: &Visit<'_>,
    title: &str,
    unit: &str,
    lines: &[(&str, &Series)],
    stacked: bool,
) -> Markup {
    let lines = lines
        .iter()
        .map(|(name, series)| ((*name).to_owned(), *series));
    Chart {
        title,
        unit,
        span: visit.range.span,
        lines: lines.collect(),
        stacked,
        limits: Vec::new(),
        marks: Vec::new(),
    }
    .draw()
}

fn largest(visit: &Visit<'_>, name: &str, relations: &[Relation<'_>]) -> Markup {
    let size = |relation: &Relation<'_>| relation.total_bytes().unwrap_or(0.0);
    let mut by_size: Vec<&Relation<'_>> = relations.iter().collect();
    by_size.sort_by(|a, b| size(b).total_cmp(&size(a)));
    by_size.truncate(TOP);
    let grown = |relation: &Relation<'_>| relation.grown("size_bytes").unwrap_or(0.0);
    let mut by_growth: Vec<&Relation<'_>> = relations.iter().filter(|r| grown(r) > 0.0).collect();
    by_growth.sort_by(|a, b| grown(b).total_cmp(&grown(a)));
    by_growth.truncate(TOP);
    let link = |relation: &Relation<'_>| {
        let pairs = [
            ("table", relation.name.as_str()),
            ("database", relation.database),
        ];
        path(visit, &instance_path(name, "tables"), &pairs)
    };
    let all = |sort: &str| path(visit, &instance_path(name, "tables"), &[("sort", sort)]);
    let list = |rows: &[&Relation<'_>], value: &dyn Fn(&Relation<'_>) -> f64, head: &str| {
        html! {
            div .wide { table {
                thead { tr { th scope="col" { "Table" } th scope="col" { "Database" } th .number scope="col" { (head) } } }
                tbody { @for relation in rows { tr {
                    td { a href=(link(relation)) { (relation.name) } }
                    td { (relation.database) }
                    td .number { (words::bytes(value(relation))) }
                } } }
            } }
        }
    };
    html! {
        div .pair {
            section #largest {
                h2 { "Largest tables" small { a href=(all("size")) { "all" } } }
                @if by_size.is_empty() { p .muted { "None is large enough to be sampled: 64 pages or 1,000 row versions." } }
                @else { (list(&by_size, &|relation| size(relation), "with TOAST and indexes")) }
            }
            section #growing {
                h2 { "Fastest growing tables" small { a href=(all("growth")) { "all" } } }
                @if by_growth.is_empty() { p .muted { "None grew in this stretch of time. Sizes are those of the last VACUUM or ANALYZE of each table." } }
                @else { (list(&by_growth, &|relation| grown(relation), "growth in the range")) }
            }
        }
    }
}

fn wal(visit: &Visit<'_>, name: &str, present: &Present) -> Result<Markup, PageError> {
    let ask = |collector: &'static str, columns: &'static [&'static str]| Ask {
        collector,
        columns,
        ..Ask::default()
    };
    let directory = single(
        visit,
        name,
        &ask(
            "wal-directory",
            &["segment_bytes", "temporary_bytes", "ready_files"],
        ),
    )?;
    let rate = single(visit, name, &ask("wal", &["wal_bytes"]))?;
    let written = single(visit, name, &ask("database", &["temp_bytes"]))?;
    let seen = lines(&present.facts, "wal-directory");
    let number = |column: &str| {
        seen.as_ref()
            .ok()
            .and_then(|lines| lines.first()?.number(column))
    };
    Ok(html! {
        section #wal {
            h2 { "WAL and temporary files" }
            @match &seen {
                Err(missing) => (unseen(missing)),
                Ok(_) => dl .figures {
                    (figure("WAL directory", or_dash(number("segment_bytes").map(words::bytes), "not seen"), "files in pg_wal"))
                    (figure("segments", or_dash(number("segments").map(words::number), "not seen"), "files in pg_wal"))
                    (figure("recycled", or_dash(number("recycled_segments").map(words::number), "not seen"), "segments kept for later use"))
                    (figure("to archive", or_dash(number("ready_files").map(words::number), "not seen"), "segments that wait for archive_command"))
                    (figure("temporary files", or_dash(number("temporary_files").map(words::number), "not seen"), "of sorts and hashes that run now"))
                    (figure("temporary data", or_dash(number("temporary_bytes").map(words::bytes), "not seen"), "of sorts and hashes that run now"))
                },
            }
            div .charts {
                (chart(visit, "WAL directory", "bytes", &[("size", &directory[0])], false))
                (chart(visit, "WAL written", "bytes/s", &[("WAL", &rate[0])], false))
                (chart(visit, "Temporary files now", "bytes", &[("size", &directory[1])], false))
                (chart(visit, "Temporary data written", "bytes/s", &[("written", &written[0])], false))
                (chart(visit, "Segments that wait for archiving", "files", &[("ready", &directory[2])], false))
            }
        }
    })
}
