//! From an evaluation to what was seen of each alert.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pawang_config::NoData;
use pawang_core::alert::{Alert, Condition, Handling, Priority};
use pawang_core::{Blind, Evaluation, Finding, Level, Outcome, Timestamp, Verdict};

use super::own::Watched;
use super::{Book, Subject};
use crate::condition::Seen;
use crate::rule::Rule;

/// What a verdict says of alerts that it does not name.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Absent {
    /// They were looked for and not found.
    Over,
    /// They could not be seen.
    Blind,
    /// Those of databases in which the check was not blind are over.
    ByDatabase,
    /// Nothing: there were more than are told, or a second sample is needed.
    Nothing,
}

impl Book {
    /// Takes the verdicts about an instance.
    pub(super) fn judged(
        &mut self,
        evaluation: &Evaluation,
        asked: Option<&BTreeSet<String>>,
        subject: &Subject,
        now: Timestamp,
    ) {
        let name = &evaluation.instance.name;
        let watched = self
            .instances
            .entry(name.clone())
            .or_insert_with(|| Watched::new(now));
        watched.judged(evaluation, asked, now);
        let anew = |check: &str| asked.is_none_or(|asked| asked.contains(check));
        for verdict in evaluation
            .verdicts
            .iter()
            .filter(|verdict| anew(&verdict.check))
        {
            self.verdict(verdict, evaluation, subject, now);
        }
        let verdicts: BTreeSet<&str> = evaluation
            .verdicts
            .iter()
            .map(|verdict| verdict.check.as_str())
            .collect();
        let checks = self.places.get(name).into_iter().flatten();
        let others: Vec<String> = checks
            .filter(|(check, _)| !verdicts.contains(check.as_str()))
            .flat_map(|(_, fingerprints)| fingerprints.iter().cloned())
            .collect();
        let seen = if evaluation.server.is_some() {
            Seen::Gone
        } else {
            Seen::Blind
        };
        for fingerprint in others {
            self.see(&fingerprint, seen, None, now);
        }
    }

    /// Takes that an instance is no longer looked after.
    pub(super) fn gone(&mut self, instance: &str, now: Timestamp) {
        self.instances.remove(instance);
        let checks = self.places.get(instance).into_iter().flatten();
        let all: Vec<String> = checks
            .flat_map(|(_, names)| names.iter().cloned())
            .collect();
        for fingerprint in all {
            self.see(&fingerprint, Seen::Gone, None, now);
        }
        self.watch_ends(instance, now);
    }

    /// Takes what one check says.
    fn verdict(
        &mut self,
        verdict: &Verdict,
        evaluation: &Evaluation,
        subject: &Subject,
        now: Timestamp,
    ) {
        let mut found = BTreeSet::new();
        for finding in &verdict.findings {
            if let Some(Blind::Unreachable { .. } | Blind::FirstSample | Blind::Reset { .. }) =
                finding.blind
            {
                continue;
            }
            if !found.insert(finding.fingerprint.as_str()) {
                continue;
            }
            self.finding(finding, subject, evaluation.at, now);
        }
        let checks = self.places.get(&evaluation.instance.name);
        let names = checks
            .and_then(|checks| checks.get(&verdict.check))
            .into_iter()
            .flatten();
        let left: Vec<String> = names
            .filter(|name| !found.contains(name.as_str()))
            .cloned()
            .collect();
        if left.is_empty() {
            return;
        }
        let absent = absent(verdict, evaluation.server.is_some());
        for fingerprint in left {
            let seen = self.unnamed(&fingerprint, verdict, absent);
            self.see(&fingerprint, seen, None, now);
        }
    }

    /// Takes one finding.
    fn finding(&mut self, finding: &Finding, subject: &Subject, at: Timestamp, now: Timestamp) {
        let fingerprint = finding.fingerprint.as_str();
        let labels = subject.labels(finding);
        let known = self.held.contains_key(fingerprint);
        let fresh;
        let rule = match self.held.get(fingerprint) {
            Some(held) => &held.rule,
            None => {
                let (group, object) = (subject.group.as_deref(), &finding.object);
                fresh = self
                    .setup
                    .rules
                    .rule(&finding.check, group, &subject.name, object);
                &fresh
            }
        };
        let seen = self.weigh(finding, rule, &labels, at);
        let worth = matches!(seen, Seen::Bad { .. })
            || (seen == Seen::Blind && rule.enabled && rule.no_data == NoData::Fire);
        if known {
            self.update_labels(fingerprint, labels);
        } else if !worth || !self.admit(alert_of(finding, &subject.name, labels, now), now) {
            return;
        }
        let bad = matches!(seen, Seen::Bad { .. });
        self.see(fingerprint, seen, bad.then_some(finding), now);
    }

