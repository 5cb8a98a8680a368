//! The tables of the logs page: kinds, errors, slow statements; each row leads to its records.

use maud::{Markup, html};
use pawang_core::Timestamp;
use pawang_logs::kind;
use pawang_logs::report::{ErrorText, KindCount, Report, Shape, Top};
use pawang_logs::search::error_id;

use crate::page::Visit;
use crate::page::parts::{Column, Here, Table, dash, instance_path, milliseconds, one_line, path};
use crate::words;

/// Characters of a text in its row.
const TEXT_CHARS: usize = 140;
/// Names that one cell shows.
const NAMES_MAX: usize = 3;

/// Shows an instant of the log.
pub(super) fn moment(visit: &Visit<'_>, at: Option<i64>) -> Markup {
    let at = at.and_then(|at| Timestamp::from_microsecond(at).ok());
    at.map_or_else(
        || dash("the log does not say"),
        |at| words::moment(visit.now, at),
    )
}

fn time(at: Option<i64>) -> String {
    at.map_or(String::new(), |at| format!("{at:020}"))
}

/// Returns the address of the records behind a row.
fn behind(here: &Here<'_>, name: &str, pairs: &[(&str, &str)]) -> String {
    path(here.visit, &instance_path(name, "logs/records"), pairs)
}

/// Shows the kinds of events.
pub(super) fn kinds(here: &Here<'_>, name: &str, report: &Report) -> Markup {
    type K = KindCount;
    let table = Table {
        what: "kinds",
        sorted: "level",
        columns: vec![
            Column::text(
                ("kind", "Kind", "kind of event"),
                |k: &K| k.kind.clone(),
                |k| {
                    html! {
                        a href=(behind(here, name, &[("kind", &k.kind)])) title=(k.sample) { (k.kind) }
                    }
                },
            ),
            Column::text(
                ("level", "How bad", "of one such record by itself"),
                |k: &K| format!("{} {:020}", u8::MAX - k.level as u8, u64::MAX - k.count),
                |k| words::badge(k.level),
            ),
            Column::number(
                ("count", "Count", "records"),
                |k: &K| Some(k.count as f64),
                words::number,
            ),
            Column::text(
                ("meaning", "Meaning", "what it means"),
                |k: &K| meaning(&k.kind),
                |k| html! { (meaning(&k.kind)) },
            )
            .wordy(),
            Column::text(
                ("first", "First", "when it came first"),
                |k: &K| time(k.first_at),
                |k| moment(here.visit, k.first_at),
            ),
            Column::text(
                ("last", "Last", "when it came last"),
                |k: &K| time(k.last_at),
                |k| moment(here.visit, k.last_at),
            ),
        ],
        empty: html! { p { "No record in these hours." } },
    };
    html! {
        section #kinds { h2 { "Kinds" small { (report.kinds.len()) " of " (kind::kinds().len()) } } (table.draw(here, report.kinds.clone())) }
    }
}

fn meaning(id: &str) -> String {
    let known = kind::find(id).map(|id| id.kind().meaning.clone());
    known.unwrap_or_default()
}

/// Says how many of a list are shown when it has more.
fn of_all<T>(top: &Top<T>) -> Markup {
    let shown = top.items.len() as u64;
    html! {
        @if top.total > shown {
            small { "the first " (shown) " of " @if !top.complete { "at least " } (words::number(top.total as f64)) }
        }
    }
}

/// Shows the errors by their normalised texts.
pub(super) fn errors(here: &Here<'_>, name: &str, report: &Report) -> Markup {
    type E = ErrorText;
    let id = |e: &E| error_id(&e.sqlstate, &e.text);
    let table = Table {
        what: "errors",
        sorted: "count",
        columns: vec![
            Column::text(("error", "Error", "text without its values"), |e: &E| e.text.clone(), move |e| html! {
                a .sql href=(behind(here, name, &[("error", &id(e))])) title=(e.sample) { (one_line(&e.text, TEXT_CHARS)) }
            }).wordy(),
            Column::text(("severity", "Severity", "the worst that it came with"), |e: &E| e.severity.as_str().to_owned(), |e| html! { (e.severity.as_str()) }),
            Column::text(("sqlstate", "SQLSTATE", "code of the error"), |e: &E| e.sqlstate.clone(), |e| html! {
                @if e.sqlstate.is_empty() { (dash("the log does not say: log_line_prefix without %e")) } @else { code { (e.sqlstate) } }
            }),
            Column::number(("count", "Count", "records"), |e: &E| Some(e.count as f64), words::number),
            Column::text(("who", "User@database", "whose sessions"), |e: &E| who(e), |e| html! { (one_line(&who(e), 48)) }),
            Column::text(("last", "Last", "when it came last"), |e: &E| time(e.last_at), |e| moment(here.visit, e.last_at)),
        ],
        empty: html! { p { "No error in these hours." } },
    };
    html! {
        section #errors { h2 { "Errors" (of_all(&report.errors)) } (table.draw(here, report.errors.items.clone())) }
    }
}

fn who(error: &ErrorText) -> String {
    let names = |counts: &std::collections::BTreeMap<String, u64>| {
        let mut all: Vec<(&String, &u64)> = counts.iter().collect();
        all.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
        let more = all.len() > NAMES_MAX;
        let names = all
            .into_iter()
            .take(NAMES_MAX)
            .map(|(name, _)| name.as_str());
        let mut text = names.collect::<Vec<_>>().join(", ");
        if more {
            text.push_str(", …");
        }
        text
    };
    match (names(&error.users), names(&error.databases)) {
        (users, databases) if databases.is_empty() => users,
        (users, databases) => format!("{users}@{databases}"),
    }
}

/// Shows the statements whose durations the log has.
pub(super) fn statements(here: &Here<'_>, name: &str, report: &Report) -> Markup {
    type S = Shape;
    let ms = |microseconds: u64| microseconds as f64 / 1_000.0;
    let mean = move |s: &S| {
        (s.durations.count > 0).then(|| ms(s.durations.total) / s.durations.count as f64)
    };
    let table = Table {
        what: "slow statements",
        sorted: "total",
        columns: vec![
            Column::text(("statement", "Statement", "text without its values"), |s: &S| s.text.clone(), |s| html! {
                a .sql href=(behind(here, name, &[("statement", &s.id)])) title=(s.text) { (one_line(&s.text, TEXT_CHARS)) }
            }).wordy(),
            Column::number(("calls", "Calls", "executions whose duration was logged"), |s: &S| Some(s.durations.count as f64), words::number),
            Column::number(("total", "Total", "time of all of them"), move |s: &S| Some(ms(s.durations.total)), milliseconds),
            Column::number(("mean", "Mean", "time of one"), mean, milliseconds),
            Column::number(("p95", "p95", "95 of 100 took at most this; at most 3.2 % too high"), move |s: &S| Some(ms(s.durations.p95)), milliseconds),
            Column::number(("max", "Max", "the slowest"), move |s: &S| Some(ms(s.durations.max)), milliseconds),
            Column::text(("last", "Last", "when it ran last"), |s: &S| time(s.last_at), |s| moment(here.visit, s.last_at)),
        ],
        empty: html! { p { "No statement was logged with its duration; log_min_duration_statement says from which duration on it is." } },
    };
    let top = &report.statements.by_time;
    html! {
        section #statements { h2 { "Slow statements" (of_all(top)) } (table.draw(here, top.items.clone())) }
    }
}
