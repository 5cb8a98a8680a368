//! One query: its whole text, what it cost over time, where it was called, and what it waited for.

use std::time::Duration;

use maud::{Markup, html};
use pawang_store::history::{
    Fold, Growth, Rows, STATEMENT_COLUMNS, Series, SeriesQuery, Span, StatementSums,
};

use super::parts::{
    Ask, active_by, class_name, combine, figure, growth, instance_path, known_at, milliseconds,
    or_dash, path, per_second, percent, shell, single, text_of,
};
use super::queries::BLOCK;
use super::{Page, PageError, Place, Visit, slower};
use crate::words;
use pawang_chart::Chart;

/// Rows of a statement (databases, roles) whose history is added up.
const ROWS_MAX: usize = 200;
/// Points of the search for the first and last call.
const SEARCH_POINTS: u32 = 400;

/// Draws the page.
///
/// # Errors
/// There is no such instance or statement, or the history does not answer.
pub(crate) fn render(visit: &Visit<'_>, name: &str, queryid: &str) -> Result<Page, PageError> {
    let present = visit.instance(name)?;
    let text = text_of(visit, queryid)?;
    let mut rows = growth(
        visit,
        name,
        "statements",
        &STATEMENT_COLUMNS,
        visit.range.span,
    )?;
    rows.retain(|row| row.labels.get(3).map(String::as_str) == Some(queryid));
    if text.is_none() && rows.is_empty() {
        return Err(PageError::NotFound {
            what: format!("query \"{queryid}\" of instance \"{name}\""),
        });
    }
    let mut labels: Vec<Vec<String>> = rows.iter().map(|row| row.labels.clone()).collect();
    labels.truncate(ROWS_MAX);
    let back = path(visit, &instance_path(name, "queries"), &[]);
    let body = html! {
        p .muted { a href=(back) { "Queries" } " › " (queryid) }
        @match &text {
            Some(text) => (words::copyable(text)),
            None => p .muted { "The text is not known yet: it is read once, a minute after the statement is first seen, where the role may see it." },
        }
        @if rows.is_empty() {
            (words::empty("It was not among the costliest statements in this stretch of time.", None))
        } @else {
            (figures(visit, name, &rows, &labels)?)
            (slower::why(visit, name, queryid, &labels)?)
            (charts(visit, name, &labels)?)
            (places(&rows))
        }
        (waits(visit, name, queryid)?)
        (words::command(&format!("pawang history show statements total_exec_time -i {} --top 20", shell(name))))
    };
    Ok(Page {
        title: "Query".to_owned(),
        place: Place::Queries,
        instance: Some(name.to_owned()),
        body,
        seen_at: known_at(&present),
    })
}

fn figures(
    visit: &Visit<'_>,
    name: &str,
    rows: &[Growth],
    labels: &[Vec<String>],
) -> Result<Markup, PageError> {
    let mut sums = StatementSums::default();
    rows.iter().for_each(|row| sums.add(row));
    let mean = (sums.calls > 0.0).then(|| sums.total_ms / sums.calls);
    let rate = (sums.seconds > 0.0).then(|| sums.calls / sums.seconds);
    let touched = sums.hit + sums.read;
    let hit = (touched > 0.0).then(|| 100.0 * sums.hit / touched);
    let per_call = (sums.calls > 0.0).then(|| sums.rows / sums.calls);
    let first_last = extent(visit, name, labels)?;
    Ok(html! {
        dl .figures {
            (figure("total time", html! { (milliseconds(sums.total_ms)) }, "execution time in the range"))
            (figure("calls", html! { (words::number(sums.calls)) @if let Some(rate) = rate { small { " " (per_second(rate)) } } }, "in the range"))
            (figure("mean", or_dash(mean.map(milliseconds), "no calls in the range"), "time per call"))
            (figure("rows per call", or_dash(per_call.map(words::number), "no calls in the range"), "returned or changed"))
            (figure("cache hits", or_dash(hit.map(percent), "it touched no block"), "share of blocks found in shared buffers"))
            @if let Some((first, last)) = first_last {
                (figure("first seen", words::ago(visit.now, first), "first call in the history that is kept"))
                (figure("last seen", words::ago(visit.now, last), "last call in the history that is kept"))
            }
        }
    })
}

/// Returns when the statement was first and last called, as far as the history goes.
fn extent(
    visit: &Visit<'_>,
    name: &str,
    labels: &[Vec<String>],
) -> Result<Option<(pawang_core::Timestamp, pawang_core::Timestamp)>, PageError> {
    let Some(span) = visit.reader.extent(name)? else {
        return Ok(None);
    };
    let step = span.from.duration_until(span.to).unsigned_abs() / SEARCH_POINTS;
    let found = visit.reader.series(&SeriesQuery {
        instance: name,
        collector: "statements",
        database: None,
        columns: &["calls"],
        rows: Rows::Only(labels),
        fold: Fold::SumBy(&[]),
        span: Span { ..span },
        step: Some(step.max(Duration::from_secs(60))),
    })?;
    let mut called = found
        .iter()
        .flat_map(|series| &series.points)
        .filter(|point| point.reading.is_some_and(|reading| reading.max > 0.0))
        .map(|point| point.at);
    let first = called.next();
    Ok(first.map(|first| (first, called.next_back().unwrap_or(first))))
}

