//! One incident: the clock, its alerts, what happened in order, notes, the review, and what was alike before.

mod report;

use maud::{Markup, html};
use pawang_alert::incident::{Line, similar, timeline};
use pawang_core::alert::{Alert, EntryKind, Incident, IncidentState};
use pawang_store::state::{AlertQuery, IncidentQuery};

use super::alert::as_finding;
use super::incidents::{clock, places, state};
use super::parts::{
    acknowledge_form, alerts_of, carried, figure, may, meanwhile, rank, urgency, without_secrets,
};
use super::verdict::{Entry, list};
use super::{Page, PageError, Place, Visit};
use crate::words::{command, duration, empty, exact, instant, moment};

pub(crate) use report::{document, markdown};

/// Alerts of an incident that are shown.
const ALERTS_MAX: usize = 200;
/// Lines of a timeline that are shown; the report has them all.
const LINES_MAX: usize = 1_000;
/// Incidents of the past that are compared.
const PAST_MAX: usize = 1_000;
/// Alike ones that are shown.
const ALIKE_MAX: usize = 5;

/// Draws the page.
///
/// # Errors
/// There is no such incident, or the store does not answer.
pub(crate) fn render(visit: &Visit<'_>, id: &str) -> Result<Page, PageError> {
    let incident = find(visit, id)?;
    let store = visit.site.store.state();
    let entries = store.incident_entries(incident.id)?;
    let others = meanwhile(visit.reader, store, &incident, visit.now)?;
    let lines = timeline(&entries, &others);
    let body = html! {
        (headline(visit, &incident))
        (figures(visit, &incident))
        (acknowledge(visit, &incident))
        (alerts(visit, &incident)?)
        @if may(visit) && incident.state != IncidentState::Closed { (forms(visit, &incident)) }
        (course(&lines))
        @if let Some(review) = &incident.review {
            h2 { "Review" }
            p .review { (without_secrets(review)) }
        }
        (alike(visit, &incident)?)
        (contacts(visit))
        h2 { "Report" }
        p .reports {
            a .button href={ "/incidents/" (incident.id) "/report.html" } download { "HTML" } " "
            a .button href={ "/incidents/" (incident.id) "/report.md" } download { "Markdown" }
        }
        (command(&format!("pawang incident report {}", incident.id)))
    };
    Ok(Page {
        title: format!("Incident {}", incident.id),
        place: Place::Incidents,
        instance: None,
        body,
        seen_at: None,
    })
}

/// Returns an incident: as it is now, else as it was when it was closed.
///
/// # Errors
/// There is none, or the store does not answer.
fn find(visit: &Visit<'_>, id: &str) -> Result<Incident, PageError> {
    let missing = || PageError::NotFound {
        what: format!("incident \"{id}\""),
    };
    let number: i64 = id.parse().map_err(|_| missing())?;
    let present = visit.site.live.alerts();
    let open = present
        .incidents
        .iter()
        .find(|incident| incident.id == number);
    match open {
        Some(incident) => Ok(incident.clone()),
        None => {
            let kept = visit.site.store.state().incident(number)?;
            kept.ok_or_else(missing)
        }
    }
}

/// Returns the alerts of an incident, as they are now where that is known.
///
/// # Errors
/// The store does not answer.
fn alerts_with(visit: &Visit<'_>, incident: &Incident) -> Result<Vec<Alert>, PageError> {
    let present = visit.site.live.alerts();
    let known = alerts_of(visit, &present);
    let kept = visit.site.store.state().alerts(&AlertQuery {
        incident: Some(incident.id),
        limit: ALERTS_MAX,
        ..AlertQuery::default()
    })?;
    let find = |fingerprint: &String| {
        let now = known.get(fingerprint.as_str());
        let now = now.map(|alert| Alert::clone(alert));
        let mut before = kept.iter();
        now.or_else(|| {
            let found = before.find(|alert| alert.fingerprint == *fingerprint);
            found.cloned()
        })
    };
    let alerts = incident.alerts.iter().take(ALERTS_MAX);
    Ok(alerts.filter_map(find).collect())
}

fn headline(visit: &Visit<'_>, incident: &Incident) -> Markup {
    html! {
        p .lead { (places(visit, incident)) }
        p .sentence { (urgency(incident.priority)) " " b { (without_secrets(&incident.title)) } }
    }
}

fn figures(visit: &Visit<'_>, incident: &Incident) -> Markup {
    let end = incident.mitigated_at.unwrap_or(visit.now);
    let lasted = end.duration_since(incident.began_at).as_secs_f64().max(0.0);
    html! {
        dl .figures {
            (figure("Response", clock(visit.now, incident), "who responded, against the time that the priority gives"))
            (figure("State", state(visit, incident), "how far it is"))
            (figure("Began", moment(visit.now, incident.began_at), "when the first alert was first seen"))
            (figure("Opened", html! { (moment(visit.now, incident.opened_at)) " " small { "by " (incident.opened_by) } }, "when it became an incident"))
            (figure(if incident.mitigated_at.is_some() { "Lasted" } else { "Lasts" }, html! { (duration(lasted.floor())) }, "from the begin until nothing fired any more"))
        }
    }
}

