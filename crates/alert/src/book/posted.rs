//! What became of messages: whoever reads the log learns who was really told.

use std::collections::{BTreeMap, VecDeque};

use pawang_core::Timestamp;
use pawang_core::alert::{AlertEvent, EventKind, Message, MessageKind};

use super::Book;
use crate::notice::clock;

/// Messages that are waited for, and alerts in all of them; of the oldest beyond, nobody learns what became of them.
const WAITING_MAX: usize = 10_000;
const NAMED_MAX: usize = 100_000;
/// Alerts of one message whose logs tell of it.
const ALERTS_MAX: usize = 2_000;
/// Messages that were given up, for readers.
const LOST_MAX: usize = 5;
/// What the key of a message ends with that is told to somebody else instead, before who that is.
const FALLBACK: &str = "/fallback/";

/// What has to be known of a message to tell what became of it.
#[derive(Debug)]
struct Letter {
    to: String,
    kind: MessageKind,
    subject: String,
    incident: Option<i64>,
    /// The alerts that it brings news of.
    alerts: Vec<String>,
}

/// Messages on their way.
#[derive(Debug, Default)]
pub(super) struct Posted {
    letters: BTreeMap<String, Letter>,
    order: VecDeque<String>,
    /// How many alerts they name.
    named: usize,
    /// The last ones that were given up, in words.
    pub(super) lost: VecDeque<String>,
}

impl Posted {
    /// Takes a message that was made.
    pub(super) fn post(&mut self, message: &Message, mut alerts: Vec<String>) {
        alerts.truncate(ALERTS_MAX);
        self.named += alerts.len();
        while self.order.len() >= WAITING_MAX || self.named > NAMED_MAX {
            let Some(oldest) = self.order.front().cloned() else {
                break;
            };
            self.take(&oldest);
        }
        let letter = Letter {
            to: message.recipient.key(),
            kind: message.kind,
            subject: message.subject.clone(),
            incident: message.incident,
            alerts,
        };
        self.letters.insert(message.key.clone(), letter);
        self.order.push_back(message.key.clone());
    }

    /// Takes a message that waited before the start.
    pub(super) fn repost(&mut self, message: &Message) {
        let alerts = message.notices.iter();
        self.post(message, alerts.map(|n| n.fingerprint.clone()).collect());
    }

    fn take(&mut self, key: &str) -> Option<Letter> {
        let letter = self.letters.remove(key)?;
        self.order.retain(|other| other != key);
        self.named = self.named.saturating_sub(letter.alerts.len());
        Some(letter)
    }
}

impl Book {
    /// Takes what became of a message.
    pub(super) fn delivered(&mut self, key: &str, taken: bool, now: Timestamp) {
        let (own, instead) = match key.split_once(FALLBACK) {
            Some((own, to)) => (own, Some(to)),
            None => (key, None),
        };
        // What is given up goes to the fallback: what became of that is told with the same facts.
        let letter = match taken {
            true => self.posted.take(own),
            false => self.posted.letters.remove(own),
        };
        let Some(letter) = letter else {
            return;
        };
        let to = instead.unwrap_or(&letter.to).to_owned();
        let outcome = if taken { "taken" } else { "given up" };
        for fingerprint in &letter.alerts {
            let detail = [("to", &to[..]), ("message", key), ("outcome", outcome)];
            let detail = detail.map(|(name, text)| (name.to_owned(), text.to_owned()));
            self.news.changes.events.push(AlertEvent {
                fingerprint: fingerprint.clone(),
                at: now,
                kind: EventKind::Told,
                by: None,
                detail: detail.into(),
            });
        }
        let changes = &mut self.news.changes;
        let (kind, subject) = (taken.then_some(letter.kind), &letter.subject);
        if let Some(id) = letter.incident {
            self.incidents
                .on_message(id, kind, &to, subject, now, changes);
        }
        if !taken {
            let at = clock(now, now);
            let note = format!("a message to \"{to}\" was given up at {at}: {subject}");
            self.posted.lost.truncate(LOST_MAX - 1);
            self.posted.lost.push_front(note);
            self.posted.letters.insert(own.to_owned(), letter);
        }
    }
}
