//! Which limits hold for a check at one place of the estate.

use std::collections::BTreeMap;

use pawang_core::{Limits, Unit};

use crate::pattern::matches;
use crate::quantity::Quantity;
use crate::tree::{CheckConfig, Config, InstanceConfig, Override, UserCheck};
use crate::verify::KnownCheck;

/// A place of the estate; what is `None` is not known or does not apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place<'a> {
    /// The instance's group.
    pub group: Option<&'a str>,
    /// The instance's name.
    pub instance: Option<&'a str>,
    /// The database.
    pub database: Option<&'a str>,
    /// The object, as the check names it.
    pub object: Option<&'a str>,
}

/// What holds for a check at one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Whether the check runs.
    pub enabled: bool,
    /// The limits, in the check's unit.
    pub limits: Limits,
}

impl Config {
    /// Returns what holds for a check at a place: its defaults, changed by `[check.<id>]`, then by every override that matches.
    ///
    /// The most particular override wins, key by key: object, database, instance, group, estate; among equals the
    /// later one. Limits that [`Config::verify`] refuses are passed over.
    pub fn limits(&self, check: &KnownCheck, defaults: &Limits, at: Place<'_>) -> Resolved {
        let mut resolved = Resolved {
            enabled: true,
            limits: defaults.clone(),
        };
        if let Some(config) = self.checks.get(&check.id) {
            apply(&mut resolved, check, &config.settings());
        }
        let matching = self
            .overrides
            .iter()
            .filter(|entry| entry.covers(&check.id, at));
        let mut matching: Vec<&Override> = matching.collect();
        matching.sort_by_key(|entry| entry.rank());
        for entry in matching {
            apply(&mut resolved, check, &entry.settings());
        }
        resolved
    }
}

fn apply(resolved: &mut Resolved, check: &KnownCheck, settings: &Settings<'_>) {
    resolved.enabled = settings.enabled.unwrap_or(resolved.enabled);
    set(&mut resolved.limits.warning, settings.warning, check.unit);
    set(&mut resolved.limits.critical, settings.critical, check.unit);
    for (name, quantity) in settings.floors {
        let Some(Ok(value)) = check.floors.get(name).map(|unit| quantity.in_unit(*unit)) else {
            continue;
        };
        // "never" is no floor at all: everything is judged.
        resolved
            .limits
            .floors
            .insert(name.clone(), value.unwrap_or(0.0));
    }
}

fn set(limit: &mut Option<f64>, quantity: Option<Quantity>, unit: Unit) {
    if let Some(Ok(value)) = quantity.map(|quantity| quantity.in_unit(unit)) {
        *limit = value;
    }
}

/// The part that `[check.<id>]` and `[[override]]` share.
pub(crate) struct Settings<'a> {
    pub(crate) enabled: Option<bool>,
    pub(crate) warning: Option<Quantity>,
    pub(crate) critical: Option<Quantity>,
    pub(crate) floors: &'a BTreeMap<String, Quantity>,
}

impl CheckConfig {
    pub(crate) fn settings(&self) -> Settings<'_> {
        Settings {
            enabled: self.enabled,
            warning: self.warning,
            critical: self.critical,
            floors: &self.floors,
        }
    }
}

impl Override {
    pub(crate) fn settings(&self) -> Settings<'_> {
        Settings {
            enabled: self.enabled,
            warning: self.warning,
            critical: self.critical,
            floors: &self.floors,
        }
    }

    /// Returns whether the override speaks about this check at this place.
    pub fn covers(&self, check: &str, at: Place<'_>) -> bool {
        let fits = |pattern: &Option<String>, text: Option<&str>| match pattern {
            Some(pattern) => text.is_some_and(|text| matches(pattern, text)),
            None => true,
        };
        matches(&self.check, check)
            && fits(&self.group, at.group)
            && fits(&self.instance, at.instance)
            && fits(&self.database, at.database)
            && fits(&self.object, at.object)
    }

    /// Returns how particular it is: 0 for the estate to 4 for an object.
    fn rank(&self) -> u8 {
        let selectors = [&self.object, &self.database, &self.instance, &self.group];
        let first = selectors
            .into_iter()
            .zip([4, 3, 2, 1])
            .find(|(pattern, _)| pattern.is_some());
        first.map_or(0, |(_, rank)| rank)
    }
}

impl UserCheck {
    /// Returns the check in the form in which built-in checks are known.
    pub fn known(&self) -> KnownCheck {
        KnownCheck {
            id: self.id.clone(),
            unit: self.unit,
            direction: self.direction,
            floors: BTreeMap::new(),
        }
    }

    /// Returns the limits written with the check itself, in its unit.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        set(&mut limits.warning, self.warning, self.unit);
        set(&mut limits.critical, self.critical, self.unit);
        limits
    }

    /// Returns whether the check runs on an instance of this name.
    pub fn covers(&self, instance: &str) -> bool {
        any_matches(self.instances.as_deref(), instance)
    }
}

impl InstanceConfig {
    /// Returns whether a database of this name is looked into.
    pub fn covers_database(&self, database: &str) -> bool {
        any_matches(self.databases.as_deref(), database)
    }
}

fn any_matches(patterns: Option<&[String]>, name: &str) -> bool {
    patterns.is_none_or(|patterns| patterns.iter().any(|pattern| matches(pattern, name)))
}
