//! All alerts and everything about them: takes what happens, returns what changes.

mod clock;
mod explain;
mod held;
mod mute;
mod observe;
mod order;
mod own;
mod posted;
mod present;
mod quiet;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pawang_core::alert::{Alert, AlertEvent, Changes, EventKind, Priority, Saved};
use pawang_core::{Evaluation, Finding, Role, Timestamp};

pub use explain::{Explanation, Question, Step, Way};

use crate::baseline::Baseline;
use crate::incident::Incidents;
use crate::notice::Causes;
use crate::setup::Setup;
use held::Held;
use own::Watched;
use posted::Posted;
use quiet::Quiet;
use tell::Circle;

/// What is known of an instance besides its findings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: Option<String>,
    /// Its labels in the configuration.
    pub labels: BTreeMap<String, String>,
    /// The machine that it runs on, as far as is known.
    pub host: Option<String>,
    /// The cluster: the system identifier that primary and standbys share.
    pub cluster: Option<String>,
    /// Primary or standby, as last seen.
    pub role: Option<Role>,
    /// Whether people wait for it.
    pub production: bool,
}

/// An alert of somebody else: Alertmanager's webhook.
#[derive(Clone, Debug, PartialEq)]
pub struct External {
    /// The sender's name.
    pub source: String,
    /// Its labels; `alertname` is the check.
    pub labels: BTreeMap<String, String>,
    /// Its annotations: `summary`, `description`, `runbook_url`.
    pub annotations: BTreeMap<String, String>,
    /// Whether it fires; else it is over.
    pub firing: bool,
    /// Since when.
    pub starts_at: Timestamp,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// An instance was judged.
    Judged {
        /// The verdicts.
        evaluation: Arc<Evaluation>,
        /// The checks that were asked anew; verdicts of others are those of an earlier sample and prove nothing new
        /// ([`Seen::Nothing`](crate::condition::Seen::Nothing)). `None`: all of them.
        asked: Option<Arc<BTreeSet<String>>>,
        /// What is known of the instance.
        subject: Arc<Subject>,
    },
    /// An instance is no longer looked after.
    Gone {
        /// Its name.
        instance: String,
    },
    /// Somebody else's alerts.
    External(Vec<External>),
    /// What is wrong with Pawang itself, all of it: findings with an empty instance.
    Own(Vec<Finding>),
    /// Another configuration is in force.
    Setup(Arc<Setup>),
    /// What is usual, read anew from the history.
    Baseline {
        /// The instance.
        instance: String,
        /// What is usual there.
        baseline: Arc<Baseline>,
    },
    /// A message was taken by its target, or given up.
    Delivered {
        /// The message's key.
        key: String,
        /// Whether it was taken.
        taken: bool,
    },
    /// Time went by.
    Tick,
}

/// Alerts that are kept in mind.
const ALERTS_MAX: usize = 20_000;
/// Room beyond that is only for what is urgent: a storm of warnings must not hide that a server is down.
const URGENT_MAX: usize = 2_000;

/// All alerts and everything about them.
#[derive(Debug)]
pub struct Book {
    setup: Arc<Setup>,
    causes: Causes,
    /// By fingerprint.
    held: BTreeMap<String, Held>,
    /// By instance and check.
    places: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// When something has to be done about an alert.
    timers: BTreeSet<(Timestamp, String)>,
    /// By name.
    instances: BTreeMap<String, Watched>,
    quiet: Quiet,
    /// By key.
    groups: BTreeMap<String, Circle>,
    /// When a group is looked at.
    ticks: BTreeSet<(Timestamp, String)>,
    /// When the hours of a route begin or end.
    routes_change_at: Option<Timestamp>,
    incidents: Incidents,
    posted: Posted,
    /// When alerts that are over fired and ended last.
    past: BTreeMap<String, (Timestamp, Timestamp)>,
    /// When senders of alerts were last looked at.
    senders_at: Timestamp,
    /// The time of the last step: a clock may be put back.
    last_at: Timestamp,
    /// Findings that did not become alerts because there are too many.
    refused: u64,
    last_silence: i64,
    last_window: i64,
    news: News,
}

/// What the step that is going on has done so far.
#[derive(Debug, Default)]
struct News {
    changes: Changes,
    /// Alerts that must be saved.
    dirty: BTreeSet<String>,
    /// Alerts whose labels or condition are other ones: silences and windows are looked at.
    moved: BTreeSet<String>,
    /// Alerts whose routes and ladders are looked at.
    reroute: BTreeSet<String>,
    /// Groups that are looked at before their time; `true`: even within `group_wait`.
    urgent: BTreeMap<String, bool>,
    /// Groups that must be saved.
    groups: BTreeSet<String>,
    /// Whether other alerts fire than before.
    firing: bool,
    /// There is no room for what is not more urgent than this.
    full: Option<Priority>,
}

impl Book {
    /// Begins with what was saved.
    pub fn new(setup: Arc<Setup>, saved: Saved, now: Timestamp) -> Book {
        let last_at = Book::saved_until(&saved).unwrap_or(now);
        let alerts = saved.alerts.iter().map(|(alert, _)| alert);
        let incidents = Incidents::new(saved.incidents, saved.last_incident, alerts);
        let mut book = Book {
            causes: |_| Vec::new(),
            held: BTreeMap::new(),
            places: BTreeMap::new(),
            timers: BTreeSet::new(),
            instances: BTreeMap::new(),
            quiet: Quiet::new(saved.silences, saved.windows),
            groups: BTreeMap::new(),
            ticks: BTreeSet::new(),
            routes_change_at: Some(now),
            incidents,
            posted: Posted::default(),
            past: saved.past,
            senders_at: now,
            last_at,
            refused: 0,
            last_silence: saved.last_silence,
            last_window: saved.last_window,
            news: News::default(),
            setup,
        };
        for (alert, tally) in saved.alerts {
            book.restore(alert, tally, now);
        }
        book.recall(now);
        for parcel in &saved.parcels {
            book.posted.repost(&parcel.message);
        }
        for group in saved.groups {
            book.restore_group(group);
        }
        book.news.reroute = book.held.keys().cloned().collect();
        book.news.firing = true;
        book.disconnect();
        book.dismiss(now);
        book
    }

