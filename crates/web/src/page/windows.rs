//! What keeps alerts quiet: silences, maintenance windows and their calendar, and forms that add and end them.

mod calendar;

use std::sync::Arc;

use maud::{Markup, html};
use pawang_alert::matcher::Matchers;
use pawang_core::alert::{Alert, AlertsPresent, Matcher, Mute, Silence, Window};

use super::alert::as_finding;
use super::parts::{button, carried, may, periods};
use super::verdict::{Entry, list};
use super::{Page, PageError, Place, Visit};
use crate::order;
use crate::words::{command, empty, encode, glyph, moment};

/// What the windows of the configuration are made by.
const CONFIGURATION: &str = "pawang.toml";
/// Alerts of a preview that are shown.
const PREVIEW_MAX: usize = 50;

/// Draws the page.
///
/// # Errors
/// A matcher of the preview cannot be read.
pub(crate) fn render(visit: &Visit<'_>) -> Result<Page, PageError> {
    let present = visit.site.live.alerts();
    let body = html! {
        (open(visit, &present))
        (silences(visit, &present))
        (preview(visit, &present))
        (windows(visit, &present))
        (calendar::draw(visit, &present))
    };
    Ok(Page {
        title: "Windows and silences".to_owned(),
        place: Place::Windows,
        instance: None,
        body,
        seen_at: None,
    })
}

fn open(visit: &Visit<'_>, present: &AlertsPresent) -> Markup {
    html! {
        @for time in &present.open_windows {
            p .sentence {
                span .tag.warning { "open" } " " b { (time.window) } " until " (moment(visit.now, time.to))
                small { " " (quiet(present, &Mute::Maintenance { window: time.window.clone() })) }
            }
        }
    }
}

/// Says how many alerts something keeps quiet now.
fn quiet(present: &AlertsPresent, mute: &Mute) -> String {
    let alerts = present.alerts.iter();
    let count = alerts
        .filter(|alert| alert.handling.mutes.contains(mute))
        .count();
    match count {
        0 => "no alert is quiet by it".to_owned(),
        1 => "1 alert is quiet by it".to_owned(),
        count => format!("{count} alerts are quiet by it"),
    }
}

fn windows(visit: &Visit<'_>, present: &AlertsPresent) -> Markup {
    html! {
        section #windows {
            h2 { "Maintenance windows" small { (present.windows.len()) } }
            @if present.windows.is_empty() {
                (empty("There is no maintenance window.", Some("pawang window add \"sun 02:00-06:00 Asia/Jakarta\" --group prod --reason WHY")))
            } @else {
                div .wide tabindex="0" role="region" aria-label="Maintenance windows" { table {
                    thead { tr {
                        th scope="col" { "Name" } th scope="col" { "When" } th scope="col" { "Which alerts" } th scope="col" { "What is done" }
                        th scope="col" { "Made by" } th scope="col" {}
                    } }
                    tbody { @for window in &present.windows { (window_row(visit, window)) } }
                } }
            }
            @if may(visit) { (add_window(visit)) }
            (command("pawang window list --next 30d"))
        }
    }
}

fn window_row(visit: &Visit<'_>, window: &Window) -> Markup {
    let path = format!("/windows/{}/remove", encode(&window.name));
    html! { tr {
        th scope="row" { (window.name) }
        td { code { (window.schedule) } }
        td { (matchers(&window.matchers)) }
        td .words { (window.reason) }
        td { (window.by) }
        td { @if may(visit) && window.by != CONFIGURATION { (button(visit, &path, "/windows", "Remove")) } }
    } }
}

fn matchers(matchers: &[Matcher]) -> Markup {
    html! {
        @if matchers.is_empty() { b { "everything" } }
        @for matcher in matchers { code .matcher { (matcher) } " " }
    }
}

fn add_window(visit: &Visit<'_>) -> Markup {
    html! {
        details #add-window .act {
            summary { "Add a window" }
            form .act method="post" action="/windows" {
                label .long { span { "When" }
                    input name="schedule" required maxlength="300" placeholder="sun 02:00-06:00 Asia/Jakarta"; }
                label { span { "Name" } input name="name" maxlength="60" placeholder="window-N"; }
                label .long { span { "Which alerts, one matcher a line" } textarea name="matcher" rows="2" placeholder="group=\"prod\"" {} }
                label .check { input type="checkbox" name="everything" value="true"; " the whole estate is meant" }
                label .long { span { "What is done" } input name="reason" required maxlength="500"; }
                (carried(visit, "/windows"))
                button .primary type="submit" { "Add" }
            }
        }
    }
}

