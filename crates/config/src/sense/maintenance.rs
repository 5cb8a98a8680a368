//! The same for `[maintenance]`: windows that nobody can read, names that lead nowhere, retention the wrong way round.

use std::time::Duration;

use super::Note;
use crate::maintenance::{HighRisk, MaintenanceRule, PartitionsConfig};
use crate::pattern::{matches, nearest};
use crate::problem::{Draft, Mistake};
use crate::schedule::Schedule;
use crate::tree::Config;

/// A younger log, segment or temporary file may still be in use, whatever else is known of it.
const FILE_AGE_MIN: Duration = Duration::from_secs(3600);

/// Returns the contradictions of `[maintenance]`.
pub(super) fn problems(config: &Config) -> Vec<Draft> {
    let mistakes = mistakes(config).into_iter();
    mistakes
        .map(|mistake| config.origin.draft(mistake))
        .collect()
}

fn mistakes(config: &Config) -> Vec<Mistake> {
    let maintenance = &config.maintenance;
    let mut found = Vec::new();
    for (name, policy) in &maintenance.policies {
        let path = format!("maintenance.policy.{name}");
        if let Some(Err(problem)) = policy.window.as_deref().map(Schedule::parse) {
            let message = format!(
                "the window of policy \"{}\" cannot be read: {problem}",
                name.escape_debug()
            );
            found.push(Mistake::new(format!("{path}.window"), message, ""));
        }
        if policy.areas.as_ref().is_some_and(Vec::is_empty) {
            let message = "the policy looks after nothing";
            let expected = "expected at least one area, or no \"areas\" for the usual ones";
            found.push(Mistake::new(format!("{path}.areas"), message, expected));
        }
        let budget = policy.budget;
        if budget.duration.is_some_and(|duration| duration.0.is_zero()) {
            let expected = "expected a duration such as \"180 min\"";
            found.push(Mistake::new(
                format!("{path}.budget.duration"),
                "nothing fits into it",
                expected,
            ));
        }
        found.extend(retention(&format!("{path}.partitions"), policy.partitions));
        for (key, period) in [
            ("logs_after", policy.cleanup.logs_after),
            ("archive_after", policy.cleanup.archive_after),
            ("temporary_after", policy.cleanup.temporary_after),
        ] {
            if period.is_some_and(|period| period.0 < FILE_AGE_MIN) {
                let message = format!("\"{key}\" is shorter than an hour");
                let expected = "expected at least \"1 h\": a younger file may be in use";
                found.push(Mistake::new(
                    format!("{path}.cleanup.{key}"),
                    message,
                    expected,
                ));
            }
        }
    }
    let names: Vec<&str> = maintenance.policies.keys().map(String::as_str).collect();
    for (index, rule) in maintenance.rules.iter().enumerate() {
        let path = format!("maintenance.rule[{index}]");
        found.extend(strangers(&path, rule, &names));
        found.extend(retention(&format!("{path}.partitions"), rule.partitions));
    }
    found
}

fn strangers(path: &str, rule: &MaintenanceRule, names: &[&str]) -> Vec<Mistake> {
    let wanted = rule.policies.iter().flatten().enumerate();
    let strangers = wanted.filter(|(_, name)| !names.contains(&name.as_str()));
    let mistakes = strangers.map(|(index, name)| Mistake {
        hint: nearest(name, names.iter().copied()).map(|near| format!("did you mean \"{near}\"?")),
        ..Mistake::new(
            format!("{path}.policies[{index}]"),
            format!("there is no policy \"{}\"", name.escape_debug()),
            match names {
                [] => "expected the name of a policy; there is none".to_owned(),
                names => format!("expected one of \"{}\"", names.join("\", \"")),
            },
        )
    });
    mistakes.collect()
}

fn retention(path: &str, partitions: PartitionsConfig) -> Option<Mistake> {
    let (keep, drop_after) = (partitions.keep?, partitions.drop_after?);
    let message = "\"drop_after\" is shorter than \"keep\"";
    let expected = "expected at least as long: a partition is taken out first and dropped later";
    (drop_after < keep).then(|| Mistake::new(format!("{path}.drop_after"), message, expected))
}

/// Returns things to know about `[maintenance]` that are no errors.
pub(super) fn warnings(config: &Config) -> impl Iterator<Item = Note> {
    let policies = config.maintenance.policies.iter();
    policies.flat_map(|(name, policy)| {
        let path = format!("maintenance.policy.{name}");
        let instances = config
            .instances
            .iter()
            .map(|instance| instance.name.as_str());
        let idle = policy
            .instances
            .iter()
            .flatten()
            .enumerate()
            .filter(|(_, pattern)| {
                !config.instances.is_empty()
                    && !instances.clone().any(|name| matches(pattern, name))
            });
        let mut notes: Vec<Note> = idle
            .map(|(index, pattern)| {
                let text = format!("no instance matches \"{}\"", pattern.escape_debug());
                (format!("{path}.instances[{index}]"), text)
            })
            .collect();
        let mut not_allowed = |key: &str, set: bool, needed: HighRisk| {
            if set && !policy.allow.contains(&needed) {
                let text = format!(
                    "the policy only ever proposes it: \"{}\" is not in \"allow\"",
                    needed.name()
                );
                notes.push((format!("{path}.{key}"), text));
            }
        };
        let cleanup = &policy.cleanup;
        not_allowed(
            "partitions.drop_after",
            policy.partitions.drop_after.is_some(),
            HighRisk::DropTable,
        );
        not_allowed(
            "cleanup.logs_after",
            cleanup.logs_after.is_some(),
            HighRisk::DeleteFile,
        );
        not_allowed(
            "cleanup.archive_after",
            cleanup.archive_after.is_some(),
            HighRisk::DeleteFile,
        );
        not_allowed(
            "cleanup.temporary_after",
            cleanup.temporary_after.is_some(),
            HighRisk::DeleteFile,
        );
        if cleanup.archive_after.is_some() && cleanup.archive_directory.is_none() {
            let text = "nothing is deleted: \"archive_directory\" is not set".to_owned();
            notes.push((format!("{path}.cleanup.archive_after"), text));
        }
        notes
    })
}
