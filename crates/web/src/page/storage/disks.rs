//! File systems of the server's machine: used, left, and when they are full if it goes on like this.

use std::collections::BTreeMap;

use maud::{Markup, html};
use pawang_store::history::Series;
use pawang_store::live::Present;

use super::chart;
use crate::page::parts::{
    Ask, Forecast, Line, bar, combine, dash, forecast, lines, or_dash, percent, series, summed,
    unseen,
};
use crate::page::{PageError, Visit};
use crate::words;
use pawang_store::history::Rows;

/// File systems that have a chart.
const CHARTS_MAX: usize = 6;
/// From this share on, a file system is drawn as nearly full; the checks judge by their own limits.
const NEARLY_FULL: f64 = 90.0;
/// Places of one file system that are named.
const PLACES_MAX: usize = 6;

/// One file system with the places of the server that lie on it.
struct Disk<'a> {
    line: Line<'a>,
    places: Vec<String>,
}

/// Draws the file systems with their forecasts.
///
/// # Errors
/// The history does not answer.
pub(super) fn section(
    visit: &Visit<'_>,
    name: &str,
    present: &Present,
) -> Result<Markup, PageError> {
    let lines = match lines(&present.facts, "host-filesystem") {
        Ok(lines) => lines,
        Err(missing) => {
            return Ok(html! { section #disks { h2 { "File systems" } (unseen(&missing)) } });
        }
    };
    let problems: Vec<&Line<'_>> = lines
        .iter()
        .filter(|l| l.text("problem").is_some())
        .collect();
    let disks = disks(&lines);
    let mut rows = Vec::new();
    for disk in &disks {
        let used = used_over_time(visit, name, disk)?;
        let ahead = ahead(&used, disk.line.number("available_bytes").unwrap_or(0.0));
        rows.push((disk, used, ahead));
    }
    Ok(html! {
        section #disks {
            h2 { "File systems" }
            div .wide { table {
                thead { tr {
                    th scope="col" { "Mount point" } th scope="col" { "Holds" } th .number scope="col" { "Used" } th scope="col" { "" }
                    th .number scope="col" { "Size" } th .number scope="col" { "Free" } th .number scope="col" { "Inodes used" }
                    th .number scope="col" title="straight line through the used space of the range" { "Growth" }
                    th scope="col" title="an estimate: free space over the growth of the range" { "Full in (estimate)" }
                } }
                tbody { @for (disk, _, ahead) in &rows { (row(disk, *ahead)) } }
            } }
            @for line in problems { p .muted { (words::glyph(pawang_core::Level::Unknown)) " " (line.word("path")) ": " (line.word("problem")) } }
            p .muted { "The estimate takes the growth of this stretch of time for the growth to come; choose a longer one for a steadier answer. None is given when the space goes up and down." }
            div .charts { @for (disk, used, _) in rows.iter().take(CHARTS_MAX) {
                (chart(visit, &format!("Used on {}", disk.line.word("mount_point")), "bytes", &[("used", used)], false))
            } }
        }
    })
}

/// Returns each file system once, with the places that lie on it.
fn disks<'a>(lines: &[Line<'a>]) -> Vec<Disk<'a>> {
    let mut disks: BTreeMap<String, Disk<'a>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.text("problem").is_none()) {
        let place = match line.text("name") {
            Some(name) => format!("{} {name}", line.word("purpose")),
            None => line.word("purpose").to_owned(),
        };
        let disk = disks.entry(line.word("mount_point").to_owned());
        let disk = disk.or_insert_with(|| Disk {
            line: *line,
            places: Vec::new(),
        });
        disk.places.push(place);
    }
    disks.into_values().collect()
}

fn used_over_time(visit: &Visit<'_>, name: &str, disk: &Disk<'_>) -> Result<Series, PageError> {
    let labels = [vec![
        disk.line.word("purpose").to_owned(),
        disk.line.word("name").to_owned(),
    ]];
    let ask = Ask {
        collector: "host-filesystem",
        columns: &["total_bytes", "free_bytes"],
        rows: Rows::Only(&labels),
        ..Ask::default()
    };
    let (total, free): (Vec<Series>, Vec<Series>) = series(visit, name, &ask)?
        .into_iter()
        .partition(|series| series.column == "total_bytes");
    let (total, free) = (summed("total_bytes", total), summed("free_bytes", free));
    Ok(combine(&total, &free, |total, free| Some(total - free)))
}

fn ahead(used: &Series, left: f64) -> Forecast {
    let points: Vec<(f64, f64)> = used
        .points
        .iter()
        .filter_map(|point| Some((point.at.as_second() as f64, point.reading?.mean)))
        .collect();
    forecast(&points, left)
}

fn row(disk: &Disk<'_>, ahead: Forecast) -> Markup {
    let line = &disk.line;
    let number = |column: &str| line.number(column);
    let used = number("total_bytes")
        .zip(number("free_bytes"))
        .map(|(total, free)| total - free);
    // As df counts: what is kept for root is neither used nor free.
    let share = used
        .zip(number("available_bytes"))
        .filter(|(used, available)| used + available > 0.0)
        .map(|(used, available)| 100.0 * used / (used + available));
    let inodes = number("inodes")
        .zip(number("inodes_free"))
        .filter(|(all, _)| *all > 0.0)
        .map(|(all, free)| 100.0 * (all - free) / all);
    let more = disk.places.len().saturating_sub(PLACES_MAX);
    html! {
        tr {
            td { code { (line.word("mount_point")) } small { " " (line.word("file_system")) }
                @if line.flag("read_only") == Some(true) { span .tag.warning { "read-only" } } }
            td { (disk.places.iter().take(PLACES_MAX).cloned().collect::<Vec<_>>().join(", ")) @if more > 0 { " and " (more) " more" } }
            td .number { (or_dash(share.map(percent), "not seen")) }
            td { @if let Some(share) = share { (bar(share, share >= NEARLY_FULL)) } }
            td .number { (or_dash(number("total_bytes").map(words::bytes), "not seen")) }
            td .number { (or_dash(number("available_bytes").map(words::bytes), "not seen")) }
            td .number { (or_dash(inodes.map(percent), "this file system does not count them")) }
            (estimate(ahead))
        }
    }
}

fn estimate(ahead: Forecast) -> Markup {
    let (per_day, full) = match ahead {
        Forecast::Full { days, per_day } => (
            Some(per_day),
            html! { b { "≈ " (words::duration(days * 86_400.0)) } },
        ),
        Forecast::Far { per_day } => (Some(per_day), html! { "more than 2 years" }),
        Forecast::Steady => (Some(0.0), html! { span .none { "does not grow" } }),
        Forecast::Restless => (
            None,
            dash("the space goes up and down: no line tells what comes"),
        ),
        Forecast::TooShort => (
            None,
            dash("too little was seen: ten samples over ten minutes are needed"),
        ),
    };
    html! {
        td .number { (or_dash(per_day.map(|bytes| format!("{}/d", words::bytes(bytes))), "no steady growth")) }
        td { (full) }
    }
}
