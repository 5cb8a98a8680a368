//! Incidents: those that are open, with the clock against the response time; those that were; and how to open one.

use maud::{Markup, html};
use pawang_alert::incident::overdue;
use pawang_core::Timestamp;
use pawang_core::alert::{Incident, IncidentState, Priority};
use pawang_store::state::IncidentQuery;

use super::parts::{Here, carried, may, one_line, urgency, without_secrets};
use super::{Page, PageError, Place, Visit};
use crate::words::{age, command, duration, empty, encode, exact, instant, moment, seconds_since};

/// Incidents of one page that are closed.
const PAGE: usize = 50;
/// Incidents of one page that are open.
const OPEN_MAX: usize = 200;
/// Characters of a title in lists.
const TITLE_CHARS: usize = 160;

/// Draws the page.
///
/// # Errors
/// The parameter `before` is no number, or the store does not answer.
pub(crate) fn render(visit: &Visit<'_>) -> Result<Page, PageError> {
    let here = Here {
        visit,
        path: "/incidents".to_owned(),
        keeps: &["before"],
    };
    let before = match visit.parameter("before") {
        None | Some("") => None,
        Some(text) => Some(text.parse().map_err(|_| PageError::Parameter {
            parameter: "before".to_owned(),
        })?),
    };
    let state = visit.site.store.state();
    let present = visit.site.live.alerts();
    let mut past = state.incidents(&IncidentQuery {
        before,
        limit: PAGE + 1,
        ..IncidentQuery::default()
    })?;
    let more = past.len() > PAGE;
    past.truncate(PAGE);
    let oldest = past.last().map(|incident| incident.id);
    past.retain(|incident| incident.state == IncidentState::Closed);
    let body = html! {
        @if before.is_none() {
            @if present.incidents.is_empty() { (empty("No incident is open.", None)) }
            @else { (open(visit, &present.incidents)) }
        }
        h2 { "Closed" }
        @if past.is_empty() { p .muted { "None." } } @else { (table(visit, &past.iter().collect::<Vec<_>>())) }
        nav .pages aria-label="Pages of incidents" {
            @if before.is_some() { a href=(here.with(&[("before", None)])) { "newest" } " " }
            @if let (true, Some(oldest)) = (more, oldest) {
                a rel="next" href=(here.with(&[("before", Some(&oldest.to_string()))])) { "older" }
            }
        }
        @if may(visit) { (form(visit)) }
        (command("pawang incident list"))
    };
    Ok(Page {
        title: "Incidents".to_owned(),
        place: Place::Incidents,
        instance: None,
        body,
        seen_at: None,
    })
}

/// Draws those that are open: first those that nobody responded to, the most urgent first.
fn open(visit: &Visit<'_>, incidents: &[Incident]) -> Markup {
    let mut incidents: Vec<&Incident> = incidents.iter().collect();
    incidents.sort_by_key(|incident| {
        let over = incident.state != IncidentState::Open;
        let responded = incident.responded.is_some();
        (over, responded, incident.priority, incident.respond_by)
    });
    let more = incidents.len().saturating_sub(OPEN_MAX);
    incidents.truncate(OPEN_MAX);
    html! {
        (table(visit, &incidents))
        @if more > 0 { p .muted { (more) " more that are less urgent." } (command("pawang incident list")) }
    }
}

fn table(visit: &Visit<'_>, incidents: &[&Incident]) -> Markup {
    html! {
        div .wide tabindex="0" role="region" aria-label="Incidents" { table .incidents {
            thead { tr {
                th .number scope="col" { "No." } th scope="col" { "Priority" } th scope="col" { "Response" } th scope="col" { "What" }
                th scope="col" { "Where" } th .number scope="col" { "Alerts" } th scope="col" { "Opened" } th scope="col" { "State" }
            } }
            tbody { @for incident in incidents { tr {
                td .number data-label="No." { (incident.id) }
                td { (urgency(incident.priority)) }
                td { (clock(visit.now, incident)) }
                td .words { a href={ "/incidents/" (incident.id) } { (one_line(&without_secrets(&incident.title), TITLE_CHARS)) } }
                td .where data-label="on" { (places(visit, incident)) }
                td .number data-label="alerts" { (incident.alerts.len()) }
                td data-label="opened" { (moment(visit.now, incident.opened_at)) }
                td { (state(visit, incident)) }
            } } }
        } }
    }
}

/// Shows the instances that are concerned.
pub(super) fn places(visit: &Visit<'_>, incident: &Incident) -> Markup {
    const SHOWN: usize = 4;
    html! {
        @for (index, name) in incident.instances.iter().take(SHOWN).enumerate() {
            @if index > 0 { ", " }
            @if visit.site.live.instance(name).is_none() { (name) }
            @else { a href=(visit.link(&format!("/instances/{}", encode(name)))) { (name) } }
        }
        @if incident.instances.len() > SHOWN { " and " (incident.instances.len() - SHOWN) " more" }
        @if incident.instances.is_empty() { span .none { "–" } }
    }
}

/// Shows the clock: who responded and how soon, or how much time is left.
pub(super) fn clock(now: Timestamp, incident: &Incident) -> Markup {
    let late = overdue(incident, now);
    let between = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64().max(0.0);
    html! {
        @match (&incident.responded, &incident.closed) {
            (Some((at, by)), _) => {
                span .tag.ok[!late].warning[late] title=(exact(*at)) {
                    (by) " after " (duration(between(incident.opened_at, *at)))
                    @if *at > incident.respond_by { ", late" }
                }
            },
            (None, Some(_)) => { span .none { "nobody" } },
            (None, None) if late => {
                span .tag.critical title=(exact(incident.respond_by)) {
                    "overdue for " (age(seconds_since(now, incident.respond_by)))
                }
            },
            (None, None) => {
                span .tag.warning title=(exact(incident.respond_by)) {
                    "respond within " (duration(between(now, incident.respond_by).floor()))
                }
            },
        }
    }
}

/// Shows how far an incident is.
pub(super) fn state(visit: &Visit<'_>, incident: &Incident) -> Markup {
    html! {
        @match (incident.state, &incident.closed, incident.mitigated_at) {
            (IncidentState::Closed, Some((at, by)), _) => { "closed by " (by) " " (moment(visit.now, *at)) },
            (IncidentState::Mitigated, _, Some(at)) => {
                span .tag.ok { "mitigated since " (moment(visit.now, at)) } " waits for its review"
            },
            (IncidentState::Open, ..) => {
                span .tag.critical { "open for " time datetime=(instant(incident.opened_at)) { (age(seconds_since(visit.now, incident.opened_at))) } }
            },
            _ => { "over" },
        }
    }
}

fn form(visit: &Visit<'_>) -> Markup {
    let instances = visit.site.live.instances();
    html! {
        details #open-incident .act {
            summary { "Open an incident" }
            form .act method="post" action="/incidents" {
                label .long { span { "What, in one sentence" } input name="title" required maxlength="300"; }
                label { span { "Priority" } select name="priority" {
                    @for priority in Priority::ALL { option value=(priority) selected[priority == Priority::P2] { (priority) } }
                } }
                label { span { "Instance" } select name="instance" {
                    option value="" { "none" }
                    @for present in &instances { option value=(present.instance.name) { (present.instance.name) } }
                } }
                (carried(visit, "/incidents"))
                button .primary type="submit" { "Open" }
            }
        }
    }
}