    /// Takes where probable causes are told from.
    #[must_use]
    pub fn with_causes(mut self, causes: Causes) -> Book {
        self.causes = causes;
        self
    }

    /// Takes what happened; what it returns must be saved before it is forgotten.
    pub fn step(&mut self, event: Event, now: Timestamp) -> Changes {
        self.mend_clock(now);
        match event {
            Event::Judged {
                evaluation,
                asked,
                subject,
            } => self.judged(&evaluation, asked.as_deref(), &subject, now),
            Event::Gone { instance } => self.gone(&instance, now),
            Event::External(alerts) => self.external(&alerts, now),
            Event::Own(findings) => self.own(&findings, now),
            Event::Setup(setup) => self.configure(setup, now),
            Event::Baseline { instance, baseline } => {
                self.instances
                    .entry(instance)
                    .or_insert_with(|| Watched::new(now))
                    .baseline = Some(baseline);
            }
            Event::Delivered { key, taken } => self.delivered(&key, taken, now),
            Event::Tick => {}
        }
        self.settle(now)
    }

    /// Returns when [`Event::Tick`] has something to do, if ever.
    pub fn next_at(&self) -> Option<Timestamp> {
        let first = |set: &BTreeSet<(Timestamp, String)>| set.first().map(|(at, _)| *at);
        [
            first(&self.timers),
            first(&self.ticks),
            self.routes_change_at,
            self.quiet.next_at(),
            self.incidents.next_at(),
            self.stale_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Draws the conclusions of what happened, and returns all that changed.
    fn settle(&mut self, now: Timestamp) -> Changes {
        self.watch(now);
        self.time(now);
        self.mute(now);
        self.follow();
        self.route(now);
        self.climb(now);
        self.flush(now);
        self.incidents.tick(now, &mut self.news.changes);
        self.forget(now);
        self.collect(now)
    }

    /// Ends what is said about instances that the configuration does not name any more.
    fn dismiss(&mut self, now: Timestamp) {
        let setup = self.setup.clone();
        if setup.instances.is_empty() {
            return;
        }
        let names: Vec<String> = self.instances.keys().cloned().collect();
        for name in names {
            if !setup.instances.contains(&name) {
                self.gone(&name, now);
            }
        }
    }

    /// Puts another configuration in force.
    fn configure(&mut self, setup: Arc<Setup>, now: Timestamp) {
        self.setup = setup;
        self.quiet.stir();
        self.routes_change_at = Some(now);
        let fingerprints: Vec<String> = self.held.keys().cloned().collect();
        for fingerprint in fingerprints {
            if let Some(held) = self.held.get_mut(&fingerprint) {
                held.rule = held::rule(&self.setup, &held.alert);
                held.ladders.clear();
                held.relabel();
            }
            self.retime(&fingerprint);
            self.news.dirty.insert(fingerprint.clone());
            self.news.reroute.insert(fingerprint);
        }
        self.news.firing = true;
        self.disconnect();
        self.dismiss(now);
    }

    /// Takes what happened to alerts into incidents.
    fn follow(&mut self) {
        let response = &self.setup.config.response;
        let events = std::mem::take(&mut self.news.changes.events);
        for event in &events {
            if event.kind == EventKind::Told {
                // The message as a whole is one line of the timeline.
                continue;
            }
            let Some(held) = self.held.get(&event.fingerprint) else {
                continue;
            };
            let muted_by = held.explained_by().and_then(|by| self.held.get(by));
            let muted_by = muted_by.map(|held| &*held.alert);
            let changes = &mut self.news.changes;
            let incident =
                self.incidents
                    .on_change(&held.alert, event, muted_by, response, changes);
            if incident != held.alert.incident {
                let held = self
                    .held
                    .get_mut(&event.fingerprint)
                    .expect("it was there just now");
                Arc::make_mut(&mut held.alert).incident = incident;
                self.news.dirty.insert(event.fingerprint.clone());
            }
        }
        let later = std::mem::replace(&mut self.news.changes.events, events);
        self.news.changes.events.extend(later);
    }

    /// Returns all that the step changed.
    fn collect(&mut self, now: Timestamp) -> Changes {
        let mut news = std::mem::take(&mut self.news);
        for fingerprint in news.dirty {
            let Some(held) = self.held.get_mut(&fingerprint) else {
                continue;
            };
            if held.is_nothing() {
                if std::mem::take(&mut held.kept) {
                    news.changes.forgotten.push(fingerprint);
                }
                continue;
            }
            held.kept = true;
            held.saved_at = now;
            news.changes
                .alerts
                .push((Alert::clone(&held.alert), held.tally.clone()));
        }
        for key in news.groups {
            match self.groups.get(&key) {
                Some(circle) => news.changes.groups.push(circle.group.clone()),
                None => news.changes.groups_gone.push(key),
            }
        }
        news.changes
    }

    /// Writes a line of an alert's log.
    fn log(&mut self, event: AlertEvent) {
        self.news.dirty.insert(event.fingerprint.clone());
        self.news.changes.events.push(event);
    }
}
