//! What is wrong with Pawang itself, and alerts of others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pawang_core::{
    Blind, Evaluation, Finding, Level, Outcome, Timestamp, Unit, fingerprint as identity,
};

use pawang_core::alert::Condition;

use super::held::Held;
use super::observe::alert_of;
use super::{Book, External};
use crate::baseline::Baseline;
use crate::condition::Seen;
use crate::notice::{clock, length};
use crate::span::{later, since};

/// An instance was not judged for too long.
const STALE: &str = "monitor-stale";
/// Checks that could see do not see any more.
const BLIND: &str = "monitor-blind";
/// A check that could see and cannot any more is told after so long.
const BLIND_AFTER: Duration = Duration::from_secs(15 * 60);
/// How often instances that are not seen are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(10);
/// Checks that are named in one alert.
const NAMED_MAX: usize = 10;
/// A sender that does not tell an alert again for so long is not heard any more.
const EXTERNAL_STALE: Duration = Duration::from_secs(86_400);
/// What a sender has not told again for so long is over: nobody else would ever end it.
const EXTERNAL_OVER: Duration = Duration::from_secs(7 * 86_400);
/// Alerts of one sender's message that are taken.
const EXTERNAL_MAX: usize = 2_000;

/// An instance that is looked after.
#[derive(Debug)]
pub(super) struct Watched {
    judged_at: Timestamp,
    /// Whether it was judged since the start.
    judged: bool,
    /// When it was looked at whether it is judged.
    looked_at: Timestamp,
    pub(super) baseline: Option<Arc<Baseline>>,
    /// Checks that could see once.
    saw: BTreeSet<String>,
    /// Checks that cannot see, and since when.
    blind: BTreeMap<String, Trouble>,
}

/// Since when a check cannot see, and why.
type Trouble = (Timestamp, String);

impl Watched {
    pub(super) fn new(now: Timestamp) -> Watched {
        Watched {
            judged_at: now,
            judged: false,
            looked_at: now,
            baseline: None,
            saw: BTreeSet::new(),
            blind: BTreeMap::new(),
        }
    }

    /// Puts times that lie in the future back to now.
    pub(super) fn mend_clock(&mut self, now: Timestamp) {
        self.judged_at = self.judged_at.min(now);
        self.looked_at = self.looked_at.min(now);
        for (since, _) in self.blind.values_mut() {
            *since = (*since).min(now);
        }
    }

    /// Takes that nobody could look for so long, because everything stood still.
    fn forgive(&mut self, late: Duration, now: Timestamp) {
        self.judged_at = later(self.judged_at, late).min(now);
        for (at, _) in self.blind.values_mut() {
            if since(*at, now).saturating_sub(late) < BLIND_AFTER {
                *at = later(*at, late).min(now);
            }
        }
    }

    /// Takes from an alert of the time before the start which checks could see once, and cannot for long enough.
    fn recall(&mut self, finding: &Finding) {
        for (check, why) in &finding.evidence {
            self.saw.insert(check.clone());
            let long_ago = (Timestamp::UNIX_EPOCH, why.clone());
            self.blind.insert(check.clone(), long_ago);
        }
    }

    /// Takes which checks could see.
    pub(super) fn judged(
        &mut self,
        evaluation: &Evaluation,
        asked: Option<&BTreeSet<String>>,
        now: Timestamp,
    ) {
        (self.judged_at, self.judged) = (now, true);
        if evaluation.server.is_none() {
            // That nothing can be seen then is told by other alerts; what was told before is not over by that.
            self.blind
                .retain(|_, (at, _)| since(*at, now) >= BLIND_AFTER);
            return;
        }
        let present: BTreeSet<&str> = evaluation
            .verdicts
            .iter()
            .map(|v| v.check.as_str())
            .collect();
        self.saw.retain(|check| present.contains(check.as_str()));
        self.blind
            .retain(|check, _| present.contains(check.as_str()));
        let anew = |check: &str| asked.is_none_or(|asked| asked.contains(check));
        for verdict in evaluation
            .verdicts
            .iter()
            .filter(|verdict| anew(&verdict.check))
        {
            let mut reasons = verdict
                .findings
                .iter()
                .filter_map(|finding| finding.blind.as_ref());
            let waits = |reason: &Blind| matches!(reason, Blind::FirstSample | Blind::Reset { .. });
            match verdict.outcome {
                Outcome::Judged | Outcome::NotApplicable => {
                    self.saw.insert(verdict.check.clone());
                    self.blind.remove(&verdict.check);
                }
                Outcome::Unknown if reasons.clone().any(waits) => {}
                Outcome::Unknown if self.saw.contains(&verdict.check) => {
                    let why = reasons.next().map(Blind::sentence).unwrap_or_default();
                    self.blind
                        .entry(verdict.check.clone())
                        .or_insert((now, why));
                }
                Outcome::Unknown => {}
            }
        }
    }
}

