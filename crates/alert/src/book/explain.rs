//! Who would be told of a finding, when and why, and what would keep it quiet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pawang_core::alert::{Alert, Condition, Mute, Priority, Recipient};
use pawang_core::{Finding, Level, Timestamp, Unit, fingerprint as identity};

use super::observe::alert_of;
use super::quiet::means;
use super::{Book, Subject};
use crate::group::{self, ladder::Ladder};
use crate::inhibit::inhibited;
use crate::notice::{clock, name};
use crate::priority::priority;
use crate::recipient::find;
use crate::route::routes_of;
use crate::setup::Setup;
use crate::span::later;

/// A finding that may come.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The check.
    pub check: String,
    /// How bad.
    pub level: Level,
    /// The object; empty for the server as a whole.
    pub object: String,
    /// The database, where the object lives in one.
    pub database: Option<String>,
    /// The instance.
    pub subject: Subject,
}

/// What would become of a finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How urgent it would be.
    pub priority: Priority,
    /// Whether it would become an alert at all.
    pub enabled: bool,
    /// How long it would have to last.
    pub lasts: Duration,
    /// How many of the last samples would have to be bad.
    pub samples: (u8, u8),
    /// The ways by which people would be told, in the order of the routes; none when no route matches.
    pub ways: Vec<Way>,
    /// What would keep it quiet now, each with its words.
    pub mutes: Vec<(Mute, String)>,
}

/// A route, and who is told by it.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    /// The route.
    pub route: String,
    /// The ladder, when there is one.
    pub policy: Option<String>,
    /// The labels of the group that it would be told in.
    pub group: BTreeMap<String, String>,
    /// Who is told and when, the earliest first; the first entry has step 0 also without a ladder.
    pub steps: Vec<Step>,
}

/// Who is told at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The step of the ladder; 0 is the first.
    pub step: usize,
    /// The round; 0 is the first.
    pub round: u32,
    /// When, if it fires from now on for long enough and nobody acknowledges.
    pub at: Timestamp,
    /// Who.
    pub recipients: Vec<Recipient>,
    /// Things to know, such as that nobody is on duty.
    pub notes: Vec<String>,
}

impl Book {
    /// Says who would be told of a finding that comes now, when, and what would keep it quiet.
    pub fn explain(&self, question: &Question, now: Timestamp) -> Explanation {
        let setup = &self.setup;
        let finding = finding_of(question);
        let subject = &question.subject;
        let group = subject.group.as_deref();
        let rule = setup
            .rules
            .rule(&question.check, group, &subject.name, &question.object);
        let priority = priority(question.level, &rule, subject);
        let mut alert = alert_of(&finding, &subject.name, subject.labels(&finding), now);
        alert.priority = priority;
        alert.condition = Condition::Firing {
            since: now,
            level: question.level,
        };
        alert
            .labels
            .insert("priority".to_owned(), priority.as_str().to_owned());
        let lasts = match question.level {
            Level::Critical => rule.lasts_critical,
            _ => rule.lasts,
        };
        let fires_at = later(now, lasts);
        let ways = routes_of(setup, &alert.labels, fires_at);
        let ways = ways
            .into_iter()
            .map(|at| way(setup, at, &alert.labels, fires_at))
            .collect();
        Explanation {
            priority,
            enabled: setup.config.enabled && rule.enabled && question.level >= rule.level,
            lasts,
            samples: rule.samples,
            ways,
            mutes: self.would_mute(&alert, now),
            labels: alert.labels,
        }
    }

    /// Returns what would keep an alert quiet now.
    fn would_mute(&self, alert: &Alert, now: Timestamp) -> Vec<(Mute, String)> {
        let mut mutes = Vec::new();
        for (silence, matchers) in &self.quiet.silences {
            if silence.active(now) && means(matchers, alert) {
                let until = clock(silence.ends_at, now);
                let words = format!(
                    "silence {} by {} until {until}: {}",
                    silence.id, silence.by, silence.reason
                );
                mutes.push((
                    Mute::Silenced {
                        silence: silence.id,
                    },
                    words,
                ));
            }
        }
        for ready in self
            .windows()
            .filter(|ready| ready.matchers.hold(&alert.labels))
        {
            if let Some(time) = ready.open(now) {
                let window = ready.window.name.clone();
                let words = format!(
                    "window \"{window}\" until {}: {}",
                    clock(time.to, now),
                    ready.window.reason
                );
                mutes.push((Mute::Maintenance { window }, words));
            }
        }
        let others = self
            .held
            .values()
            .filter(|held| held.alert.firing().is_some());
        let mut all: Vec<Arc<Alert>> = others
            .map(|held| held.alert.clone())
            .filter(|other| other.fingerprint != alert.fingerprint)
            .collect();
        all.push(Arc::new(alert.clone()));
        if let Some(Mute::Inhibited { by, rule }) =
            inhibited(&self.setup, &all).remove(&alert.fingerprint)
        {
            let source = self
                .held
                .get(&by)
                .map(|held| name(&held.alert))
                .unwrap_or_default();
            let words = format!("\"{source}\" explains it ({rule})");
            mutes.push((Mute::Inhibited { by, rule }, words));
        }
        mutes
    }
}

/// Returns who is told by a route, and when.
fn way(setup: &Setup, at: usize, labels: &BTreeMap<String, String>, fires_at: Timestamp) -> Way {
    let route = &setup.routes[at];
    let first = later(fires_at, route.group_wait);
    let told = |names: &[String], step: usize, round: u32, at: Timestamp| {
        let at = at.max(first);
        let found = find(setup, names, at);
        Step {
            step,
            round,
            at,
            recipients: found.recipients,
            notes: found.notes,
        }
    };
    let policy = route.policy.as_ref();
    let ladder = policy.and_then(|name| Ladder::find(setup, name));
    let steps = match ladder {
        None => vec![told(&route.notify, 0, 0, first)],
        Some(ladder) => ladder
            .rungs(fires_at)
            .into_iter()
            .filter_map(|rung| {
                let step = ladder.policy.steps.get(rung.step)?;
                Some(told(&step.notify, rung.step, rung.round, rung.at))
            })
            .collect(),
    };
    Way {
        route: route.name.clone(),
        policy: route.policy.clone(),
        group: group::labels_of(route, labels),
        steps,
    }
}

fn finding_of(question: &Question) -> Finding {
    let database = question.database.as_deref();
    Finding {
        check: question.check.clone(),
        object: question.object.clone(),
        database: question.database.clone(),
        level: question.level,
        title: String::new(),
        value: None,
        unit: Unit::State,
        threshold: None,
        since: None,
        evidence: Vec::new(),
        remedy: String::new(),
        blind: None,
        fingerprint: identity(
            &question.check,
            &question.subject.name,
            database,
            &question.object,
        ),
    }
}
