//! The life of an alert on its finding's page: what is the case, who takes care, what keeps it quiet, who was told.

use maud::{Markup, html};
use pawang_core::Timestamp;
use pawang_core::alert::{Alert, AlertEvent, EventKind, Mute};
use pawang_store::state::EventQuery;

use super::parts::{
    acknowledge_form, button, condition, handling, may, mute_form, shell, snooze_form, urgency,
    wants_somebody, without_secrets,
};
use super::verdict::{Open, address, title, where_of};
use super::{PageError, Visit};
use crate::words::{command, encode, glyph, moment};

/// Lines of the log that are shown.
const EVENTS_MAX: usize = 200;
/// Alerts that it explains that are shown.
const EXPLAINED_MAX: usize = 20;

/// Returns what an alert was made of, as a finding.
pub(super) fn as_finding(alert: &Alert) -> Open {
    Open {
        instance: alert.instance.clone(),
        finding: alert.finding.clone(),
        since: Some(alert.opened_at),
    }
}

/// Draws what is the case and what people do about it, with the forms that change that.
pub(super) fn care(visit: &Visit<'_>, alert: &Alert) -> Markup {
    let path = format!("/findings/{}", encode(&alert.fingerprint));
    html! {
        section #alert data-alert=(alert.fingerprint) {
            p .care {
                (urgency(alert.priority)) " " (condition(visit, alert)) " " (handling(visit, alert))
                @if wants_somebody(alert) { span .tag.critical { "nobody takes care yet" } }
                @if let Some(incident) = alert.incident { " " a .tag href={ "/incidents/" (incident) } { "incident " (incident) } }
                @if let Some(source) = &alert.source { " " span .tag { "sent by " (source) } }
            }
            @if may(visit) { (forms(visit, alert, &path)) }
            (command(&format!("pawang alert ack {}", shell(&alert.fingerprint))))
            (explains(visit, alert))
        }
    }
}

fn forms(visit: &Visit<'_>, alert: &Alert, path: &str) -> Markup {
    let handling = &alert.handling;
    let own = handling
        .mutes
        .iter()
        .any(|mute| matches!(mute, Mute::Silenced { .. }));
    html! {
        div .acts {
            details #acknowledge .act { summary { "Acknowledge" kbd { "a" } }
                (acknowledge_form(visit, &format!("{path}/acknowledge"), path)) }
            details #snooze .act { summary { "Snooze" }
                (snooze_form(visit, &format!("{path}/snooze"), path)) }
            details #mute .act { summary { "Mute" kbd { "m" } }
                (mute_form(visit, &format!("{path}/mute"), path)) }
            @if handling.acknowledged.is_some() {
                (button(visit, &format!("{path}/unacknowledge"), path, "Take back the acknowledgement"))
            }
            @if own || handling.snoozed.is_some() {
                (button(visit, &format!("{path}/unmute"), path, "Unmute"))
            }
        }
    }
}

/// Draws the alerts that this one explains, which are quiet because of it.
fn explains(visit: &Visit<'_>, alert: &Alert) -> Markup {
    let present = visit.site.live.alerts();
    let explained: Vec<_> = present
        .alerts
        .iter()
        .filter(|other| {
            let mut mutes = other.handling.mutes.iter();
            mutes.any(|mute| matches!(mute, Mute::Inhibited { by, .. } if *by == alert.fingerprint))
        })
        .collect();
    html! {
        @if !explained.is_empty() {
            h2 { "Quiet because of it" small { (explained.len()) } }
            ul .findings .across { @for other in explained.iter().take(EXPLAINED_MAX) { li {
                (glyph(other.finding.level))
                span .where { @if other.instance.is_empty() { (where_of(other)) } @else { (other.instance) } }
                a .title href=(visit.link(&address(&other.finding))) { b { (other.finding.check) } " " (title(&other.finding)) }
            } } }
        }
    }
}

/// Draws what happened to an alert, newest first.
///
/// # Errors
/// The store does not answer.
pub(super) fn life(visit: &Visit<'_>, fingerprint: &str) -> Result<Markup, PageError> {
    let events = visit.site.store.state().alert_events(&EventQuery {
        fingerprint: Some(fingerprint),
        limit: EVENTS_MAX,
        ..EventQuery::default()
    })?;
    let told: Vec<&AlertEvent> = events
        .iter()
        .filter(|event| event.kind == EventKind::Told)
        .collect();
    Ok(html! {
        @if !events.is_empty() {
            h2 { "Who was told" small { (told.len()) } }
            @if told.is_empty() { p .muted { "Nobody yet." } } @else { (log(visit, &told)) }
            details #log { summary { h2 { "What happened to the alert" small { (events.len()) } } }
                (log(visit, &events.iter().collect::<Vec<_>>())) }
        }
    })
}

fn log(visit: &Visit<'_>, events: &[&AlertEvent]) -> Markup {
    html! {
        div .wide tabindex="0" role="region" aria-label="Log of the alert" { table {
            thead { tr { th scope="col" { "When" } th scope="col" { "What" } th scope="col" { "Who" } th scope="col" { "Facts" } } }
            tbody { @for event in events { tr {
                td { (moment(visit.now, event.at)) }
                td { (crate::api::event_name(event.kind)) }
                td { (event.by.as_deref().unwrap_or("")) }
                td { @for (index, (fact, value)) in event.detail.iter().enumerate() {
                    @if index > 0 { ", " } span .muted { (fact) " " } (said(visit, value))
                } }
            } } }
        } }
    }
}

/// Shows a fact: an instant as all others of the page, any other text without secrets.
fn said(visit: &Visit<'_>, value: &str) -> Markup {
    match value.parse::<Timestamp>() {
        Ok(at) => moment(visit.now, at),
        Err(_) => html! { (without_secrets(value)) },
    }
}
