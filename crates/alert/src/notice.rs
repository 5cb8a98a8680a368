//! An alert in words: what, since when, value against limit with trend, evidence, causes, the command to run.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use pawang_config::AlertConfig;
use pawang_core::alert::{Alert, Condition, HandlingState, MessageKind, Mute, Notice};
use pawang_core::{Level, Timestamp, Unit};

use crate::span::since;
use crate::template::one_line;

/// Tells probable causes of what a check finds, the most probable first.
pub type Causes = fn(&str) -> Vec<String>;

/// Alerts of a message that are told with everything that is known.
pub const WHOLE_MAX: usize = 20;
/// Alerts of a message that are told at all.
pub const NOTICES_MAX: usize = 2_000;
/// Alerts that are named as kept quiet by another one; further ones are counted.
const MUTES_MAX: usize = 20;
/// Longest subject, in characters.
const SUBJECT_MAX: usize = 200;

/// What is told besides the alert itself.
#[derive(Clone, Debug, Default)]
pub struct Besides {
    /// Probable causes.
    pub causes: Vec<String>,
    /// Address of a runbook of the user's own.
    pub runbook: Option<String>,
    /// Alerts that it keeps quiet, in words.
    pub mutes: Vec<String>,
    /// When it was so the last time, and when that was over.
    pub past: Option<(Timestamp, Timestamp)>,
}

/// Returns an alert in words; a short one has no evidence, causes, and history.
pub fn notice(
    alert: &Alert,
    config: &AlertConfig,
    besides: Option<Besides>,
    now: Timestamp,
) -> Notice {
    let finding = &alert.finding;
    let firing = alert.firing().is_some();
    let (level, ended_at) = match &alert.condition {
        Condition::Resolved { level, at, .. } => (*level, Some(*at)),
        condition => (
            condition.firing().unwrap_or(finding.level),
            (!firing).then_some(now),
        ),
    };
    let told = |value: Option<f64>| match finding.unit {
        Unit::State => None,
        unit => value.map(|value| unit.show(value)),
    };
    let mut notice = Notice {
        fingerprint: alert.fingerprint.clone(),
        labels: alert.labels.clone(),
        firing,
        level: Some(level),
        title: finding.title.clone(),
        since: alert.opened_at,
        ended_at,
        value: told(finding.value),
        threshold: told(finding.threshold),
        link: link(config, &format!("/findings/{}", alert.fingerprint)),
        flaps: alert.flaps,
        handling: handling(alert, now),
        ..Notice::default()
    };
    let Some(besides) = besides else {
        return notice;
    };
    notice.trend = trend(alert, now);
    notice.evidence = finding.evidence.clone();
    notice.causes = besides.causes;
    notice.remedy = remedy(alert);
    notice.runbook = besides.runbook;
    notice.last_time = besides.past.map(|(from, to)| last_time(from, to, now));
    let more = besides.mutes.len().saturating_sub(MUTES_MAX);
    notice.mutes = besides.mutes;
    notice.mutes.truncate(MUTES_MAX);
    if more > 0 {
        notice.mutes.push(format!("{more} more"));
    }
    notice
}

/// Returns an address of the dashboard, when people can reach it.
pub fn link(config: &AlertConfig, path: &str) -> Option<String> {
    let base = config.link.as_deref()?;
    Some(format!("{}{path}", base.trim_end_matches('/')))
}

/// Returns the command or statement to run.
fn remedy(alert: &Alert) -> String {
    let finding = &alert.finding;
    if alert.source.is_some() || !finding.remedy.is_empty() {
        return finding.remedy.clone();
    }
    format!("pawang explain {}", finding.check)
}

/// Returns a time as people read it: `02:41 UTC`, with its date when that is not today's.
pub fn clock(at: Timestamp, now: Timestamp) -> String {
    let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
    let format = if day(at) != day(now) {
        "%Y-%m-%d %H:%M UTC"
    } else {
        "%H:%M UTC"
    };
    at.strftime(format).to_string()
}

/// Returns a length of time as people read it.
pub fn length(time: Duration) -> String {
    Unit::Seconds.show(time.as_secs_f64().round())
}

/// Returns how the value moved since the alert was first seen.
fn trend(alert: &Alert, now: Timestamp) -> Option<String> {
    let finding = &alert.finding;
    let (first, value) = (alert.first_value?, finding.value?);
    let (before, after) = (finding.unit.show(first), finding.unit.show(value));
    if finding.unit == Unit::State || before == after || !first.is_finite() || !value.is_finite() {
        return None;
    }
    let direction = if value > first { "up" } else { "down" };
    let begin = clock(alert.opened_at, now);
    Some(format!(
        "{direction} from {before} to {after} since {begin}"
    ))
}

fn last_time(from: Timestamp, to: Timestamp, now: Timestamp) -> String {
    format!("{}, for {}", clock(from, now), length(since(from, to)))
}

