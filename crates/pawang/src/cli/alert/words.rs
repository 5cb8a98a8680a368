//! Alerts in words, for tables and pages of text.

use pawang_core::alert::{Alert, Condition, Matcher, Mute};
use pawang_core::{Kind, Report, Timestamp};
use pawang_store::state::{AlertQuery, State};

use crate::cli::Global;
use crate::estate::{Estate, told};

/// Alerts of the record that are looked through for the beginning of a fingerprint.
const RECORD_MAX: usize = 10_000;
/// Characters of a fingerprint that tables show; enough to mean only one.
const SHORT: usize = 8;

/// Returns since when an alert is as it is.
pub(in crate::cli) fn since(alert: &Alert) -> Timestamp {
    match &alert.condition {
        Condition::Ok => alert.opened_at,
        Condition::Pending { since, .. }
        | Condition::Firing { since, .. }
        | Condition::Recovering { since, .. }
        | Condition::Unknown { since, .. }
        | Condition::Stale { since, .. } => *since,
        Condition::Resolved { at, .. } => *at,
    }
}

/// Returns what it is about: `dwh-1/sales public.orders`.
pub(in crate::cli) fn subject(alert: &Alert) -> String {
    let finding = &alert.finding;
    let mut place = alert.instance.clone();
    if let Some(database) = &finding.database {
        place = format!("{place}/{database}");
    }
    let object = finding.object.as_str();
    [place.as_str(), object]
        .iter()
        .filter(|part| !part.is_empty())
        .copied()
        .collect::<Vec<_>>()
        .join(" ")
}

/// Returns how it is handled, all of it: `acknowledged by ayu until 2026-11-21T10:00:00Z: new disk comes`.
pub(in crate::cli) fn handling(alert: &Alert) -> Vec<String> {
    let handling = &alert.handling;
    let noted = |note: &str| match note {
        "" => String::new(),
        note => format!(": {note}"),
    };
    let mut lines = Vec::new();
    if let Some(ack) = &handling.acknowledged {
        let until = ack.until.map(|at| format!(" until {at:.0}"));
        lines.push(format!(
            "acknowledged by {}{}{}",
            ack.by,
            until.unwrap_or_default(),
            noted(&ack.note)
        ));
    }
    if let Some(snooze) = &handling.snoozed {
        lines.push(format!(
            "snoozed by {} until {:.0}{}",
            snooze.by,
            snooze.until,
            noted(&snooze.note)
        ));
    }
    lines.extend(handling.mutes.iter().map(mute));
    if let Some(escalation) = &handling.escalation {
        lines.push(format!(
            "step {} of policy \"{}\", since {:.0}",
            escalation.step + 1,
            escalation.policy,
            escalation.started_at
        ));
    }
    lines
}

/// Returns what keeps an alert quiet.
pub(in crate::cli) fn mute(mute: &Mute) -> String {
    match mute {
        Mute::Silenced { silence } => format!("silenced by silence {silence}"),
        Mute::Inhibited { by, rule } => format!("explained by alert {by} ({rule})"),
        Mute::Maintenance { window } => format!("in maintenance window \"{window}\""),
    }
}

/// Returns matchers as people write them.
pub(in crate::cli) fn matchers(matchers: &[Matcher]) -> String {
    if matchers.is_empty() {
        return "everything".to_owned();
    }
    let texts: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    texts.join(" ")
}

/// Reads matchers.
///
/// # Errors
/// One of them cannot be read.
pub(in crate::cli) fn parse(texts: &[String]) -> Result<Vec<Matcher>, Report> {
    let read = |text: &String| {
        pawang_alert::matcher::parse(text).map_err(|wrong| {
            Report::new(Kind::Usage, format!("cannot read matcher \"{text}\""))
                .with_detail(wrong)
                .with_hint("write it such as 'check=disk-space' or 'instance=~\"dwh-.*\"'")
        })
    };
    texts.iter().map(read).collect()
}

