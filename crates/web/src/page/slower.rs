//! Slower: which statements became slower than they usually are at this hour of the week, since when, and why.

use maud::{Markup, html};
use pawang_logs::regression::history::{Asked, Found, Slower, kept_log, slower};
use pawang_logs::regression::{Cause, Regression};
use pawang_logs::resume::directory_of;
use pawang_store::history::Rows;

use super::parts::{instance_path, known_at, milliseconds, one_line, path, shell};
use super::{Page, PageError, Place, Visit};
use crate::words;

/// Characters of a statement in its row.
const QUERY_CHARS: usize = 110;
/// Hours that are judged at least, and at most.
const JUDGED_HOURS: (i64, i64) = (24, 168);
const HOUR_SECONDS: i64 = 3_600;

/// Draws the page.
///
/// # Errors
/// There is no such instance, or the history does not answer.
pub(crate) fn render(visit: &Visit<'_>, name: &str) -> Result<Page, PageError> {
    let present = visit.instance(name)?;
    let found = visit
        .site
        .logs
        .slower(visit, name, || judge(visit, name, Rows::All))?;
    let back = path(visit, &instance_path(name, "queries"), &[]);
    let body = html! {
        p .muted { a href=(back) { "Queries" } " › slower" }
        @if let Some(why) = found.unknown() {
            p { "Unknown: " (why) "." }
        } @else if found.slower.is_empty() {
            p { (sentence(&found.nothing())) }
        } @else {
            (table(visit, name, &found.slower))
        }
        (words::command(&format!("pawang query regressions -i {}", shell(name))))
    };
    Ok(Page {
        title: "Slower queries".to_owned(),
        place: Place::Queries,
        instance: Some(name.to_owned()),
        body,
        seen_at: known_at(&present),
    })
}

/// Says why one statement became slower, if it did.
///
/// # Errors
/// The history does not answer.
pub(super) fn why(
    visit: &Visit<'_>,
    name: &str,
    queryid: &str,
    labels: &[Vec<String>],
) -> Result<Markup, PageError> {
    let found = judge(visit, name, Rows::Only(labels))?;
    let own = found.slower.iter().find(|slower| slower.queryid == queryid);
    Ok(html! {
        @if let Some(slower) = own {
            section #slower {
                h2 { "Why it became slower" }
                p { (step(visit, slower)) }
                (causes(visit, &slower.regression))
            }
        }
    })
}

fn judge(visit: &Visit<'_>, name: &str, rows: Rows<'_>) -> Result<Found, PageError> {
    let span = visit.range.span;
    let hours = span.from.duration_until(span.to).as_secs() / HOUR_SECONDS;
    let asked = Asked {
        instance: name,
        rows,
        now: span.to,
        judged: hours.clamp(JUDGED_HOURS.0, JUDGED_HOURS.1),
    };
    let directory = directory_of(visit.site.store.directory(), name);
    Ok(slower(visit.reader, &asked, |hours| {
        kept_log(&directory, hours)
    })?)
}

fn table(visit: &Visit<'_>, name: &str, all: &[Slower]) -> Markup {
    html! {
        section #slower { div .wide { table {
            thead { tr {
                th scope="col" { "Query" } th scope="col" { "Slower" }
                th .number scope="col" title="time that it took more than it would have" { "Extra time" }
                th .number scope="col" { "Calls" } th scope="col" { "Why" }
            } }
            tbody { @for slower in all { tr {
                td { (link(visit, name, slower)) }
                td { (step(visit, slower)) }
                td .number { (milliseconds(slower.regression.extra_ms)) }
                td .number { (words::number(slower.regression.calls)) }
                td { (causes(visit, &slower.regression)) }
            } } }
        } } }
    }
}

fn sentence(words: &str) -> String {
    let (first, rest) = words.split_at(words.chars().next().map_or(0, char::len_utf8));
    format!("{}{rest}.", first.to_uppercase())
}

fn link(visit: &Visit<'_>, name: &str, slower: &Slower) -> Markup {
    let page = format!("queries/{}", slower.queryid);
    let href = path(visit, &instance_path(name, &page), &[]);
    let text = slower.text.as_deref();
    html! {
        a .sql href=(href) title=[text] {
            (text.map_or_else(|| format!("query {}", slower.queryid), |text| one_line(text, QUERY_CHARS)))
        }
    }
}

fn step(visit: &Visit<'_>, slower: &Slower) -> Markup {
    let found = &slower.regression;
    html! {
        "×" (format!("{:.1}", found.ratio)) " per call since " (words::clock(visit.now, slower.since))
        ": " (milliseconds(found.before_ms)) " before, " (milliseconds(found.now_ms)) " now"
    }
}

fn causes(visit: &Visit<'_>, regression: &Regression) -> Markup {
    let item = |cause: &Cause| {
        html! {
            li {
                @if cause.guess { "a guess: " }
                (cause.what)
                small .muted {
                    " "
                    @if let Some(at) = cause.at { (words::clock(visit.now, at)) ", " }
                    (cause.evidence)
                }
            }
        }
    };
    html! {
        ul {
            @if let Some(unknown) = regression.unknown() { li { (unknown) } }
            @for cause in &regression.causes { (item(cause)) }
        }
    }
}