/// Returns how an alert is handled, in words; `None` when nobody does anything yet.
pub fn handling(alert: &Alert, now: Timestamp) -> Option<String> {
    let handling = &alert.handling;
    let state = match &alert.condition {
        Condition::Unknown { since, .. } => Some(format!("not seen since {}", clock(*since, now))),
        Condition::Stale { since, .. } => {
            Some(format!("nobody looked since {}", clock(*since, now)))
        }
        Condition::Recovering {
            good_since, until, ..
        } => Some(format!(
            "good since {}, over if it stays so until {}",
            clock(*good_since, now),
            clock(*until, now)
        )),
        _ => None,
    };
    let words = match handling.state() {
        HandlingState::New => None,
        HandlingState::Acknowledged => handling.acknowledged.as_ref().map(|ack| {
            let until = ack
                .until
                .map(|until| format!(" until {}", clock(until, now)));
            let note = Some(&ack.note).filter(|note| !note.is_empty());
            let note = note.map(|note| format!(": {note}"));
            let (until, note) = (until.unwrap_or_default(), note.unwrap_or_default());
            format!("acknowledged by {}{until}{note}", ack.by)
        }),
        HandlingState::Snoozed => handling.snoozed.as_ref().map(|snooze| {
            format!(
                "snoozed by {} until {}",
                snooze.by,
                clock(snooze.until, now)
            )
        }),
        HandlingState::Escalated => handling
            .escalation
            .as_ref()
            .map(|escalation| format!("step {} of \"{}\"", escalation.step + 1, escalation.policy)),
        HandlingState::InMaintenance | HandlingState::Silenced | HandlingState::Inhibited => {
            handling.mutes.first().map(|reason| mute(reason, None))
        }
    };
    match (words, state) {
        (Some(words), Some(state)) => Some(format!("{words}; {state}")),
        (words, state) => words.or(state),
    }
}

/// Returns what keeps an alert quiet, in words; `source` is the name of the alert that explains it, where known.
pub fn mute(mute: &Mute, source: Option<&str>) -> String {
    match mute {
        Mute::Silenced { silence } => format!("silence {silence}"),
        Mute::Inhibited { by, rule } => match source {
            Some(source) => format!("explained by {source} ({rule})"),
            None => format!("explained by alert {by} ({rule})"),
        },
        Mute::Maintenance { window } => format!("maintenance window \"{window}\""),
    }
}

/// Returns the name of an alert: `dwh-1 disk-space`, `dwh-1 table-bloat public.orders`.
pub fn name(alert: &Alert) -> String {
    named(&alert.labels)
}

fn named(labels: &BTreeMap<String, String>) -> String {
    let parts = ["instance", "check", "database", "object"];
    let parts = parts.iter().filter_map(|name| labels.get(*name));
    let mut words: Vec<&str> = parts
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    words.dedup();
    words.join(" ")
}

/// Returns the line that says it all: `[FIRING 3] critical: dwh-1 disk-space: 93 % of /data used (limit 90 %), and 2 more`.
///
/// `notices` are sorted, the worst first.
pub fn subject(kind: MessageKind, notices: &[Notice], firing: usize, resolved: usize) -> String {
    let (word, count) = match (kind, firing) {
        (_, 0) => ("RESOLVED", resolved),
        (MessageKind::Reminder, _) => ("STILL FIRING", firing),
        (MessageKind::Escalation, _) => ("ESCALATED", firing),
        (MessageKind::WindowOver, _) => ("FIRING AFTER MAINTENANCE", firing),
        _ => ("FIRING", firing),
    };
    let number = if count > 1 {
        format!(" {count}")
    } else {
        String::new()
    };
    let Some(first) = notices.first() else {
        return format!("[{word}{number}]");
    };
    let level = first
        .level
        .filter(|_| first.firing)
        .map_or("", Level::as_str);
    let level = if level.is_empty() {
        String::new()
    } else {
        format!("{level}: ")
    };
    let more = if count > 1 {
        format!(", and {} more", count - 1)
    } else {
        String::new()
    };
    let place = first.labels.get("instance").map_or("", String::as_str);
    let check = first.labels.get("check").map_or("", String::as_str);
    let place = if place.is_empty() {
        check.to_owned()
    } else {
        format!("{place} {check}")
    };
    let title: String = first.title.split_whitespace().collect::<Vec<_>>().join(" ");
    // Labels of others may hold anything.
    let place = one_line(&place);
    let head = format!("[{word}{number}] {level}{place}: ");
    let room = SUBJECT_MAX.saturating_sub(head.chars().count() + more.chars().count());
    let title = if title.chars().count() > room {
        let cut: String = title.chars().take(room.saturating_sub(1)).collect();
        format!("{}…", cut.trim_end())
    } else {
        title
    };
    let line = format!("{head}{title}{more}");
    line.chars().take(SUBJECT_MAX).collect()
}

/// Returns the labels that all have with the same value.
pub fn common<'a>(
    mut all: impl Iterator<Item = &'a BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let mut common = all.next().cloned().unwrap_or_default();
    for labels in all {
        common.retain(|name, value| labels.get(name) == Some(value));
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time of the tests")
    }

    #[test]
    fn a_time_of_another_day_is_told_with_its_date() {
        let now = at("2026-11-21T18:50:00Z");
        assert_eq!(clock(at("2026-11-21T23:59:00Z"), now), "23:59 UTC");
        let soon = at("2026-11-22T18:49:59Z");
        assert_eq!(clock(soon, now), "2026-11-22 18:49 UTC");
        let before = at("2026-11-20T23:59:00Z");
        assert_eq!(clock(before, now), "2026-11-20 23:59 UTC");
    }

    #[test]
    fn a_subject_is_one_line_whatever_labels_hold() {
        let labels = [("instance", "a\r\nBcc: b"), ("check", &"x".repeat(5_000))];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let notice = Notice {
            labels: labels.into(),
            firing: true,
            ..Notice::default()
        };
        let subject = subject(MessageKind::Firing, &[notice], 1, 0);
        assert!(!subject.contains(char::is_control), "{subject:?}");
        assert_eq!(subject.chars().count(), SUBJECT_MAX);
    }
}
