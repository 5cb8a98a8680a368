//! What would have been told: samples of the past, or of a test file, replayed through a book of their own.

mod file;
mod look;
mod run;
#[cfg(test)]
mod tests;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pawang_config::Period;
use pawang_core::alert::{Alert, Changes, Done, EventKind, Message, Order, Priority, Saved};
use pawang_core::{Evaluation, Level, Report, Timestamp};
use serde::Serialize;

use crate::book::{Book, Event, Subject};
use crate::setup::Setup;

pub use file::{Do, Expect, Given, Placed, Sample, Test, TestFile};
pub use look::{Asked, Graded};
pub use run::{Difference, Outcome, run};

/// Times that the book asks to be woken without time going by, before it is left alone.
const IDLE_MAX: usize = 3;

/// Returns a length of time in the largest unit that it is a whole number of: `15 min`.
pub fn length(length: Duration) -> String {
    let seconds = length.as_secs();
    let unit = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let whole = |(size, _): &&(u64, &str)| seconds >= *size && seconds.is_multiple_of(*size);
    match unit.iter().find(whole) {
        _ if length.subsec_millis() > 0 => Period(length).to_string(),
        Some((size, name)) => format!("{} {name}", seconds / size),
        None => format!("{seconds} s"),
    }
}

/// One time that an alert fired.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fired {
    /// The alert.
    pub fingerprint: String,
    /// The instance.
    pub instance: String,
    /// The check.
    pub check: String,
    /// The database of the object.
    pub database: Option<String>,
    /// The object.
    pub object: String,
    /// The worst level.
    pub level: Level,
    /// The most urgent priority.
    pub priority: Priority,
    /// What was wrong, at its worst.
    pub title: String,
    /// Since when it fired.
    pub at: Timestamp,
    /// When it was over.
    pub over_at: Option<Timestamp>,
    /// Who was told that it fires.
    pub told: BTreeSet<String>,
}

/// A book that is fed with the past, and what came of it.
#[derive(Debug)]
pub struct Replay {
    book: Book,
    alerts: BTreeMap<String, Alert>,
    fired: Vec<Fired>,
    messages: Vec<Message>,
    /// Who knows of which alerts that they fire.
    known: BTreeMap<String, BTreeSet<String>>,
}

impl Replay {
    /// Begins with no alerts.
    pub fn new(setup: Arc<Setup>, now: Timestamp) -> Replay {
        Replay {
            book: Book::new(setup, Saved::default(), now),
            alerts: BTreeMap::new(),
            fired: Vec::new(),
            messages: Vec::new(),
            known: BTreeMap::new(),
        }
    }

    /// Takes what was judged, after everything that was due before.
    pub fn judged(
        &mut self,
        evaluation: Arc<Evaluation>,
        asked: Option<Arc<BTreeSet<String>>>,
        subject: Arc<Subject>,
    ) {
        let at = evaluation.at;
        self.advance(at);
        let event = Event::Judged {
            evaluation,
            asked,
            subject,
        };
        self.step(event, at);
        self.step(Event::Tick, at);
    }

    /// Lets time go by.
    pub fn advance(&mut self, to: Timestamp) {
        let mut idle = (Timestamp::MIN, 0);
        while let Some(at) = self.book.next_at().filter(|at| *at <= to) {
            idle = if at > idle.0 {
                (at, 0)
            } else {
                (idle.0, idle.1 + 1)
            };
            if idle.1 >= IDLE_MAX {
                break;
            }
            self.step(Event::Tick, at);
        }
    }

    /// Does what somebody asks for.
    ///
    /// # Errors
    /// As [`Book::order`].
    pub fn order(&mut self, order: &Order, now: Timestamp) -> Result<Done, Report> {
        self.advance(now);
        let (done, changes) = self.book.order(order, now)?;
        self.absorb(changes, now);
        self.step(Event::Tick, now);
        Ok(done)
    }

    /// Returns an alert as it was last.
    pub fn alert(&self, fingerprint: &str) -> Option<&Alert> {
        self.alerts.get(fingerprint)
    }

    /// Returns who knows that an alert fires.
    pub fn told(&self, fingerprint: &str) -> BTreeSet<String> {
        let knows = |(who, alerts): (&String, &BTreeSet<String>)| {
            alerts.contains(fingerprint).then(|| who.clone())
        };
        self.known.iter().filter_map(knows).collect()
    }

    /// Returns every time that an alert fired, the first one first.
    pub fn fired(&self) -> &[Fired] {
        &self.fired
    }

    /// Returns every message, the first one first.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    fn step(&mut self, event: Event, at: Timestamp) {
        let changes = self.book.step(event, at);
        self.absorb(changes, at);
    }

    /// Notes what came of a step; every message is taken at once.
    fn absorb(&mut self, changes: Changes, at: Timestamp) {
        for (alert, _) in changes.alerts {
            self.alerts.insert(alert.fingerprint.clone(), alert);
        }
        for event in &changes.events {
            match event.kind {
                EventKind::Fired => self.fire(&event.fingerprint, event.at),
                EventKind::Rose => self.rise(&event.fingerprint),
                EventKind::Resolved => {
                    let over_at = event.at;
                    if let Some(fired) = self.newest(&event.fingerprint) {
                        fired.over_at.get_or_insert(over_at);
                    }
                }
                _ => {}
            }
        }
        for message in changes.messages {
            self.tell(&message);
            let key = message.key.clone();
            self.messages.push(message);
            let taken = true;
            self.step(Event::Delivered { key, taken }, at);
        }
    }

    fn fire(&mut self, fingerprint: &str, at: Timestamp) {
        let Some(alert) = self.alerts.get(fingerprint) else {
            return;
        };
        self.fired.push(Fired {
            fingerprint: fingerprint.to_owned(),
            instance: alert.instance.clone(),
            check: alert.finding.check.clone(),
            database: alert.finding.database.clone(),
            object: alert.finding.object.clone(),
            level: alert.firing().unwrap_or(alert.finding.level),
            priority: alert.priority,
            title: alert.finding.title.clone(),
            at,
            over_at: None,
            told: BTreeSet::new(),
        });
    }

    fn rise(&mut self, fingerprint: &str) {
        let Some(alert) = self.alerts.get(fingerprint) else {
            return;
        };
        let (level, priority) = (alert.firing(), alert.priority);
        let title = alert.finding.title.clone();
        if let Some(fired) = self.newest(fingerprint) {
            fired.level = level.map_or(fired.level, |level| fired.level.max(level));
            fired.priority = fired.priority.min(priority);
            fired.title = title;
        }
    }

    fn newest(&mut self, fingerprint: &str) -> Option<&mut Fired> {
        let mut fired = self.fired.iter_mut().rev();
        fired.find(|fired| fired.fingerprint == fingerprint)
    }

    fn tell(&mut self, message: &Message) {
        let who = message.recipient.key();
        for notice in &message.notices {
            let known = self.known.entry(who.clone()).or_default();
            if notice.firing {
                known.insert(notice.fingerprint.clone());
                if let Some(fired) = self.newest(&notice.fingerprint) {
                    fired.told.insert(who.clone());
                }
            } else {
                known.remove(&notice.fingerprint);
            }
        }
    }
}
