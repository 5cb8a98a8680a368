//! What is told together and when: Alertmanager's grouping, per recipient, with ladders.
//!
//! A group is made by the first alert that may be told, looked at `group_wait` later, and then every `group_interval` as
//! long as something of it fires or has to be told. What was told is kept per recipient, and only the end of an alert
//! takes it out of there: whoever heard of the begin hears of the end.

pub mod ladder;

use std::collections::BTreeMap;
use std::time::Duration;

use pawang_core::alert::{Group, MessageKind, Told};
use pawang_core::{Level, Timestamp};

use crate::route::Route;
use crate::span::later;

/// Repeats of what comes and goes all the time come no more often than this.
const FLAPPING_REPEAT: Duration = Duration::from_secs(86_400);

/// Returns the values of the labels by which a route's alerts are told together.
pub fn labels_of(route: &Route, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    route
        .group_by
        .iter()
        .map(|name| (name.clone(), labels.get(name).cloned().unwrap_or_default()))
        .collect()
}

/// Returns the identity of a group: `dba {instance="dwh-1"}`.
pub fn key(route: &Route, labels: &BTreeMap<String, String>) -> String {
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    format!("{} {{{}}}", route.name, labels.join(", "))
}

/// Returns a new group that is looked at after `group_wait`.
pub fn begin(route: &Route, labels: BTreeMap<String, String>, now: Timestamp) -> Group {
    Group {
        key: key(route, &labels),
        route: route.name.clone(),
        labels,
        created_at: now,
        next_at: later(now, route.group_wait),
        flushed: false,
        sequence: 0,
        told: BTreeMap::new(),
    }
}

/// What there is to tell to one recipient.
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet {
    /// Alerts that fire and may be told, with their levels.
    pub open: BTreeMap<String, Level>,
    /// Alerts that the recipient believes to fire and that are over.
    pub over: Vec<String>,
    /// Why something must be told though it is no news.
    pub again: Option<MessageKind>,
    /// Whether all that is open comes and goes all the time; so it is when nothing is open.
    pub flapping: bool,
}

impl Default for Sheet {
    fn default() -> Sheet {
        Sheet {
            open: BTreeMap::new(),
            over: Vec::new(),
            again: None,
            flapping: true,
        }
    }
}

/// Returns why a recipient must be told something now, if so: Alertmanager's rule, and besides a level that changed.
pub fn reason(
    told: Option<&Told>,
    sheet: &Sheet,
    repeat: Duration,
    now: Timestamp,
) -> Option<MessageKind> {
    let none = BTreeMap::new();
    let known = told.map_or(&none, |told| &told.firing);
    let news = sheet
        .open
        .iter()
        .any(|(fingerprint, level)| known.get(fingerprint) != Some(level));
    if !sheet.open.is_empty() && sheet.again.is_some() {
        return sheet.again;
    }
    if news {
        return Some(MessageKind::Firing);
    }
    if !sheet.over.is_empty() {
        let all = known.len() == sheet.over.len();
        return Some(if all {
            MessageKind::Resolved
        } else {
            MessageKind::Firing
        });
    }
    let repeat = if sheet.flapping {
        repeat.max(FLAPPING_REPEAT)
    } else {
        repeat
    };
    let due = told.is_some_and(|told| later(told.at, repeat) <= now);
    (due && !sheet.open.is_empty()).then_some(MessageKind::Reminder)
}

/// Returns what a recipient knows after a message.
pub fn know(told: Option<&Told>, sheet: &Sheet, now: Timestamp) -> Told {
    let mut known = told.cloned().unwrap_or_default();
    known.at = now;
    for fingerprint in &sheet.over {
        known.firing.remove(fingerprint);
    }
    known.firing.extend(
        sheet
            .open
            .iter()
            .map(|(name, level)| (name.clone(), *level)),
    );
    known.resolved = sheet.over.clone();
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time of the tests is a time")
    }

    fn told(firing: &[(&str, Level)]) -> Told {
        Told {
            at: at(0),
            firing: firing.iter().map(|(n, l)| ((*n).to_owned(), *l)).collect(),
            ..Told::default()
        }
    }

    fn sheet(open: &[(&str, Level)], over: &[&str]) -> Sheet {
        Sheet {
            open: open.iter().map(|(n, l)| ((*n).to_owned(), *l)).collect(),
            over: over.iter().map(|&name| name.to_owned()).collect(),
            again: None,
            flapping: false,
        }
    }

    #[test]
    fn a_recipient_is_told_what_alertmanager_tells() {
        use Level::{Critical, Warning};
        use MessageKind::{Firing, Reminder, Resolved};
        let hour = Duration::from_secs(3_600);
        let check = |told: Option<Told>, sheet: Sheet, second, expected: Option<MessageKind>| {
            assert_eq!(
                reason(told.as_ref(), &sheet, hour, at(second)),
                expected,
                "{told:?} {sheet:?}"
            );
        };
        check(None, sheet(&[], &[]), 1, None);
        check(None, sheet(&[("a", Warning)], &[]), 1, Some(Firing));
        let one = || Some(told(&[("a", Warning)]));
        check(one(), sheet(&[("a", Warning)], &[]), 1, None);
        check(one(), sheet(&[("a", Critical)], &[]), 1, Some(Firing));
        check(
            one(),
            sheet(&[("a", Warning), ("b", Warning)], &[]),
            1,
            Some(Firing),
        );
        check(one(), sheet(&[], &["a"]), 1, Some(Resolved));
        check(one(), sheet(&[], &[]), 9_999, None);
        check(one(), sheet(&[("a", Warning)], &[]), 3_599, None);
        check(one(), sheet(&[("a", Warning)], &[]), 3_600, Some(Reminder));
        let two = || Some(told(&[("a", Warning), ("b", Warning)]));
        check(two(), sheet(&[("b", Warning)], &["a"]), 1, Some(Firing));
        check(two(), sheet(&[("b", Warning)], &[]), 1, None);
        let mut flapping = sheet(&[("a", Warning)], &[]);
        flapping.flapping = true;
        check(one(), flapping.clone(), 3_600, None);
        check(one(), flapping, 86_400, Some(Reminder));
    }

    #[test]
    fn only_the_end_of_an_alert_makes_a_recipient_forget_it() {
        let before = told(&[("a", Level::Warning), ("b", Level::Critical)]);
        let after = know(
            Some(&before),
            &sheet(&[("c", Level::Warning)], &["a"]),
            at(9),
        );
        let names: Vec<&str> = after.firing.keys().map(String::as_str).collect();
        assert_eq!(names, ["b", "c"]);
        assert_eq!(after.resolved, ["a"]);
    }
}