/// Draws the way to take care of all its alerts at once.
fn acknowledge(visit: &Visit<'_>, incident: &Incident) -> Markup {
    let path = format!("/incidents/{}", incident.id);
    let open = may(visit) && incident.state == IncidentState::Open && !incident.alerts.is_empty();
    html! {
        @if open {
            section #incident data-incident=(incident.id) {
                details #acknowledge .act { summary { "Acknowledge all its alerts" kbd { "a" } }
                    (acknowledge_form(visit, &format!("{path}/acknowledge"), &path)) }
            }
        }
    }
}

fn alerts(visit: &Visit<'_>, incident: &Incident) -> Result<Markup, PageError> {
    let mut alerts = alerts_with(visit, incident)?;
    alerts.sort_by_key(rank);
    let open: Vec<_> = alerts.iter().map(as_finding).collect();
    let entries: Vec<Entry<'_>> = open.iter().map(Entry::One).collect();
    Ok(html! {
        h2 { "Alerts" small { (incident.alerts.len()) } }
        @if entries.is_empty() { p .muted { "None: it was opened by hand." } } @else { (list(visit, &entries, true)) }
    })
}

fn forms(visit: &Visit<'_>, incident: &Incident) -> Markup {
    let path = format!("/incidents/{}", incident.id);
    html! {
        div .acts {
            details #note .act open { summary { "Write a note" }
                form .act method="post" action={ (path) "/notes" } {
                    label .long { span { "What was seen, decided, done" } textarea name="text" rows="2" required maxlength="8000" {} }
                    (carried(visit, &path))
                    button .primary type="submit" { "Add" }
                }
            }
            details #close .act { summary { "Close" }
                form .act method="post" action={ (path) "/close" } {
                    label .long { span { "Review: what it was, and what is done so that it does not happen again" }
                        textarea name="review" rows="5" required maxlength="8000" {} }
                    (carried(visit, &path))
                    button .primary type="submit" { "Close the incident" }
                }
            }
        }
    }
}

/// Draws what happened, the earliest first.
fn course(lines: &[Line]) -> Markup {
    let left_out = lines.len().saturating_sub(LINES_MAX);
    html! {
        h2 { "Timeline" small { (lines.len()) ", times in UTC" } }
        @if lines.is_empty() { (empty("Nothing was written down yet.", None)) }
        @if left_out > 0 { p .muted { (left_out) " earlier lines are in the report." } }
        ol .timeline { @for line in lines.iter().skip(left_out) {
            li .(class(line.kind)) {
                time datetime=(instant(line.at)) title=(exact(line.at)) { (line.at.strftime("%-d %b %H:%M:%S").to_string()) }
                span .kind { (kind(line.kind)) }
                span .what { (without_secrets(&line.text)) @if let Some(by) = &line.by { " " small { (by) } } }
            }
        } }
    }
}

fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Incident => "incident",
        EntryKind::Alert => "alert",
        EntryKind::Handling => "handling",
        EntryKind::Message => "message",
        EntryKind::Action => "action",
        EntryKind::Server => "server",
        EntryKind::Note => "note",
    }
}

fn class(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Note => "note",
        EntryKind::Alert => "alert",
        EntryKind::Incident => "incident",
        _ => "other",
    }
}

/// Returns incidents before one, newest first.
fn past(visit: &Visit<'_>, incident: &Incident) -> Result<Vec<Incident>, PageError> {
    Ok(visit.site.store.state().incidents(&IncidentQuery {
        before: Some(incident.id),
        limit: PAST_MAX,
        ..IncidentQuery::default()
    })?)
}

fn alike(visit: &Visit<'_>, incident: &Incident) -> Result<Markup, PageError> {
    let past = past(visit, incident)?;
    let alike = similar(incident, &past);
    Ok(html! {
        @if !alike.is_empty() {
            h2 { "Alike before" }
            ul .alike { @for other in alike.iter().take(ALIKE_MAX) { li {
                a href={ "/incidents/" (other.id) } { (moment(visit.now, other.opened_at)) " " (without_secrets(&other.title)) }
                @if let Some(review) = &other.review { p .review .muted { (without_secrets(review)) } }
            } } }
        }
    })
}

/// Draws whom one may ask: people of the configuration, without where their messages go.
fn contacts(visit: &Visit<'_>) -> Markup {
    let setup = visit.site.setup.borrow().clone();
    let contacts = &setup.config.contacts;
    html! {
        @if !contacts.is_empty() {
            h2 { "Contacts" }
            div .wide { table {
                thead { tr { th scope="col" { "Name" } th scope="col" { "Role" } th scope="col" { "Phone" } } }
                tbody { @for contact in contacts { tr {
                    td { (contact.name) }
                    td { (contact.role.as_deref().unwrap_or("")) }
                    td { (contact.phone.as_deref().unwrap_or("")) }
                } } }
            } }
        }
    }
}
