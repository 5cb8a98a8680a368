//! All rules: those built in, then those of the configuration.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use pawang_config::{NoData, RuleConfig, matches};
use pawang_core::Level;
use serde::Deserialize;

use super::read::{self, RuleMistake};
use super::{Class, Rule};

const DATA: &str = include_str!("../../data/rules.toml");

pub use pawang_config::OWN_CHECKS;

/// The rules of the checks that Pawang brings along, by id.
static BUILT_IN: LazyLock<Arc<HashMap<String, Rule>>> =
    LazyLock::new(|| Arc::new(built_in(DATA).expect("the tests read data/rules.toml")));

/// All rules: those built in, then those of the configuration.
#[derive(Clone, Debug)]
pub struct RuleSet {
    /// What holds for every object, by check: the built-in rules and what the configuration says of whole checks.
    whole: Arc<HashMap<String, Rule>>,
    /// The rules of the configuration, and whether each is already in `whole`.
    rules: Arc<[RuleConfig]>,
    /// The rules of the configuration that are left to ask, by check; those of checks that are not here are all left.
    left: Arc<HashMap<String, Vec<usize>>>,
}

impl Default for RuleSet {
    fn default() -> RuleSet {
        RuleSet {
            whole: Arc::clone(&BUILT_IN),
            rules: Arc::default(),
            left: Arc::default(),
        }
    }
}

impl RuleSet {
    /// Lays the rules of the configuration over those built in; later ones win, key by key.
    ///
    /// # Errors
    /// Every mistake.
    pub fn new(rules: &[RuleConfig]) -> Result<RuleSet, Vec<RuleMistake>> {
        let mistakes: Vec<RuleMistake> = rules
            .iter()
            .enumerate()
            .flat_map(|(index, rule)| read::mistakes(index, rule))
            .collect();
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        if rules.is_empty() {
            return Ok(RuleSet::default());
        }
        let mut whole = HashMap::clone(&BUILT_IN);
        let mut left = HashMap::new();
        for (check, rule) in &mut whole {
            let mut indexes = (0..rules.len())
                .filter(|index| matches(&rules[*index].check, check))
                .peekable();
            // Up to the first rule that asks for the object, all of them hold for the whole check.
            while let Some(index) = indexes.next_if(|index| everywhere(&rules[*index])) {
                read::lay(rule, &rules[index]);
            }
            let rest: Vec<usize> = indexes.collect();
            if !rest.is_empty() {
                left.insert(check.clone(), rest);
            }
        }
        Ok(RuleSet {
            whole: Arc::new(whole),
            rules: rules.into(),
            left: Arc::new(left),
        })
    }

    /// Returns the rule for one object.
    pub fn rule(&self, check: &str, group: Option<&str>, instance: &str, object: &str) -> Rule {
        let known = self.whole.get(check);
        let mut rule = known.cloned().unwrap_or_else(base);
        let mut ask = |config: &RuleConfig| {
            let holds = |pattern: &Option<String>, text: &str| {
                pattern
                    .as_ref()
                    .is_none_or(|pattern| matches(pattern, text))
            };
            if holds(&config.group, group.unwrap_or_default())
                && holds(&config.instance, instance)
                && holds(&config.object, object)
            {
                read::lay(&mut rule, config);
            }
        };
        if known.is_some() {
            let left = self.left.get(check).map_or(&[][..], Vec::as_slice);
            left.iter().for_each(|index| ask(&self.rules[*index]));
        } else {
            self.rules
                .iter()
                .filter(|rule| matches(&rule.check, check))
                .for_each(ask);
        }
        rule
    }

    /// Returns the checks that have a rule of their own, in order.
    pub fn checks(&self) -> Vec<&str> {
        let mut checks: Vec<&str> = self.whole.keys().map(String::as_str).collect();
        checks.sort_unstable();
        checks
    }
}

/// Says whether a rule holds for every object of its checks.
fn everywhere(rule: &RuleConfig) -> bool {
    rule.group.is_none() && rule.instance.is_none() && rule.object.is_none()
}

/// The rule of a check that nobody has said anything about: one that users wrote themselves.
fn base() -> Rule {
    Rule {
        enabled: true,
        level: Level::Warning,
        lasts: Duration::from_secs(5 * 60),
        lasts_critical: Duration::from_secs(60),
        samples: (1, 1),
        keep_firing: Duration::from_secs(5 * 60),
        clear: None,
        clear_margin_percent: 0.0,
        no_data: NoData::Keep,
        priority: None,
        deviations: None,
        expected_in_batch: false,
        class: Class::Degraded,
        runbook: None,
    }
}

/// One `[[rule]]` of the built-in file: the class of checks and whatever keys of `[[alert.rule]]` differ from the base.
#[derive(Deserialize)]
struct BuiltIn {
    class: String,
    checks: Vec<String>,
    #[serde(flatten)]
    set: toml::Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: Vec<BuiltIn>,
}

fn built_in(text: &str) -> Result<HashMap<String, Rule>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut rules = HashMap::new();
    for BuiltIn {
        class,
        checks,
        mut set,
    } in file.rule
    {
        let class = Class::ALL
            .into_iter()
            .find(|known| known.as_str() == class)
            .ok_or_else(|| format!("\"{class}\" is no class"))?;
        set.insert("check".to_owned(), toml::Value::String("*".to_owned()));
        let config: RuleConfig = set.try_into().map_err(|error| error.to_string())?;
        if let Some((_, key, message, _)) = read::mistakes(0, &config).pop() {
            return Err(format!("{key}: {message}"));
        }
        for check in checks {
            let mut rule = Rule { class, ..base() };
            read::lay(&mut rule, &config);
            if rules.insert(check.clone(), rule).is_some() {
                return Err(format!("\"{check}\" has two rules"));
            }
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_file_reads_and_names_what_is_wrong() {
        let rules = built_in(DATA).expect("it reads");
        for check in OWN_CHECKS {
            assert!(rules.contains_key(check), "{check}");
        }
        for (text, expected) in [
            ("[[rule]]\nclass = \"bad\"\nchecks = []", "is no class"),
            (
                "[[rule]]\nclass = \"load\"\nchecks = [\"a\", \"a\"]",
                "two rules",
            ),
            (
                "[[rule]]\nclass = \"load\"\nchecks = []\nfro = \"1 min\"",
                "fro",
            ),
            (
                "[[rule]]\nclass = \"load\"\nchecks = []\nsamples = \"5 of 3\"",
                "samples",
            ),
        ] {
            let error = built_in(text).expect_err(text);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_warning_never_has_to_last_less_than_what_is_worse() {
        for (check, rule) in built_in(DATA).expect("it reads") {
            assert!(rule.lasts_critical <= rule.lasts, "{check}");
            assert!(rule.keep_firing >= Duration::from_secs(60), "{check}");
        }
    }
}