/// Refuses instances and groups that `pawang.toml` does not name: what is mistyped would keep nothing quiet.
///
/// # Errors
/// There is no such instance or group.
pub(in crate::cli) fn known(group: Option<&str>, global: &Global) -> Result<(), Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let instances = &estate.config.instances;
    if instances.is_empty() {
        return Ok(());
    }
    estate.named(&global.instances)?;
    let mut groups: Vec<&str> = instances
        .iter()
        .filter_map(|i| i.group.as_deref())
        .collect();
    groups.sort_unstable();
    groups.dedup();
    match group {
        Some(group) if !groups.contains(&group) => {
            let report = Report::new(
                Kind::Usage,
                format!("there is no group \"{}\"", group.escape_debug()),
            );
            let detail = match groups.is_empty() {
                true => "no instance of pawang.toml has one".to_owned(),
                false => format!("pawang.toml names {}", groups.join(", ")),
            };
            Err(report.with_detail(detail).with_hint("pawang estate list"))
        }
        _ => Ok(()),
    }
}

/// Returns the matcher that means the instances of `-i`, with `*`; none when there are none.
pub(in crate::cli) fn instances(names: &[String]) -> Result<Vec<Matcher>, Report> {
    let pattern: Vec<String> = names
        .iter()
        .map(|name| {
            let parts: Vec<String> = name.split('*').map(escaped).collect();
            parts.join(".*")
        })
        .collect();
    match names {
        [] => Ok(Vec::new()),
        [name] if !name.contains('*') => parse(&[format!("instance={name:?}")]),
        _ => parse(&[format!("instance=~{:?}", pattern.join("|"))]),
    }
}

fn escaped(text: &str) -> String {
    let special = |c: char| !(c.is_alphanumeric() || c == '-' || c == '_' || c == ':');
    let escape = |c: char| {
        let slash = if special(c) { "\\" } else { "" };
        format!("{slash}{c}")
    };
    text.chars().map(escape).collect()
}

/// Returns a fingerprint as tables show it.
pub(in crate::cli) fn short(fingerprint: &str) -> &str {
    if crate::output::terminal() {
        fingerprint.get(..SHORT).unwrap_or(fingerprint)
    } else {
        fingerprint
    }
}

/// Returns the alert of a fingerprint, or of a beginning that means only one; one that is over when none goes on.
///
/// # Errors
/// There is none, or several are meant.
pub(in crate::cli) fn find(state: &State, start: &str) -> Result<Alert, Report> {
    let saved = state.saved_alerts().map_err(|error| error.report())?;
    let mut found: Vec<Alert> = saved.alerts.into_iter().map(|(alert, _)| alert).collect();
    found.retain(|alert| alert.fingerprint.starts_with(start));
    if found.is_empty() {
        let query = AlertQuery {
            limit: RECORD_MAX,
            ..AlertQuery::default()
        };
        found = state.alerts(&query).map_err(|error| error.report())?;
        found.retain(|alert| alert.fingerprint.starts_with(start));
        let mut seen = std::collections::BTreeSet::new();
        found.retain(|alert| seen.insert(alert.fingerprint.clone()));
    }
    let word = start.escape_debug();
    let none = || Report::new(Kind::Usage, format!("there is no alert \"{word}\""));
    match found.len() {
        0 => Err(none().with_hint("pawang alert list --all")),
        1 => found.pop().ok_or_else(none),
        several => Err(
            Report::new(Kind::Usage, format!("\"{word}\" means {several} alerts"))
                .with_detail(
                    found
                        .iter()
                        .take(5)
                        .map(|a| a.fingerprint.clone())
                        .collect::<Vec<_>>()
                        .join(", "),
                )
                .with_hint("write more of the fingerprint"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_instances_become_one_matcher() {
        let check = |names: &[&str], expected: &str| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(matchers(&instances(&names).unwrap()), expected);
        };
        check(&[], "everything");
        check(&["dwh-1"], r#"instance="dwh-1""#);
        check(&["dwh-*"], r#"instance=~"dwh-.*""#);
        check(&["a.b", "c"], r#"instance=~"a\\.b|c""#);
    }
}