impl Book {
    /// Looks after the instances that alerts of the time before the start are about.
    pub(super) fn recall(&mut self, now: Timestamp) {
        for held in self.held.values() {
            let alert = &held.alert;
            let check = alert.finding.check.as_str();
            let own = alert.instance.is_empty() && [STALE, BLIND].contains(&check);
            let name = match own {
                true => &alert.finding.object,
                false => &alert.instance,
            };
            if alert.source.is_some() || name.is_empty() {
                continue;
            }
            let watched = self.instances.entry(name.clone());
            let watched = watched.or_insert_with(|| Watched::new(now));
            if own && check == BLIND && alert.firing().is_some() {
                watched.recall(&alert.finding);
            }
        }
    }

    /// Takes that everything stood still: that nobody looked meanwhile says nothing, neither good nor bad.
    pub(super) fn forgive(&mut self, late: Duration, now: Timestamp) {
        for watched in self.instances.values_mut() {
            watched.forgive(late, now);
        }
        let look = later(now, self.setup.config.stale_after.0);
        let mut names = Vec::new();
        for (name, held) in &mut self.held {
            let Condition::Recovering { until, .. } = held.alert.condition else {
                continue;
            };
            if until <= now {
                let alert = Arc::make_mut(&mut held.alert);
                if let Condition::Recovering { until, .. } = &mut alert.condition {
                    *until = look;
                }
                names.push(name.clone());
            }
        }
        for name in names {
            self.retime(&name);
            self.news.dirty.insert(name);
        }
    }

    /// Takes what is wrong with Pawang itself, all of it.
    pub(super) fn own(&mut self, findings: &[Finding], now: Timestamp) {
        let mut found = BTreeSet::new();
        for finding in findings {
            found.insert(finding.fingerprint.as_str());
            self.own_finding(finding, None, now);
        }
        let over: Vec<String> = self
            .owned()
            .filter(|(check, _)| ![STALE, BLIND].contains(check))
            .filter(|(_, name)| !found.contains(name))
            .map(|(_, name)| name.to_owned())
            .collect();
        for fingerprint in over {
            self.see(&fingerprint, Seen::Good { held: false }, None, now);
        }
    }

    /// Returns checks and fingerprints of alerts about Pawang itself.
    fn owned(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = |name: &String| {
            self.held
                .get(name)
                .is_some_and(|held| held.alert.source.is_none())
        };
        let checks = self.places.get("").into_iter().flatten();
        checks.flat_map(move |(check, names)| {
            let names = names.iter().filter(move |name| own(name));
            names.map(move |name| (check.as_str(), name.as_str()))
        })
    }

    /// Takes one thing that is wrong with Pawang itself, perhaps about an instance.
    fn own_finding(&mut self, finding: &Finding, instance: Option<&str>, now: Timestamp) {
        if !matches!(finding.level, Level::Warning | Level::Critical) {
            return;
        }
        if !self.held.contains_key(&finding.fingerprint) {
            let mut labels = instance
                .map(|name| self.labels_of(name))
                .unwrap_or_default();
            labels.insert("check".to_owned(), finding.check.clone());
            labels.insert("production".to_owned(), "true".to_owned());
            if !finding.object.is_empty() {
                labels.insert("object".to_owned(), finding.object.clone());
            }
            if !self.admit(alert_of(finding, "", labels, now), now) {
                return;
            }
        }
        let seen = Seen::Bad {
            level: finding.level,
        };
        self.see(&finding.fingerprint, seen, Some(finding), now);
    }