fn silences(visit: &Visit<'_>, present: &AlertsPresent) -> Markup {
    html! {
        section #silences {
            h2 { "Silences" small { (present.silences.len()) } }
            @if present.silences.is_empty() { (empty("Nothing is silenced.", None)) } @else {
                div .wide tabindex="0" role="region" aria-label="Silences" { table {
                    thead { tr {
                        th .number scope="col" { "No." } th scope="col" { "Which alerts" } th scope="col" { "From" } th scope="col" { "Until" }
                        th scope="col" { "Why" } th scope="col" { "Made by" } th scope="col" { "Quiet now" } th scope="col" {}
                    } }
                    tbody { @for silence in &present.silences { (silence_row(visit, present, silence)) } }
                } }
            }
        }
    }
}

fn silence_row(visit: &Visit<'_>, present: &AlertsPresent, silence: &Silence) -> Markup {
    let mute = Mute::Silenced {
        silence: silence.id,
    };
    html! { tr id={ "silence-" (silence.id) } {
        td .number { (silence.id) }
        td { (matchers(&silence.matchers)) }
        td { (moment(visit.now, silence.starts_at)) @if silence.starts_at > visit.now { " " span .tag { "later" } } }
        td { (moment(visit.now, silence.ends_at)) }
        td .words { (silence.reason) }
        td { (silence.by) }
        td { (quiet(present, &mute)) }
        td { @if may(visit) { (button(visit, &format!("/silences/{}/expire", silence.id), "/windows", "End")) } }
    } }
}

/// Draws the way to a silence: matchers first, then what they mean now, then the order.
fn preview(visit: &Visit<'_>, present: &AlertsPresent) -> Markup {
    let asked = visit.parameter("matcher").unwrap_or_default();
    let read = order::matchers(asked.lines().map(str::trim).filter(|line| !line.is_empty()));
    let ready = read.map_err(|problem| {
        let report = problem.report;
        report.detail.map_or(report.primary.clone(), |detail| {
            format!("{}: {detail}", report.primary)
        })
    });
    let ready = ready.and_then(Matchers::new);
    html! {
        section #silence {
            h2 { "Silence alerts" }
            form .act method="get" action="/windows" {
                label .long { span { "Which alerts, one matcher a line; all of them must hold" }
                    textarea name="matcher" rows="2" placeholder="check=\"replication-lag\"" maxlength="4000" { (asked) } }
                button type="submit" { "Preview" }
            }
            @match ready {
                Err(why) => { p .refused role="alert" { (why) } },
                Ok(_) if asked.trim().is_empty() => {
                    p .muted { "Labels: check, instance, group, database, object, level, priority, host, cluster, role, and those of the instance." }
                },
                Ok(matchers) => { (meant(visit, present, asked, &matchers)) },
            }
            (command("pawang silence add MATCHER --for 2h --reason WHY --preview"))
        }
    }
}

/// Draws what the matchers mean now, and the order.
fn meant(visit: &Visit<'_>, present: &AlertsPresent, asked: &str, matchers: &Matchers) -> Markup {
    let alerts: Vec<&Arc<Alert>> = present
        .alerts
        .iter()
        .filter(|alert| matchers.hold(&alert.labels))
        .collect();
    let open: Vec<_> = alerts
        .iter()
        .take(PREVIEW_MAX)
        .map(|alert| as_finding(alert))
        .collect();
    let entries: Vec<Entry<'_>> = open.iter().map(Entry::One).collect();
    let everything = matchers.match_everything();
    html! {
        p #meant {
            @if everything { (glyph(pawang_core::Level::Critical)) " " b { "It matches every alert, those that come too. " } }
            b { (alerts.len()) } " of " (present.alerts.len()) " alerts would be quiet now."
        }
        (list(visit, &entries, true))
        @if may(visit) {
            form .act method="post" action="/silences" {
                input type="hidden" name="matcher" value=(asked);
                (periods("Silence for", "2 h"))
                label .long { span { "Why" } input name="reason" required maxlength="500"; }
                @if everything { label .check { input type="checkbox" name="everything" value="true" required; " every alert is meant" } }
                (carried(visit, "/windows"))
                button .primary type="submit" { "Silence" }
            }
        }
    }
}