fn charts(visit: &Visit<'_>, name: &str, labels: &[Vec<String>]) -> Result<Markup, PageError> {
    let found = single(
        visit,
        name,
        &Ask {
            collector: "statements",
            columns: &STATEMENT_COLUMNS,
            rows: Rows::Only(labels),
            ..Ask::default()
        },
    )?;
    let [
        calls,
        total,
        rows,
        hit,
        read,
        temp_read,
        temp_written,
        wal,
        _plan,
    ] = found.as_slice()
    else {
        return Ok(html! {});
    };
    let mean = combine(total, calls, |ms, calls| (calls > 0.0).then(|| ms / calls));
    let busy = combine(total, total, |ms, _| Some(ms / 1_000.0));
    let bytes = |series: &Series| combine(series, series, |blocks, _| Some(blocks * BLOCK));
    let (hit, read) = (bytes(hit), bytes(read));
    let (temp_read, temp_written) = (bytes(temp_read), bytes(temp_written));
    let chart = |title, unit, lines: &[(&str, &Series)], stacked| {
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
    };
    Ok(html! {
        div .charts {
            (chart("Calls", "/s", &[("calls", calls)], false))
            (chart("Mean time per call", "ms", &[("mean", &mean)], false))
            (chart("Sessions busy with it", "sessions", &[("time spent per second", &busy)], false))
            (chart("Rows", "/s", &[("rows", rows)], false))
            (chart("Data from cache and from disk", "bytes/s", &[("hit", &hit), ("read", &read)], true))
            (chart("Temporary data", "bytes/s", &[("read", &temp_read), ("written", &temp_written)], true))
            (chart("WAL", "bytes/s", &[("WAL", wal)], false))
        }
    })
}

/// Draws what it did per database and role.
fn places(rows: &[Growth]) -> Markup {
    let label = |row: &Growth, index: usize| row.labels.get(index).cloned().unwrap_or_default();
    let mut all: Vec<(String, String, bool, StatementSums)> = rows
        .iter()
        .map(|row| {
            let mut sums = StatementSums::default();
            sums.add(row);
            (label(row, 0), label(row, 1), label(row, 2) != "false", sums)
        })
        .collect();
    all.sort_by(|a, b| b.3.total_ms.total_cmp(&a.3.total_ms));
    html! {
        section {
            h2 { "Where it is called" }
            div .wide { table {
                thead { tr {
                    th scope="col" { "Database" } th scope="col" { "Role" } th scope="col" title="top: called by a client; nested: inside a function" { "Level" }
                    th .number scope="col" { "Total time" } th .number scope="col" { "Calls" } th .number scope="col" { "Mean" } th .number scope="col" { "Rows" }
                } }
                tbody { @for (database, role, top, sums) in all.iter().take(ROWS_MAX) { tr {
                    td { (database) } td { (role) } td { (if *top { "top" } else { "nested" }) }
                    td .number { (milliseconds(sums.total_ms)) }
                    td .number { (words::number(sums.calls)) }
                    td .number { (or_dash((sums.calls > 0.0).then(|| milliseconds(sums.total_ms / sums.calls)), "no calls in the range")) }
                    td .number { (words::number(sums.rows)) }
                } } }
            } }
        }
    }
}

/// Draws what sessions that ran it waited for.
fn waits(visit: &Visit<'_>, name: &str, queryid: &str) -> Result<Markup, PageError> {
    let mut all = active_by(visit, name, &["query_id", "wait_event_type", "wait_event"])?;
    all.retain(|(labels, _)| labels.first().map(String::as_str) == Some(queryid));
    let total: f64 = all.iter().map(|(_, sessions)| sessions).sum();
    Ok(html! {
        section {
            h2 { "What it waits for" }
            @if all.is_empty() {
                p .muted { "No sampled session ran it in this stretch of time: it is quick, rare, or compute_query_id is off." }
            } @else {
                div .wide { table {
                    thead { tr { th scope="col" { "Wait" } th .number scope="col" { "Sessions" } th .number scope="col" { "Share" } } }
                    tbody { @for (labels, sessions) in &all { tr {
                        td { (class_name(labels.get(1).map_or("", String::as_str)))
                            small { " " (labels.get(2).map_or("", String::as_str)) } }
                        td .number { (words::number(*sessions)) }
                        td .number { (percent(if total > 0.0 { 100.0 * sessions / total } else { 0.0 })) }
                    } } }
                } }
            }
        }
    })
}