    /// Returns the labels of an instance, as far as an alert of it tells them.
    fn labels_of(&self, instance: &str) -> BTreeMap<String, String> {
        let checks = self.places.get(instance).into_iter().flatten();
        let first = checks
            .flat_map(|(_, names)| names)
            .find_map(|name| self.held.get(name));
        let mut labels = first
            .map(|held| held.alert.labels.clone())
            .unwrap_or_default();
        for name in ["check", "database", "object", "level", "priority"] {
            labels.remove(name);
        }
        labels.insert("instance".to_owned(), instance.to_owned());
        labels
    }

    /// Returns when it has to be looked at again whether instances are seen.
    pub(super) fn stale_at(&self) -> Option<Timestamp> {
        let after = self.setup.config.stale_after.0;
        let each = self.instances.values().map(|watched| {
            let stale = later(watched.judged_at, after);
            let blind = watched
                .blind
                .values()
                .map(|(at, _)| later(*at, BLIND_AFTER))
                .min();
            let next = blind.map_or(stale, |at| at.min(stale));
            // What is the case already is looked at again from time to time.
            next.max(later(watched.looked_at, WATCH_EVERY))
        });
        each.min()
    }

    /// Looks at whether instances are seen, and checks see.
    pub(super) fn watch(&mut self, now: Timestamp) {
        let after = self.setup.config.stale_after.0;
        let mut lost = Vec::new();
        let mut blind = Vec::new();
        for (name, watched) in &mut self.instances {
            if now >= watched.looked_at && since(watched.looked_at, now) < WATCH_EVERY {
                continue;
            }
            watched.looked_at = now;
            let stale = since(watched.judged_at, now) >= after;
            if !stale && !watched.judged {
                // Whether what was so before the start is over is not known yet.
                continue;
            }
            lost.push((name.clone(), stale.then_some(watched.judged_at)));
            let long = |(_, (at, _)): &(&String, &Trouble)| since(*at, now) >= BLIND_AFTER;
            let checks: Vec<(String, Trouble)> = watched
                .blind
                .iter()
                .filter(long)
                .map(|(check, why)| (check.clone(), why.clone()))
                .collect();
            blind.push((name.clone(), checks));
        }
        for (name, judged_at) in lost {
            self.watch_stale(&name, judged_at, now);
        }
        for (name, checks) in blind {
            self.watch_blind(&name, &checks, now);
        }
        if since(self.senders_at, now) >= WATCH_EVERY {
            self.senders_at = now;
            self.watch_senders(now);
        }
    }

    /// Ends what was said about an instance that is no longer looked after.
    pub(super) fn watch_ends(&mut self, instance: &str, now: Timestamp) {
        for check in [STALE, BLIND] {
            self.see(&identity(check, "", None, instance), Seen::Gone, None, now);
        }
    }

    fn watch_stale(&mut self, instance: &str, judged_at: Option<Timestamp>, now: Timestamp) {
        let Some(judged_at) = judged_at else {
            let name = identity(STALE, "", None, instance);
            return self.see(&name, Seen::Good { held: false }, None, now);
        };
        let age = since(judged_at, now);
        let (begin, long) = (clock(judged_at, now), length(age));
        let finding = Finding {
            value: Some(age.as_secs_f64()),
            threshold: Some(self.setup.config.stale_after.0.as_secs_f64()),
            unit: Unit::Seconds,
            remedy: "pawang daemon status".to_owned(),
            ..own_finding(
                STALE,
                instance,
                Level::Critical,
                format!("instance \"{instance}\" was not looked at for {long}, since {begin}"),
            )
        };
        self.own_finding(&finding, Some(instance), now);
        let checks = self.places.get(instance).into_iter().flatten();
        let all: Vec<String> = checks
            .flat_map(|(_, names)| names.iter().cloned())
            .collect();
        for fingerprint in all {
            self.see(&fingerprint, Seen::Missing, None, now);
        }
    }