    /// Says what a finding means for its alert.
    fn weigh(
        &self,
        finding: &Finding,
        rule: &Rule,
        labels: &BTreeMap<String, String>,
        at: Timestamp,
    ) -> Seen {
        let good = Seen::Good { held: false };
        let level = match finding.level {
            Level::Unknown => return Seen::Blind,
            level @ (Level::Warning | Level::Critical) => level,
            Level::Ok | Level::Info => return good,
        };
        if !self.setup.config.enabled || !rule.enabled || level < rule.level {
            return good;
        }
        let expected = || {
            self.setup
                .batches
                .iter()
                .any(|batch| batch.covers(labels, at))
        };
        if level == Level::Warning && rule.expected_in_batch && expected() {
            return good;
        }
        if level == Level::Warning && self.is_usual(finding, rule, labels, at) {
            return good;
        }
        Seen::Bad { level }
    }

    /// Says whether a value is what it usually is at this hour of the week.
    fn is_usual(
        &self,
        finding: &Finding,
        rule: &Rule,
        labels: &BTreeMap<String, String>,
        at: Timestamp,
    ) -> bool {
        let baseline = || {
            let instance = labels.get("instance")?;
            self.instances.get(instance)?.baseline.as_ref()
        };
        let usual = |deviations: f64| {
            let object = match &finding.database {
                Some(database) if finding.object.is_empty() => database.clone(),
                Some(database) => format!("{database}/{}", finding.object),
                None => finding.object.clone(),
            };
            let usual = baseline()?.usual(&finding.check, &object, at)?;
            let below = finding
                .threshold
                .is_some_and(|limit| finding.value < Some(limit));
            Some(crate::baseline::is_usual(
                finding.value?,
                &usual,
                deviations,
                below,
            ))
        };
        rule.deviations.and_then(usual).unwrap_or(false)
    }

    /// Writes labels anew that the instance or the configuration changed.
    fn update_labels(&mut self, fingerprint: &str, mut labels: BTreeMap<String, String>) {
        let Some(held) = self.held.get_mut(fingerprint) else {
            return;
        };
        for name in ["level", "priority"] {
            labels.insert(name.to_owned(), held.alert.label(name).to_owned());
        }
        // What the server said of itself is still so while it does not answer.
        for name in ["cluster", "role"] {
            if let Some(known) = held.alert.labels.get(name) {
                labels
                    .entry(name.to_owned())
                    .or_insert_with(|| known.clone());
            }
        }
        if labels == held.alert.labels {
            return;
        }
        let group = labels.get("group") != held.alert.labels.get("group");
        Arc::make_mut(&mut held.alert).labels = labels;
        if group {
            held.rule = super::held::rule(&self.setup, &held.alert);
        }
        held.relabel();
        self.news.dirty.insert(fingerprint.to_owned());
        self.news.moved.insert(fingerprint.to_owned());
        self.news.reroute.insert(fingerprint.to_owned());
        self.news.firing = true;
    }

    /// Says what a verdict means for an alert that it does not name.
    fn unnamed(&self, fingerprint: &str, verdict: &Verdict, absent: Absent) -> Seen {
        let Some(held) = self.held.get(fingerprint) else {
            return Seen::Nothing;
        };
        let finding = &held.alert.finding;
        let over = match absent {
            Absent::Nothing => return Seen::Nothing,
            Absent::Blind => false,
            Absent::Over => true,
            Absent::ByDatabase => {
                finding.database.is_some()
                    && !verdict.findings.iter().any(|other| {
                        other.level == Level::Unknown
                            && (other.database.is_none() || other.database == finding.database)
                    })
            }
        };
        if !over {
            return Seen::Blind;
        }
        let object = match &finding.database {
            Some(database) if finding.object.is_empty() => database.clone(),
            Some(database) => format!("{database}/{}", finding.object),
            None => finding.object.clone(),
        };
        let measure = verdict
            .measures
            .iter()
            .find(|measure| measure.object == object);
        let fires = held.alert.firing().is_some();
        let held = fires && measure.is_some_and(|measure| held.rule.holds(measure, finding));
        Seen::Good { held }
    }
}

/// Says what a verdict means for alerts that it does not name.
fn absent(verdict: &Verdict, server: bool) -> Absent {
    let waits = |finding: &Finding| {
        matches!(
            finding.blind,
            Some(Blind::FirstSample | Blind::Reset { .. })
        )
    };
    match verdict.outcome {
        _ if verdict.findings.len() < verdict.findings_total => Absent::Nothing,
        Outcome::Judged => Absent::Over,
        Outcome::NotApplicable | Outcome::Unknown if !server => Absent::Blind,
        Outcome::NotApplicable => Absent::Over,
        Outcome::Unknown if verdict.findings.iter().any(waits) => Absent::Nothing,
        Outcome::Unknown => Absent::ByDatabase,
    }
}

/// Returns the alert of a finding before anything happened to it.
pub(super) fn alert_of(
    finding: &Finding,
    instance: &str,
    mut labels: BTreeMap<String, String>,
    now: Timestamp,
) -> Alert {
    labels.insert("level".to_owned(), finding.level.as_str().to_owned());
    Alert {
        fingerprint: finding.fingerprint.clone(),
        instance: instance.to_owned(),
        labels,
        priority: Priority::P4,
        finding: finding.clone(),
        condition: Condition::Ok,
        handling: Handling::default(),
        opened_at: now,
        seen_at: now,
        changed_at: now,
        first_value: finding.value,
        flaps: 0,
        incident: None,
        source: None,
    }
}
