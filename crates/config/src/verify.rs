//! Holds the limits of a configuration against the checks that exist.

use std::collections::BTreeMap;

use pawang_core::{Report, Unit};

use crate::alert::{AlertConfig, OWN_CHECKS};
use crate::limits::Settings;
use crate::pattern::{matches, nearest};
use crate::problem::{Draft, Errors, Mistake, Origin};
use crate::quantity::{Quantity, words};
use crate::tree::{CheckConfig, Config, Defaults, Direction};

/// What must be known of a check to judge the limits written for it.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownCheck {
    /// Its kebab-case id.
    pub id: String,
    /// Unit of its value and limits.
    pub unit: Unit,
    /// Which side of the limits is wrong.
    pub direction: Direction,
    /// Its floors, each with its unit.
    pub floors: BTreeMap<String, Unit>,
}

impl Config {
    /// Returns every limit that does not fit the checks that exist, in the order of the file; user checks are added to `known`.
    pub fn verify(&self, known: &[KnownCheck]) -> Vec<Report> {
        let own: Vec<KnownCheck> = self.user_checks.iter().map(|check| check.known()).collect();
        let mut verify = Verify {
            origin: &self.origin,
            known: known.iter().chain(&own).collect(),
            drafts: Vec::new(),
        };
        for (index, check) in self.user_checks.iter().enumerate() {
            if known.iter().any(|known| known.id == check.id) {
                let message = format!("a check \"{}\" exists already", check.id);
                verify.push(
                    &format!("user_check[{index}].id"),
                    message,
                    "expected an id of its own",
                );
            }
        }
        verify.timeouts(&self.defaults);
        for (id, config) in &self.checks {
            verify.entry(id, &format!("check.{id}"), "", &config.settings());
        }
        for (index, entry) in self.overrides.iter().enumerate() {
            let path = format!("override[{index}]");
            verify.entry(&entry.check, &path, ".check", &entry.settings());
        }
        verify.alert_rules(&self.alert);
        self.origin.errors(verify.drafts).reports()
    }

    /// Returns mistakes that others found in it as people see them: with their lines, in the order of the file.
    pub fn errors(&self, mistakes: Vec<Mistake>) -> Errors {
        let drafts = mistakes.into_iter();
        let drafts = drafts.map(|mistake| self.origin.draft(mistake));
        self.origin.errors(drafts.collect())
    }
}

struct Verify<'a> {
    origin: &'a Origin,
    known: Vec<&'a KnownCheck>,
    drafts: Vec<Draft>,
}

