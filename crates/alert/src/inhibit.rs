//! Which alerts explain others: the topology that is known, and rules on labels.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use pawang_config::InhibitConfig;
use pawang_core::alert::{Alert, Condition, Mute};
use pawang_core::{Level, Timestamp};
use serde::Deserialize;

use crate::matcher::Matchers;
use crate::setup::Setup;

/// Sources that are remembered of each rule and each value of its labels: one is enough but for circles.
const SOURCES_MAX: usize = 4;

/// A rule: alerts that explain others.
#[derive(Clone, Debug)]
pub struct Inhibit {
    /// Its name, told with whatever it keeps quiet.
    pub name: String,
    /// The alert that explains.
    pub source: Matchers,
    /// The alerts that it explains.
    pub target: Matchers,
    /// Labels that must have the same value on both; one that is missing is the empty text.
    pub equal: Vec<String>,
    /// Whether it leaves alone what is worse than the source.
    pub spares_worse: bool,
}

#[derive(Deserialize)]
struct File {
    inhibit: Vec<InhibitConfig>,
}

static BUILT_IN: LazyLock<Vec<Inhibit>> = LazyLock::new(|| {
    let file: File = toml::from_str(include_str!("../data/inhibit.toml"))
        .expect("the file in the binary is read by a test");
    let read = |texts: &[String]| Matchers::read(texts).expect("so are its matchers");
    let rules = file.inhibit.into_iter();
    let rules = rules.map(|rule| Inhibit {
        source: read(&rule.source),
        target: read(&rule.target),
        name: rule.name,
        equal: rule.equal,
        spares_worse: true,
    });
    rules.collect()
});

/// Returns the rules that are built in, the broadest first.
pub fn built_in() -> Vec<Inhibit> {
    BUILT_IN.clone()
}

/// Returns what explains each alert that is explained, by fingerprint: one reason each, the broadest one.
///
/// A source that is good again explains only what was not seen since: bad news does not wait until good news is sure.
///
/// Sources fire, even when they are muted themselves: whoever silences the fall of a server does not want to hear of all
/// that falls with it instead. There are no circles: an alert never explains itself, and of two that explain each other
/// the broader, then the older one stays.
///
/// As in Alertmanager, an alert that is source and target of one rule is not explained by another such alert.
pub fn inhibited(setup: &Setup, alerts: &[Arc<Alert>]) -> BTreeMap<String, Mute> {
    let scene = Scene::new(&setup.inhibits, alerts);
    let mut targets: Vec<usize> = (0..alerts.len())
        .filter(|index| level(&alerts[*index]).is_some())
        .collect();
    // The narrower and younger first: once they are explained, what they would explain in turn is no circle any more.
    targets.sort_by_cached_key(|index| Reverse((scene.breadth[*index], age(&alerts[*index]))));
    let mut by: Vec<Option<usize>> = vec![None; alerts.len()];
    let mut mutes = BTreeMap::new();
    for target in targets {
        let Some((source, rule)) = scene.reason(target, &by) else {
            continue;
        };
        by[target] = Some(source);
        let mute = Mute::Inhibited {
            by: alerts[source].fingerprint.clone(),
            rule: rule.to_owned(),
        };
        mutes.insert(alerts[target].fingerprint.clone(), mute);
    }
    mutes
}

/// Returns how bad an alert is, unless nothing is the matter.
fn level(alert: &Alert) -> Option<Level> {
    match &alert.condition {
        Condition::Pending { level, .. } => Some(*level),
        _ => alert.firing(),
    }
}

/// Returns what orders alerts by age, the oldest first.
fn age(alert: &Alert) -> (Timestamp, &str) {
    (alert.opened_at, &alert.fingerprint)
}

/// Says whether an alert may explain others.
fn is_source(alert: &Alert) -> bool {
    alert.firing().is_some()
}

/// Says whether the target was seen to be bad after the source was seen to be good again.
fn outlives(target: &Alert, source: &Alert) -> bool {
    let good_since = source.condition.good_since();
    good_since.is_some_and(|good_since| target.seen_at > good_since)
        && target.condition.good_since().is_none()
}

/// Returns a label as rules compare it: an alert of Pawang itself names the instance that it is about as its object.
fn value<'a>(alert: &'a Alert, label: &str) -> &'a str {
    match alert.label(label) {
        "" if label == "instance" && alert.label("check") == "monitor-stale" => {
            &alert.finding.object
        }
        value => value,
    }
}

/// The rules that alerts of one check can have to do with, by their places.
struct Relevant {
    as_source: Vec<usize>,
    as_target: Vec<usize>,
}

/// The sources of one rule that have the same values of its labels, the worst and broadest first.
#[derive(Default)]
struct Pool {
    all: Vec<usize>,
    /// Those that are no target of the rule themselves.
    one_sided: Vec<usize>,
}

/// The whole of an instance, or of a database in it, as one check sees it.
type Whole<'a> = (&'a str, &'a str, Option<&'a str>);

struct Scene<'a> {
    rules: &'a [Inhibit],
    alerts: &'a [Arc<Alert>],
    relevant: HashMap<&'a str, Relevant>,
    /// The place of the broadest rule that each alert is a source of.
    breadth: Vec<usize>,
    pools: Vec<HashMap<Vec<&'a str>, Pool>>,
    wholes: HashMap<Whole<'a>, usize>,
}

