//! Profiles: named selections of checks, as data in `data/profiles.toml`.

use std::collections::BTreeMap;

use pawang_check::{CHECKS, Check};
use pawang_core::{Kind, Report};
use serde::Deserialize;

/// One profile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// What it is for, in one line.
    pub summary: String,
    /// The manual that asks for it.
    pub source: String,
    /// Ids, prefixes with `*`, or `group:<name>`.
    checks: Vec<String>,
}

/// Returns all profiles by name.
pub(crate) fn all() -> BTreeMap<String, Profile> {
    toml::from_str(include_str!("../data/profiles.toml"))
        .unwrap_or_else(|error| unreachable!("profiles.toml: {error}"))
}

/// Returns the checks of a profile, in the catalogue's order.
///
/// # Errors
/// There is no such profile.
pub(crate) fn checks(name: &str) -> Result<Vec<&'static Check<'static>>, Report> {
    let profiles = all();
    let Some(profile) = profiles.get(name) else {
        let names: Vec<&str> = profiles.keys().map(String::as_str).collect();
        let report = Report::new(Kind::Usage, format!("there is no profile \"{name}\""));
        let nearest = pawang_config::nearest(name, names.iter().copied()).unwrap_or("daily");
        return Err(report
            .with_detail(format!("the profiles are {}", names.join(", ")))
            .with_hint(format!("pawang check --profile {nearest}")));
    };
    Ok(CHECKS
        .iter()
        .copied()
        .filter(|check| profile.takes(check))
        .collect())
}

impl Profile {
    /// Returns whether the check belongs to it.
    fn takes(&self, check: &Check<'_>) -> bool {
        self.checks.iter().any(|entry| {
            match (entry.strip_suffix('*'), entry.strip_prefix("group:")) {
                (Some(prefix), _) => check.id.starts_with(prefix),
                (_, Some(group)) => check.group.name() == group,
                _ => check.id == entry,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_of_every_profile_takes_a_check() {
        for (name, profile) in all() {
            for entry in &profile.checks {
                let alone = Profile {
                    checks: vec![entry.clone()],
                    ..profile.clone()
                };
                assert!(
                    CHECKS.iter().any(|check| alone.takes(check)),
                    "{name}: \"{entry}\" takes no check"
                );
            }
        }
    }

    #[test]
    fn the_operations_log_asks_only_for_checks_that_exist() {
        for id in pawang_report::operations_log_checks() {
            assert!(pawang_check::find(id).is_some(), "there is no check {id}");
        }
    }
}