    fn watch_blind(&mut self, instance: &str, checks: &[(String, Trouble)], now: Timestamp) {
        let Some((first, (_, why))) = checks.first() else {
            let name = identity(BLIND, "", None, instance);
            return self.see(&name, Seen::Good { held: false }, None, now);
        };
        let count = checks.len();
        let names: Vec<&str> = checks
            .iter()
            .take(NAMED_MAX)
            .map(|(name, _)| name.as_str())
            .collect();
        let more = count.saturating_sub(NAMED_MAX);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let noun = if count == 1 { "check" } else { "checks" };
        let names = names.join(", ");
        let finding = Finding {
            value: Some(checks.len() as f64),
            unit: Unit::Count,
            evidence: checks
                .iter()
                .take(NAMED_MAX)
                .map(|(check, (_, why))| (check.clone(), why.clone()))
                .collect(),
            remedy: format!("pawang check {first} -i {instance}"),
            ..own_finding(
                BLIND,
                instance,
                Level::Warning,
                format!(
                    "{count} {noun} of \"{instance}\" that could see cannot see any more: {names}{more} ({why})"
                ),
            )
        };
        self.own_finding(&finding, Some(instance), now);
    }

    /// Takes alerts of others.
    pub(super) fn external(&mut self, alerts: &[External], now: Timestamp) {
        for external in alerts.iter().take(EXTERNAL_MAX) {
            let finding = finding_of(external);
            let name = finding.fingerprint.clone();
            if !external.firing || !matches!(finding.level, Level::Warning | Level::Critical) {
                self.see(&name, Seen::Good { held: false }, None, now);
                continue;
            }
            if !self.held.contains_key(&name) {
                let mut labels = external.labels.clone();
                labels.insert("check".to_owned(), finding.check.clone());
                let mut alert = alert_of(&finding, "", labels, now);
                alert.source = Some(external.source.clone());
                if !self.admit(alert, now) {
                    continue;
                }
            }
            self.see(
                &name,
                Seen::Bad {
                    level: finding.level,
                },
                Some(&finding),
                now,
            );
        }
    }

    /// Looks at whether senders still tell what they told.
    fn watch_senders(&mut self, now: Timestamp) {
        let checks = self.places.get("").into_iter().flatten();
        let names = checks
            .flat_map(|(_, names)| names)
            .filter_map(|name| self.held.get(name));
        let silent = names.filter(|held| {
            held.alert.source.is_some()
                && held.alert.firing().is_some()
                && since(held.alert.seen_at, now) >= EXTERNAL_STALE
        });
        let seen = |held: &Held| match since(held.alert.seen_at, now) >= EXTERNAL_OVER {
            true => Seen::Gone,
            false => Seen::Missing,
        };
        let silent: Vec<(String, Seen)> = silent
            .map(|held| (held.alert.fingerprint.clone(), seen(held)))
            .collect();
        for (fingerprint, seen) in silent {
            self.see(&fingerprint, seen, None, now);
        }
    }
}

fn own_finding(check: &str, object: &str, level: Level, title: String) -> Finding {
    Finding {
        check: check.to_owned(),
        object: object.to_owned(),
        database: None,
        level,
        title,
        value: None,
        unit: Unit::State,
        threshold: None,
        since: None,
        evidence: Vec::new(),
        remedy: String::new(),
        blind: None,
        fingerprint: identity(check, "", None, object),
    }
}

/// Returns an alert of somebody else as a finding.
fn finding_of(external: &External) -> Finding {
    let text = |name: &str| external.annotations.get(name).cloned();
    let check = external
        .labels
        .get("alertname")
        .cloned()
        .unwrap_or_else(|| "external".to_owned());
    let mut names: Vec<String> = external
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    names.sort();
    let level = match external.labels.get("severity").map(String::as_str) {
        Some("info" | "none" | "ok" | "informational") => Level::Info,
        Some("warning" | "warn" | "minor" | "low") => Level::Warning,
        _ => Level::Critical,
    };
    let evidence = text("description").map(|text| ("description".to_owned(), text));
    let runbook = text("runbook_url").map(|address| ("runbook".to_owned(), address));
    Finding {
        since: Some(external.starts_at),
        fingerprint: identity(&check, &external.source, None, &names.join(",")),
        evidence: evidence.into_iter().chain(runbook).collect(),
        ..own_finding(
            &check,
            "",
            level,
            text("summary").unwrap_or_else(|| check.clone()),
        )
    }
}
