//! Alerts in words: how urgent, what is the case, what people do about it; and the forms that change that.

use std::collections::HashMap;
use std::sync::Arc;

use maud::{Markup, html};
use pawang_core::Level;
use pawang_core::alert::{Alert, AlertsPresent, Condition, HandlingState, Mute, Priority};
use pawang_store::state::Permission;

use crate::page::Visit;
use crate::words::{encode, moment};

/// How long an acknowledgement or a mute can be, in forms.
pub(crate) const PERIODS: [(&str, &str); 7] = [
    ("30 min", "30 minutes"),
    ("1 h", "1 hour"),
    ("2 h", "2 hours"),
    ("4 h", "4 hours"),
    ("8 h", "8 hours"),
    ("1 d", "1 day"),
    ("7 d", "7 days"),
];

/// Returns the alerts of the present by their fingerprints; none of a frozen range.
pub(crate) fn alerts_of<'a>(
    visit: &Visit<'_>,
    present: &'a AlertsPresent,
) -> HashMap<&'a str, &'a Arc<Alert>> {
    let alerts = present.alerts.iter().filter(|_| !visit.range.frozen);
    alerts
        .map(|alert| (alert.fingerprint.as_str(), alert))
        .collect()
}

/// Says whether whoever looks may change something: forms are shown to nobody else.
pub(crate) fn may(visit: &Visit<'_>) -> bool {
    let permission = visit.account.map(|account| account.permission);
    visit.csrf.is_some() && permission.is_none_or(|own| own >= Permission::Operator)
}

/// Shows how urgent something is.
pub(crate) fn urgency(priority: Priority) -> Markup {
    let (class, what) = match priority {
        Priority::P1 => ("critical", "database down, data at risk"),
        Priority::P2 => ("warning", "severe degradation"),
        Priority::P3 => ("info", "somebody should act today"),
        Priority::P4 => ("", "worth knowing"),
    };
    html! { span .tag.(class) title=(what) { (priority) } }
}

/// Shows what is the case; nothing where it plainly fires.
pub(crate) fn condition(visit: &Visit<'_>, alert: &Alert) -> Markup {
    let now = visit.now;
    match &alert.condition {
        Condition::Firing { .. } => html! {},
        Condition::Ok => html! { span .tag { "over" } },
        Condition::Pending { since, .. } => html! {
            span .tag title="not for long enough to tell anybody" { "pending since " (moment(now, *since)) }
        },
        Condition::Recovering { until, .. } => html! {
            span .tag.ok title="good again, but it may come back" { "recovering until " (moment(now, *until)) }
        },
        Condition::Resolved { at, .. } => html! { span .tag.ok { "resolved " (moment(now, *at)) } },
        Condition::Unknown { since, .. } => html! {
            span .tag.unknown title="the check cannot see it any more" { "not seen since " (moment(now, *since)) }
        },
        Condition::Stale { since, .. } => html! {
            span .tag.unknown title="nobody has looked for too long" { "stale since " (moment(now, *since)) }
        },
    }
}

/// Shows what people and rules do about it; nothing when nobody does anything.
pub(crate) fn handling(visit: &Visit<'_>, alert: &Alert) -> Markup {
    let (now, handling) = (visit.now, &alert.handling);
    html! {
        @if let Some(care) = &handling.acknowledged {
            span .tag.ok title=(care.note) {
                "acknowledged by " (care.by)
                @if let Some(until) = care.until { " until " (moment(now, until)) }
            } " "
        }
        @if let Some(snooze) = &handling.snoozed {
            span .tag title=(snooze.note) { "snoozed by " (snooze.by) " until " (moment(now, snooze.until)) } " "
        }
        @for mute in &handling.mutes { (quiet(mute)) " " }
        @if let Some(ladder) = handling.escalation.as_ref().filter(|_| handling.state() == HandlingState::Escalated) {
            span .tag.warning title={ "policy " (ladder.policy) } { "escalated, step " (ladder.step + 1) }
        }
    }
}