impl Verify<'_> {
    fn push(&mut self, path: &str, message: String, expected: impl Into<String>) -> &mut Draft {
        self.drafts
            .push(Draft::new(self.origin.span(path), message, expected));
        self.drafts.last_mut().expect("it was pushed just now")
    }

    /// PostgreSQL counts in milliseconds and takes 0 as "no limit", which is never what somebody means here.
    fn timeouts(&mut self, defaults: &Defaults) {
        for (name, period) in [
            ("connect_timeout", defaults.connect_timeout),
            ("statement_timeout", defaults.statement_timeout),
            ("lock_timeout", defaults.lock_timeout),
        ] {
            if period.0.as_millis() == 0 {
                let message = format!("\"{name}\" would be no limit at all");
                self.push(
                    &format!("defaults.{name}"),
                    message,
                    "expected at least 1 ms",
                );
            }
        }
    }

    /// A rule for a check that does not exist would never count, and `clear` is in the check's unit.
    fn alert_rules(&mut self, alert: &AlertConfig) {
        for (index, rule) in alert.rules.iter().enumerate() {
            let path = format!("alert.rule[{index}]");
            if !OWN_CHECKS.iter().any(|own| matches(&rule.check, own)) {
                let nothing = CheckConfig::default();
                self.entry(&rule.check, &path, ".check", &nothing.settings());
            }
            let checks = self.known.iter();
            let mut checks = checks.filter(|known| matches(&rule.check, &known.id));
            let problem = checks.find_map(|check| value_problem(check, "clear", rule.clear));
            if let Some((message, expected)) = problem {
                self.push(&format!("{path}.clear"), message, expected);
            }
        }
    }

    /// Verifies one `[check.<id>]` or `[[override]]`; `id_key` leads from its path to the id.
    fn entry(&mut self, pattern: &str, path: &str, id_key: &str, settings: &Settings<'_>) {
        let is_pattern = !id_key.is_empty();
        let fits = |known: &&&KnownCheck| {
            if is_pattern {
                matches(pattern, &known.id)
            } else {
                pattern == known.id
            }
        };
        let checks: Vec<&KnownCheck> = self.known.iter().filter(fits).copied().collect();
        if checks.is_empty() {
            let near = nearest(pattern, self.known.iter().map(|known| known.id.as_str()));
            let hint = near.map_or_else(
                || "pawang check list shows every id".to_owned(),
                |near| format!("did you mean \"{near}\"?"),
            );
            let message = if pattern.contains('*') && is_pattern {
                format!("no check matches \"{}\"", pattern.escape_debug())
            } else {
                format!("check \"{}\" does not exist", pattern.escape_debug())
            };
            let expected = "expected the id of a check or of a [[user_check]]";
            self.push(&format!("{path}{id_key}"), message, expected)
                .hint = Some(hint);
            return;
        }
        // A pattern may cover checks with different units: one problem per key is enough.
        let warning = checks
            .iter()
            .find_map(|check| value_problem(check, "warning", settings.warning));
        let critical = checks
            .iter()
            .find_map(|check| value_problem(check, "critical", settings.critical));
        let order = checks
            .iter()
            .find_map(|check| order_problem(check, settings.warning, settings.critical));
        let clean = warning.is_none() && critical.is_none();
        for (key, problem) in [
            ("warning", warning),
            ("critical", critical),
            ("warning", order.filter(|_| clean)),
        ] {
            if let Some((message, expected)) = problem {
                self.push(&format!("{path}.{key}"), message, expected);
            }
        }
        for (name, quantity) in settings.floors {
            self.floor(&checks, &format!("{path}.floors.{name}"), name, *quantity);
        }
    }

    fn floor(&mut self, checks: &[&KnownCheck], path: &str, name: &str, quantity: Quantity) {
        let units: Vec<(&str, Unit)> = checks
            .iter()
            .filter_map(|check| Some((check.id.as_str(), *check.floors.get(name)?)))
            .collect();
        if units.is_empty() {
            let names = checks.iter().flat_map(|check| check.floors.keys());
            let mut names: Vec<&str> = names.map(String::as_str).collect();
            names.sort_unstable();
            names.dedup();
            let hint = nearest(name, names.iter().copied())
                .map(|near| format!("did you mean \"{near}\"?"));
            let expected = match names.as_slice() {
                [] => "expected no floors".to_owned(),
                names => format!("expected one of \"{}\"", names.join("\", \"")),
            };
            let name = name.escape_debug();
            let message = match checks {
                [only] => format!("check \"{}\" has no floor \"{name}\"", only.id),
                _ => format!("none of these checks has a floor \"{name}\""),
            };
            self.push(path, message, expected).hint = hint;
            return;
        }
        let problem = units.iter().find_map(|(check, unit)| {
            unit_problem(check, &format!("floor \"{name}\""), quantity, *unit)
        });
        if let Some((message, expected)) = problem {
            self.push(path, message, expected);
        }
    }
}

/// What is wrong, and what was expected.
pub(crate) type Complaint = (String, String);

/// Returns what is wrong with one limit of a check, taken alone.
pub(crate) fn value_problem(
    check: &KnownCheck,
    key: &str,
    quantity: Option<Quantity>,
) -> Option<Complaint> {
    unit_problem(&check.id, key, quantity?, check.unit)
}

fn unit_problem(check: &str, key: &str, quantity: Quantity, unit: Unit) -> Option<Complaint> {
    let value = match quantity.in_unit(unit) {
        Ok(value) => value?,
        Err(kind) => {
            let message = format!("{key} of check \"{check}\" is {kind}");
            return Some((message, format!("expected {}", words(unit))));
        }
    };
    let highest = if unit == Unit::Percent {
        100.0
    } else {
        f64::INFINITY
    };
    // A signed difference can be measured as a ratio, and days until an expiry can be over.
    let lowest = if matches!(unit, Unit::Ratio | Unit::Days) {
        f64::NEG_INFINITY
    } else {
        0.0
    };
    if (lowest..=highest).contains(&value) {
        return None;
    }
    let expected = if unit == Unit::Percent {
        "expected 0 to 100"
    } else {
        "expected 0 or more"
    };
    let message = format!("{key} {quantity} of check \"{check}\" is out of range");
    Some((message, expected.to_owned()))
}

/// Returns what is wrong with two limits of a check, taken together.
pub(crate) fn order_problem(
    check: &KnownCheck,
    warning: Option<Quantity>,
    critical: Option<Quantity>,
) -> Option<Complaint> {
    let value = |quantity: Option<Quantity>| quantity?.in_unit(check.unit).ok()?;
    let (warning_value, critical_value) = (value(warning)?, value(critical)?);
    let (wrong, words, relation) = match check.direction {
        Direction::Above => (warning_value > critical_value, "above", "at most"),
        Direction::Below => (warning_value < critical_value, "below", "at least"),
    };
    wrong.then(|| {
        let (warning, critical) = (warning?, critical?);
        let message = format!("warning {warning} of check \"{}\" is {words} critical {critical}", check.id);
        let expected = format!(
            "values {words} the limit are wrong for this check, so warning must be {relation} critical"
        );
        Some((message, expected))
    })?
}
