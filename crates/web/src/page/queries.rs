//! Queries: which statements cost most over the range, and what became of them since the day before.

use std::collections::BTreeSet;

use maud::{Markup, html};
use pawang_core::ByteSize;
use pawang_store::history::Statement;

use super::parts::{
    Column, Field, Here, Table, bar, change, choices, dash, figure, filter, instance_path,
    known_at, lines, matches, milliseconds, one_line, path, per_second, percent, shell, unseen,
};
use super::{Page, PageError, Place, Visit};
use crate::words;

/// Size of a block; the server would have to be built anew for another.
pub(super) const BLOCK: f64 = 8192.0;
/// Characters of a statement in its row.
const QUERY_CHARS: usize = 110;
/// Draws the page.
///
/// # Errors
/// There is no such instance, or the history does not answer.
pub(crate) fn render(visit: &Visit<'_>, name: &str) -> Result<Page, PageError> {
    let present = visit.instance(name)?;
    let here = Here {
        visit,
        path: instance_path(name, "queries"),
        keeps: &["database", "user", "q", "sort", "show"],
    };
    let sight = lines(&present.facts, "statements");
    let seen_at = sight
        .as_ref()
        .ok()
        .and_then(|lines| Some(lines.first()?.seen_at()));
    let workload = visit.reader.statements(name, visit.range.span)?;
    let (statements, everything) = (workload.statements, workload.total_ms);
    let body = html! {
        @if let Err(missing) = &sight { (unseen(missing)) }
        @if !statements.is_empty() || sight.is_ok() {
            (figures(&statements, everything))
            p { a href=(path(visit, &instance_path(name, "slower"), &[])) { "What became slower, and why" } }
            (section(&here, name, statements))
        }
        (words::command(&format!("pawang check top-statement -i {}", shell(name))))
    };
    Ok(Page {
        title: "Queries".to_owned(),
        place: Place::Queries,
        instance: Some(name.to_owned()),
        body,
        seen_at: seen_at.or_else(|| known_at(&present)),
    })
}

fn figures(statements: &[Statement], everything: f64) -> Markup {
    let seconds = statements
        .iter()
        .map(|s| s.sums.seconds)
        .fold(0.0, f64::max);
    let calls: f64 = statements.iter().map(|s| s.sums.calls).sum();
    let shown: f64 = statements.iter().map(|s| s.sums.total_ms).sum();
    let load = (seconds > 0.0).then(|| everything / 1_000.0 / seconds);
    html! {
        dl .figures {
            (figure("statements", html! { (statements.len()) }, "called in the range, among the costliest by time, calls, reads, temporary blocks and WAL"))
            (figure("calls", html! { @if seconds > 0.0 { (per_second(calls / seconds)) } @else { (dash("two samples are needed")) } }, "calls of these statements per second"))
            (figure("busy", html! { @if let Some(load) = load { (words::number(load)) } @else { (dash("two samples are needed")) } }, "sessions that execute statements on average: total time over elapsed time"))
            (figure("total time", html! { (milliseconds(everything)) }, "time that all statements of the server took"))
            @if everything > 0.0 { (figure("seen here", html! { (percent(100.0 * shown / everything)) }, "share of the total time that the statements below took")) }
        }
    }
}

fn section(here: &Here<'_>, name: &str, mut statements: Vec<Statement>) -> Markup {
    let fields = [
        Field::Choice {
            key: "database",
            title: "Database",
            values: choices(
                statements
                    .iter()
                    .flat_map(|s| &s.databases)
                    .map(String::as_str),
            ),
        },
        Field::Choice {
            key: "user",
            title: "User",
            values: choices(statements.iter().flat_map(|s| &s.roles).map(String::as_str)),
        },
        Field::Search {
            key: "q",
            title: "Query",
        },
    ];
    let form = filter(here, &fields);
    let text = here.visit.parameter("q").unwrap_or_default().to_lowercase();
    let all = statements.len();
    statements.retain(|s| {
        let contains = |t: &String| t.to_lowercase().contains(&text);
        s.databases
            .iter()
            .any(|name| matches(here, "database", name))
            && s.roles.iter().any(|name| matches(here, "user", name))
            && (text.is_empty() || s.queryid == text || s.text.as_ref().is_some_and(contains))
    });
    let cut = statements.len() < all;
    html! { section #statements { (form) (table(here, name, cut).draw(here, statements)) } }
}

fn table<'a>(here: &'a Here<'a>, name: &'a str, filtered: bool) -> Table<'a, Statement> {
    type S = Statement;
    let size = |blocks: f64| ByteSize((blocks * BLOCK) as u64).to_string();
    Table {
        what: "statements",
        sorted: "total",
        columns: vec![
            Column::text(("query", "Query", "normalised text"), |s: &S| s.text.clone().unwrap_or_default(), move |s| link(here, name, s)).wordy(),
            Column::text(("database", "Database", "where it was called"), |s: &S| joined(&s.databases), |s| html! { (one_line(&joined(&s.databases), 24)) }),
            Column::number(("total", "Total time", "execution time in the range"), |s: &S| Some(s.sums.total_ms), milliseconds),
            Column::number(("share", "Share", "of the time of all statements"), |s: &S| Some(s.share), percent)
                .shown(|s| html! { (bar(s.share, false)) (percent(s.share)) }),
            Column::number(("change", "vs day before", "total time per second against the same stretch a day before"), Statement::change, change)
                .shown(|s| s.change().map_or_else(|| dash("not seen a day before"), |ratio| html! { span .change.worse[ratio >= 1.5].better[ratio <= 0.67] { (change(ratio)) } })),
            Column::number(("calls", "Calls", "calls in the range"), |s: &S| Some(s.sums.calls), words::number),
            Column::number(("rate", "Calls/s", "calls per second"), |s: &S| s.rate(s.sums.calls), per_second),
            Column::number(("mean", "Mean", "time per call"), Statement::mean_ms, milliseconds),
            Column::number(("rows", "Rows", "rows returned or changed"), |s: &S| Some(s.sums.rows), words::number),
            Column::number(("hit", "Hit", "data found in shared buffers"), |s: &S| Some(s.sums.hit), size),
            Column::number(("read", "Read", "data read into shared buffers"), |s: &S| Some(s.sums.read), size),
            Column::number(("temp", "Temp", "temporary data read and written"), |s: &S| Some(s.sums.temp), size),
            Column::number(("wal", "WAL", "WAL written"), |s: &S| Some(s.sums.wal_bytes), words::bytes),
            Column::number(("plan", "Planning", "planning time; zero unless pg_stat_statements.track_planning is on"), |s: &S| Some(s.sums.plan_ms), milliseconds),
        ],
        empty: if filtered {
            html! { p { "No statement passes the filter." } }
        } else {
            html! { p { "No statement was called in this stretch of time, or only one sample was taken; samples are a minute apart." } }
        },
    }
}

fn link(here: &Here<'_>, name: &str, statement: &Statement) -> Markup {
    let page = format!("queries/{}", statement.queryid);
    let href = path(here.visit, &instance_path(name, &page), &[]);
    let text = statement.text.as_deref();
    html! {
        a .sql href=(href) title=[text] {
            (text.map_or_else(|| format!("query {}", statement.queryid), |text| one_line(text, QUERY_CHARS)))
        }
    }
}

fn joined(names: &BTreeSet<String>) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.join(", ")
}
