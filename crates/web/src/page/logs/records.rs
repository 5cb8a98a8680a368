//! Records of a log, newest first: the live tail, and what is behind a number of the logs page.

use std::collections::BTreeSet;

use maud::{Markup, html};
use pawang_core::{ByteSize, Level, Timestamp};
use pawang_logs::kind;
use pawang_logs::search::{Cut, Found, Line, Wanted};
use pawang_logs::severity::Severity;

use crate::page::parts::{Field, Here, filter, instance_path, path, shell};
use crate::page::{Page, PageError, Place, Visit};
use crate::words;
use crate::{assets, logs};

/// Files that were left out and are named.
const LEFT_OUT_MAX: usize = 10;

/// Reads what the address asks for.
///
/// # Errors
/// A severity that there is not.
pub(crate) fn wanted(visit: &Visit<'_>) -> Result<Wanted, PageError> {
    let given = |name: &str| {
        let value = visit.parameter(name).filter(|value| !value.is_empty());
        value.map(str::to_owned)
    };
    let severity = match given("severity") {
        None => None,
        Some(text) => Some(logs::severity(&text).ok_or_else(|| PageError::Parameter {
            parameter: "severity".to_owned(),
        })?),
    };
    Ok(Wanted {
        since: None,
        until: None,
        kind: given("kind"),
        error: given("error"),
        shape: given("statement"),
        severity,
        text: given("q").unwrap_or_default(),
    })
}

/// Draws the page.
///
/// # Errors
/// There is no such instance, or no such severity.
pub(crate) fn render(visit: &Visit<'_>, name: &str) -> Result<Page, PageError> {
    let present = visit.instance(name)?;
    let here = Here {
        visit,
        path: instance_path(name, "logs/records"),
        keeps: &["kind", "error", "statement", "severity", "q"],
    };
    let wanted = wanted(visit)?;
    let status = visit.site.live.log(name);
    let body = html! {
        p { a href=(path(visit, &instance_path(name, "logs"), &[])) { "Logs" } " / records" }
        (form(&here))
        @if let Some(status) = &status {
            @if let Some(blind) = &status.blind { (words::not_seen(blind)) }
            @let found = logs::records(visit, name, status, &wanted, logs::RECORDS_MAX);
            (said(&found))
            @if found.records.is_empty() {
                (words::empty("No record in this stretch of time is what was asked for.", None))
            }
            (list(visit, name, &found, logs::RECORDS_MAX))
            (left_out(&found))
        } @else {
            (words::empty("The log is not read: reading is switched off, or the daemon has only just begun.", None))
        }
        (words::command(&format!("pawang logs follow -i {}", shell(name))))
    };
    Ok(Page {
        title: "Log records".to_owned(),
        place: Place::Logs,
        instance: Some(name.to_owned()),
        body,
        seen_at: Some(present.facts.at),
    })
}

fn form(here: &Here<'_>) -> Markup {
    let severities = Severity::ALL.into_iter().map(|s| s.as_str().to_lowercase());
    let kinds = kind::kinds().iter().map(|kind| kind.id.clone());
    let fields = [
        Field::Choice {
            key: "severity",
            title: "This bad or worse",
            values: severities.collect(),
        },
        Field::Choice {
            key: "kind",
            title: "Kind",
            values: kinds.collect::<BTreeSet<_>>(),
        },
        Field::Search {
            key: "q",
            title: "Message or statement",
        },
    ];
    let only = |key, what: &str| {
        html! {
            @if here.visit.parameter(key).is_some_and(|value| !value.is_empty()) {
                p .lead { "Only records of one " (what) ". " a href=(here.with(&[(key, None)])) { "show others too" } }
            }
        }
    };
    html! { (filter(here, &fields)) (only("error", "error")) (only("statement", "statement")) }
}

/// Says how far was looked.
fn said(found: &Found) -> Markup {
    html! {
        p .muted {
            b { (found.records.len()) } @if found.records.len() == 1 { " record" } @else { " records" } ", newest first"
            @match found.cut {
                None => {},
                Some(Cut::Records) => { "; there may be older ones: choose an earlier stretch of time" }
                Some(Cut::Bytes) => { "; older ones were not looked for after " (ByteSize(found.bytes)) " of the log" }
                Some(Cut::Time) => { "; older ones were not looked for: the time for one page was up after " (ByteSize(found.bytes)) " of the log" }
            }
            @if found.unopened > 0 { "; " (found.unopened) @if found.unopened == 1 { " older file was" } @else { " older files were" } " not opened" }
            "."
        }
    }
}

fn left_out(found: &Found) -> Markup {
    html! {
        @if !found.left_out.is_empty() {
            details #left-out {
                summary { (found.left_out.len()) @if found.left_out.len() == 1 { " file was" } @else { " files were" } " not searched, or not whole" }
                ul { @for (path, why) in found.left_out.iter().take(LEFT_OUT_MAX) { li { code { (path.display()) } ": " (why) } } }
                p { "The command line reads them too:" }
                (words::copyable(&format!("pawang logs report {}", shell(&found.left_out[0].0.display().to_string()))))
            }
        }
    }
}

/// Shows records, of which there are `most` at most; the script adds new ones while the page is live, and exchanges none.
pub(super) fn list(visit: &Visit<'_>, name: &str, found: &Found, most: usize) -> Markup {
    html! {
        @if !visit.range.frozen {
            button type="button" data-pause aria-pressed="false" hidden { "Pause" }
            script type="module" src=(assets::tail()) {}
        }
        ol .records data-tail data-most=(most) { @for line in &found.records { (record(visit, name, line)) } }
    }
}

fn record(visit: &Visit<'_>, name: &str, line: &Line) -> Markup {
    let level = match line.severity {
        Severity::Fatal | Severity::Panic => Level::Critical,
        Severity::Error | Severity::Warning => Level::Warning,
        _ => Level::Info,
    };
    let kind = path(
        visit,
        &instance_path(name, "logs/records"),
        &[("kind", &line.kind)],
    );
    let more = [
        ("DETAIL", &line.detail),
        ("HINT", &line.hint),
        ("CONTEXT", &line.context),
        ("STATEMENT", &line.statement),
    ];
    let key = format!("{} {} {}", line.at.unwrap_or(0), line.pid, line.message);
    html! {
        li data-key=(key) data-at=(line.at.unwrap_or(0)) {
            p .head {
                (instant(line.at)) " "
                span .level.(level.as_str()) { (line.severity.as_str()) } " "
                a href=(kind) { (line.kind) } " "
                @if !line.sqlstate.is_empty() { code { (line.sqlstate) } " " }
                span .muted {
                    @if !line.user.is_empty() || !line.database.is_empty() { (line.user) "@" (line.database) " " }
                    @if !line.application.is_empty() { (line.application) " " }
                    @if !line.host.is_empty() { (line.host) " " }
                    @if line.pid != 0 { "pid " (line.pid) }
                }
            }
            p .message .sql { (line.message) }
            @for (title, text) in more {
                @if !text.is_empty() { p .more { small { (title) } " " span .sql { (text) } } }
            }
        }
    }
}

/// Shows an instant to the millisecond, as it stands in the log.
fn instant(at: Option<i64>) -> Markup {
    let Some(at) = at.and_then(|at| Timestamp::from_microsecond(at).ok()) else {
        return html! { span .muted { "no time" } };
    };
    html! { time datetime=(words::instant(at)) { (at.strftime("%Y-%m-%d %H:%M:%S%.3f UTC")) } }
}