impl<'a> Scene<'a> {
    fn new(rules: &'a [Inhibit], alerts: &'a [Arc<Alert>]) -> Scene<'a> {
        let mut scene = Scene {
            rules,
            alerts,
            relevant: HashMap::new(),
            breadth: vec![usize::MAX; alerts.len()],
            pools: rules.iter().map(|_| HashMap::new()).collect(),
            wholes: HashMap::new(),
        };
        for alert in alerts {
            let check = alert.label("check");
            scene
                .relevant
                .entry(check)
                .or_insert_with(|| Relevant::new(rules, check));
        }
        for (index, alert) in alerts.iter().enumerate() {
            if is_source(alert) {
                scene.add(index);
            }
        }
        for pool in scene.pools.iter_mut().flat_map(HashMap::values_mut) {
            for sources in [&mut pool.all, &mut pool.one_sided] {
                let order = |index: &usize| {
                    let alert = &alerts[*index];
                    let good = alert.condition.good_since().is_some();
                    (
                        good,
                        Reverse(level(alert)),
                        scene.breadth[*index],
                        age(alert),
                    )
                };
                sources.sort_by_key(order);
                sources.truncate(SOURCES_MAX);
            }
        }
        scene
    }

    /// Adds a source to the pools of its rules.
    fn add(&mut self, index: usize) {
        let alert = &self.alerts[index];
        for rule in &self.relevant[alert.label("check")].as_source {
            let inhibit = &self.rules[*rule];
            if !inhibit.source.hold(&alert.labels) {
                continue;
            }
            self.breadth[index] = self.breadth[index].min(*rule);
            let pool = self.pools[*rule].entry(key(inhibit, alert)).or_default();
            pool.all.push(index);
            if !inhibit.target.hold(&alert.labels) {
                pool.one_sided.push(index);
            }
        }
        let finding = &alert.finding;
        if finding.object.is_empty() && !alert.instance.is_empty() {
            let whole = (
                alert.label("check"),
                alert.instance.as_str(),
                finding.database.as_deref(),
            );
            self.wholes.insert(whole, index);
        }
    }

    /// Returns what explains an alert, and the rule's name.
    fn reason(&self, target: usize, by: &[Option<usize>]) -> Option<(usize, &'a str)> {
        let alert = &self.alerts[target];
        for rule in &self.relevant[alert.label("check")].as_target {
            let inhibit = &self.rules[*rule];
            if self.pools[*rule].is_empty() || !inhibit.target.hold(&alert.labels) {
                continue;
            }
            let Some(pool) = self.pools[*rule].get(&key(inhibit, alert)) else {
                continue;
            };
            let sources = if inhibit.source.hold(&alert.labels) {
                &pool.one_sided
            } else {
                &pool.all
            };
            let fits = |source: &&usize| {
                let spared = inhibit.spares_worse && self.is_worse(target, **source)
                    || outlives(alert, &self.alerts[**source]);
                !spared && !leads_to(**source, target, by)
            };
            if let Some(source) = sources.iter().find(fits) {
                return Some((*source, &inhibit.name));
            }
        }
        self.whole_of(target, by)
    }

    /// Returns the alert of the same check about the whole that the object is a part of.
    fn whole_of(&self, target: usize, by: &[Option<usize>]) -> Option<(usize, &'a str)> {
        let alert = &self.alerts[target];
        let (check, instance) = (alert.label("check"), alert.instance.as_str());
        let database = alert.finding.database.as_deref();
        let wholes = [
            ((check, instance, None), "topology: instance"),
            ((check, instance, database), "topology: database"),
        ];
        wholes.into_iter().find_map(|(whole, rule)| {
            let source = *self.wholes.get(&whole)?;
            let fits = !self.is_worse(target, source)
                && !outlives(alert, &self.alerts[source])
                && !leads_to(source, target, by);
            fits.then_some((source, rule))
        })
    }

    fn is_worse(&self, one: usize, other: usize) -> bool {
        level(&self.alerts[one]) > level(&self.alerts[other])
    }
}

impl Relevant {
    fn new(rules: &[Inhibit], check: &str) -> Relevant {
        let those = |side: fn(&Inhibit) -> &Matchers| {
            let places = 0..rules.len();
            let may_hold = |rule: &usize| side(&rules[*rule]).hold_for("check", check);
            places.filter(may_hold).collect()
        };
        Relevant {
            as_source: those(|rule| &rule.source),
            as_target: those(|rule| &rule.target),
        }
    }
}

/// Returns the values that must be the same on both.
fn key<'a>(inhibit: &Inhibit, alert: &'a Alert) -> Vec<&'a str> {
    inhibit
        .equal
        .iter()
        .map(|label| value(alert, label))
        .collect()
}

/// Says whether an alert is another one, or is explained by it over any number of steps.
fn leads_to(from: usize, to: usize, by: &[Option<usize>]) -> bool {
    let mut at = Some(from);
    while let Some(index) = at {
        if index == to {
            return true;
        }
        at = by[index];
    }
    false
}

#[cfg(test)]
mod tests;
