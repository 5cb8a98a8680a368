//! Lines of a timeline in words.

use pawang_core::alert::{Alert, AlertEvent, EntryKind, EventKind, MessageKind};

use crate::template::one_line;

/// Returns an alert in one sentence: `critical on dwh-1: 93 % of /data used`.
pub(super) fn sentence(alert: &Alert) -> String {
    let level = alert.firing().unwrap_or(alert.finding.level);
    format!("{level}{}", place_and_title(alert))
}

fn place_and_title(alert: &Alert) -> String {
    let instance = if alert.instance.is_empty() {
        alert.label("instance")
    } else {
        &alert.instance
    };
    let title = one_line(&alert.finding.title);
    if instance.is_empty() || title.starts_with(instance) {
        format!(": {title}")
    } else {
        format!(" on {instance}: {title}")
    }
}

/// Returns what happened to an alert in words; `None` for what is not worth a line.
pub(super) fn happened(alert: &Alert, event: &AlertEvent) -> Option<(EntryKind, String)> {
    use EventKind as Kind;
    let detail = |name: &str| {
        let value = event.detail.get(name).map(|value| one_line(value));
        value.filter(|value| !value.trim().is_empty())
    };
    let with = |text: &str, fact: Option<String>| match fact {
        Some(fact) => format!("{text}{}, {fact}", place_and_title(alert)),
        None => format!("{text}{}", place_and_title(alert)),
    };
    let until = detail("until").map(|until| format!("until {until}"));
    let by = detail("by").map(|by| match by.starts_with("explained by ") {
        true => by,
        false => format!("by {by}"),
    });
    let step = detail("step").map(|step| format!("step {step}"));
    Some(match event.kind {
        Kind::Fired => (EntryKind::Alert, sentence(alert)),
        Kind::Rose => (EntryKind::Alert, format!("worse: {}", sentence(alert))),
        Kind::Fell => (EntryKind::Alert, format!("less bad: {}", sentence(alert))),
        Kind::Returned => (EntryKind::Alert, with("back", None)),
        Kind::Resolved => (EntryKind::Alert, with("over", None)),
        Kind::Lost => (EntryKind::Alert, with("no longer seen", None)),
        Kind::Found => (EntryKind::Alert, with("seen again", None)),
        Kind::Acknowledged => (
            EntryKind::Handling,
            with("acknowledged", detail("note").or(until)),
        ),
        Kind::Unacknowledged => (EntryKind::Handling, with("no longer acknowledged", None)),
        Kind::Snoozed => (EntryKind::Handling, with("snoozed", until)),
        Kind::Woken => (EntryKind::Handling, with("no longer snoozed", None)),
        Kind::Muted => (EntryKind::Handling, with("muted", by)),
        Kind::Unmuted => (EntryKind::Handling, with("no longer muted", None)),
        Kind::Escalated => (EntryKind::Handling, with("escalated", step)),
        Kind::Opened | Kind::Dropped | Kind::Recovering | Kind::Told => return None,
    })
}

/// Returns who was told what; without a kind, who could not be told.
pub(super) fn told(kind: Option<MessageKind>, to: &str, subject: &str) -> String {
    let subject = one_line(subject);
    let Some(kind) = kind else {
        return format!("could not tell {to}, given up: {subject}");
    };
    let what = match kind {
        MessageKind::Firing => "told",
        MessageKind::Resolved => "told the end to",
        MessageKind::Reminder => "reminded",
        MessageKind::Escalation => "escalated to",
        MessageKind::WindowOver => "told after the window",
        MessageKind::Digest => "told in a digest",
        MessageKind::Test => "tested",
    };
    format!("{what} {to}: {subject}")
}