/// Shows what keeps an alert quiet.
fn quiet(mute: &Mute) -> Markup {
    match mute {
        Mute::Silenced { silence } => html! {
            a .tag href={ "/windows#silence-" (silence) } { "silence " (silence) }
        },
        Mute::Inhibited { by, rule } => html! {
            a .tag href={ "/findings/" (encode(by)) } title=(rule) { "explained by another" }
        },
        Mute::Maintenance { window } => html! {
            a .tag href="/windows" { "in maintenance: " (window) }
        },
    }
}

/// Says whether somebody should still look: it fires, and nothing keeps it quiet.
pub(crate) fn wants_somebody(alert: &Alert) -> bool {
    alert.firing().is_some() && !alert.handling.muted() && alert.handling.acknowledged.is_none()
}

/// Returns what orders alerts of one level: those that want somebody, the most urgent first; then those that somebody
/// takes care of, those that are kept quiet, and those that are over.
pub(crate) fn rank(alert: &Alert) -> (u8, Priority) {
    let pending = matches!(alert.condition, Condition::Pending { .. });
    let handling = &alert.handling;
    let rest = if alert.firing().is_none() && !pending {
        3
    } else if handling.muted() {
        2
    } else {
        u8::from(handling.acknowledged.is_some())
    };
    (rest, alert.priority)
}

/// Counts the alerts that fire critically and are not kept quiet; `None` while alerting does not run.
pub(crate) fn critical(present: &AlertsPresent) -> Option<usize> {
    let fires =
        |alert: &&Arc<Alert>| alert.firing() == Some(Level::Critical) && !alert.handling.muted();
    present
        .running
        .then(|| present.alerts.iter().filter(fires).count())
}

/// The part that all forms share: the secret, where to go afterwards, and who it is where nobody signs in.
pub(crate) fn carried(visit: &Visit<'_>, back: &str) -> Markup {
    html! {
        input type="hidden" name="csrf" value=(visit.csrf.unwrap_or_default());
        input type="hidden" name="back" value=(back);
        @if visit.account.is_none() {
            label { span { "Your name" } input name="by" maxlength="60" autocomplete="username"; }
        }
    }
}

/// A choice of how long.
pub(crate) fn periods(title: &str, chosen: &str) -> Markup {
    html! {
        label { span { (title) } select name="for" required {
            @for (value, name) in PERIODS { option value=(value) selected[value == chosen] { (name) } }
        } }
    }
}

/// The form that acknowledges; `action` is empty where the script fills it in.
pub(crate) fn acknowledge_form(visit: &Visit<'_>, action: &str, back: &str) -> Markup {
    html! {
        form .act method="post" action=(action) {
            (periods("Acknowledge for", "1 h"))
            label .long { span { "What is being done" } input name="note" maxlength="500" autofocus[action.is_empty()]; }
            (carried(visit, back))
            button .primary type="submit" { "Acknowledge" }
        }
    }
}

/// The form that mutes one alert; it always ends.
pub(crate) fn mute_form(visit: &Visit<'_>, action: &str, back: &str) -> Markup {
    html! {
        form .act method="post" action=(action) {
            (periods("Mute for", "2 h"))
            label .long { span { "Why" } input name="reason" required maxlength="500" autofocus[action.is_empty()]; }
            (carried(visit, back))
            button .primary type="submit" { "Mute" }
        }
    }
}

/// The form that is reminded later.
pub(crate) fn snooze_form(visit: &Visit<'_>, action: &str, back: &str) -> Markup {
    html! {
        form .act method="post" action=(action) {
            (periods("Remind me in", "1 h"))
            label .long { span { "Why" } input name="note" maxlength="500"; }
            (carried(visit, back))
            button type="submit" { "Snooze" }
        }
    }
}

/// A form of one button.
pub(crate) fn button(visit: &Visit<'_>, action: &str, back: &str, text: &str) -> Markup {
    html! {
        form .one method="post" action=(action) {
            input type="hidden" name="csrf" value=(visit.csrf.unwrap_or_default());
            input type="hidden" name="back" value=(back);
            @if visit.account.is_none() { input type="hidden" name="by"; }
            button type="submit" { (text) }
        }
    }
}
