//! What waits for one channel, and when it is tried next: pure, time is a parameter.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use pawang_alert::channel::Trouble;
use pawang_config::ChannelConfig;
use pawang_core::Timestamp;
use pawang_core::alert::{Message, MessageKind, Parcel, ParcelState, Priority};

use super::digest;

/// Messages that wait for one channel; beyond it the least urgent are given up.
pub(super) const WAITING_MAX: usize = 5_000;
/// The pauses between attempts: doubled from the first to the last.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// While a target refuses everything, it is asked at least this often, so that its return is noticed.
const KNOCK_MAX: Duration = Duration::from_secs(60);
/// After so long without success, urgent messages also go to the fallback.
const DIVERT_AFTER: Duration = Duration::from_secs(120);

/// What waits for one channel.
pub(super) struct Outbox {
    limits: Limits,
    waiting: VecDeque<Parcel>,
    /// Messages that may be sent at once; refilled all the time.
    tokens: f64,
    refilled_at: Option<Timestamp>,
    /// Failures in a row.
    failures: u32,
    /// Not before.
    pause_until: Option<Timestamp>,
    /// Since when, and why, nothing gets through.
    pub trouble: Option<(Timestamp, String)>,
    /// Keys of messages that went to the fallback too.
    diverted: Vec<String>,
    /// What each digest stands for, by its key.
    merged: BTreeMap<String, Vec<String>>,
}

/// What the configuration says about sending.
#[derive(Clone, Debug, PartialEq)]
struct Limits {
    rate_per_minute: f64,
    digest: Option<Duration>,
    send_resolved: bool,
    give_up_after: Duration,
    /// Whether people read it: then several messages may become one.
    for_people: bool,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Send this.
    Send(Box<Message>),
    /// Several messages become one: save these parcels, then ask again.
    Merge(Vec<Parcel>),
    /// Nothing before this time.
    Wait(Timestamp),
    /// Nothing at all.
    Idle,
}

/// What came of an attempt that failed.
#[derive(Debug, Default)]
pub(super) struct Failed {
    /// To save.
    pub parcels: Vec<Parcel>,
    /// Given up for good.
    pub dead: Vec<Message>,
}

impl Limits {
    fn of(config: &ChannelConfig) -> Limits {
        Limits {
            rate_per_minute: f64::from(config.rate_per_minute.max(1)),
            digest: config.digest.map(|period| period.0),
            send_resolved: config.send_resolved,
            give_up_after: config.give_up_after.0,
            for_people: config.smtp.is_some()
                || config.slack.is_some()
                || config.teams.is_some()
                || config.telegram.is_some()
                || config.ntfy.is_some(),
        }
    }
}

impl Outbox {
    /// Returns an outbox in which nothing waits.
    pub(super) fn new(config: &ChannelConfig) -> Outbox {
        let limits = Limits::of(config);
        Outbox {
            tokens: limits.rate_per_minute,
            limits,
            waiting: VecDeque::new(),
            refilled_at: None,
            failures: 0,
            pause_until: None,
            trouble: None,
            diverted: Vec::new(),
            merged: BTreeMap::new(),
        }
    }

    /// Takes another configuration; what waits is tried at once, since somebody may just have put it right.
    pub(super) fn take_config(&mut self, config: &ChannelConfig, now: Timestamp) {
        self.limits = Limits::of(config);
        self.tokens = self.tokens.min(self.limits.rate_per_minute);
        self.pause_until = None;
        self.failures = 0;
        for parcel in &mut self.waiting {
            parcel.due_at = parcel.due_at.min(now);
        }
    }

    /// Takes a message; returns parcels to save when it is not told at all, or others had to give way.
    pub(super) fn offer(&mut self, parcel: Parcel, now: Timestamp) -> Vec<Parcel> {
        let mut done = Vec::new();
        let mut parcel = parcel;
        let message = &parcel.message;
        if message.kind == MessageKind::Resolved && !self.limits.send_resolved {
            parcel.state = ParcelState::Sent { at: now };
            parcel.trouble = Some("the channel is not told when alerts are over".to_owned());
            return vec![parcel];
        }
        if let Some(every) = self.limits.digest.filter(|_| collected(message)) {
            let begun = self.waiting.iter().find(|other| collected(&other.message));
            let due = begun.map_or(now + every, |other| other.due_at);
            parcel.due_at = parcel.due_at.max(due);
        }
        self.waiting.push_back(parcel);
        if self.waiting.len() > WAITING_MAX {
            done.extend(self.least_urgent().map(|mut least| {
                least.state = ParcelState::Dead { at: now };
                least.trouble = Some(format!("more than {WAITING_MAX} messages waited"));
                least
            }));
        }
        done
    }

    /// Returns how many messages wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns what to do next.
    pub(super) fn next(&mut self, now: Timestamp) -> Next {
        if self.waiting.is_empty() {
            return Next::Idle;
        }
        if let Some(until) = self.pause_until.filter(|until| *until > now) {
            // A clock that went back must not make the pause longer than it was meant.
            let latest = now + PAUSE_MAX;
            return Next::Wait(until.min(latest));
        }
        self.refill(now);
        let (due, next) = self.due(now);
        let Some(&first) = due.first() else {
            return next.map_or(Next::Idle, Next::Wait);
        };
        let merged = self.merge(&due, now);
        if !merged.is_empty() {
            return Next::Merge(merged);
        }
        if self.tokens < 1.0 {
            let seconds = (1.0 - self.tokens) * 60.0 / self.limits.rate_per_minute;
            return Next::Wait(now + Duration::from_secs_f64(seconds.max(0.05)));
        }
        Next::Send(Box::new(self.waiting[first].message.clone()))
    }

    /// The target took a message.
    pub(super) fn sent(&mut self, key: &str, now: Timestamp) -> Option<Parcel> {
        self.tokens -= 1.0;
        self.failures = 0;
        self.pause_until = None;
        self.trouble = None;
        self.diverted.retain(|diverted| diverted != key);
        let mut parcel = self.remove(key)?;
        parcel.state = ParcelState::Sent { at: now };
        parcel.trouble = None;
        Some(parcel)
    }

    /// The target did not take a message.
    pub(super) fn failed(&mut self, key: &str, trouble: &Trouble, now: Timestamp) -> Failed {
        let mut failed = Failed::default();
        let give_up_after = self.limits.give_up_after;
        let Some(parcel) = self.waiting.iter_mut().find(|p| p.message.key == key) else {
            return failed;
        };
        parcel.attempts += 1;
        parcel.trouble = Some(trouble.to_string());
        let pause = trouble
            .retry_after
            .unwrap_or_else(|| pause(parcel.attempts, key))
            .min(PAUSE_MAX);
        parcel.due_at = now + pause;
        let age = Duration::try_from(now.duration_since(parcel.message.created_at));
        let too_old = age.is_ok_and(|age| age >= give_up_after);
        let saved = parcel.clone();
        // A message that the target refuses for good says nothing about the next one.
        if !trouble.content {
            self.failures += 1;
            self.pause_until = Some(now + self.knock(trouble.retry_after, key));
            let since = self.trouble.take().map_or(now, |(since, _)| since);
            self.trouble = Some((since, trouble.to_string()));
        }
        if too_old || trouble.content {
            failed.dead.push(saved.message.clone());
            if let Some(mut dead) = self.remove(key) {
                dead.state = ParcelState::Dead { at: now };
                failed.parcels.push(dead);
            }
        } else {
            failed.parcels.push(saved);
        }
        failed
    }

    /// Returns urgent messages that have to be told by another way, each once.
    pub(super) fn divert(&mut self, now: Timestamp) -> Vec<Message> {
        let Some((since, _)) = &self.trouble else {
            return Vec::new();
        };
        let long = Duration::try_from(now.duration_since(*since));
        if long.is_ok_and(|long| long < DIVERT_AFTER) {
            return Vec::new();
        }
        let urgent = self.waiting.iter().filter(|parcel| {
            parcel.message.priority <= Priority::P2 && !self.diverted.contains(&parcel.message.key)
        });
        let urgent: Vec<Message> = urgent.map(|parcel| parcel.message.clone()).collect();
        self.diverted
            .extend(urgent.iter().map(|message| message.key.clone()));
        urgent
    }

    /// Returns the keys of everything that a message stands for, its own first, and forgets them: it has ended.
    pub(super) fn stands_for(&mut self, key: &str) -> Vec<String> {
        let mut keys = vec![key.to_owned()];
        keys.extend(self.merged.remove(key).unwrap_or_default());
        keys
    }

    /// Returns everything that waits, for a channel that is no more.
    pub(super) fn into_waiting(self) -> Vec<Parcel> {
        self.waiting.into()
    }

    /// Returns what may be tried, in order, and when something else may: within a thread a message never overtakes an
    /// earlier one.
    fn due(&self, now: Timestamp) -> (Vec<usize>, Option<Timestamp>) {
        // What is planned later than anything is ever planned was planned by a clock that went back since.
        let latest = now + self.limits.digest.unwrap_or_default().max(PAUSE_MAX * 2);
        let mut held: Vec<(&str, String)> = Vec::new();
        let mut due = Vec::new();
        let mut next: Option<Timestamp> = None;
        for (index, parcel) in self.waiting.iter().enumerate() {
            let message = &parcel.message;
            let line = (message.thread.as_str(), message.recipient.key());
            if held.contains(&line) {
                continue;
            }
            if parcel.due_at <= now || parcel.due_at > latest {
                due.push(index);
                continue;
            }
            next = Some(next.map_or(parcel.due_at, |next| next.min(parcel.due_at)));
            if !collected(message) {
                held.push(line);
            }
        }
        (due, next)
    }

    /// Makes one message of several to one person: those that were collected, and those that are too many.
    fn merge(&mut self, due: &[usize], now: Timestamp) -> Vec<Parcel> {
        if !self.limits.for_people {
            return Vec::new();
        }
        let too_many = (due.len() as f64) > self.tokens.max(1.0);
        let Some(&first) = due.first() else {
            return Vec::new();
        };
        let recipient = self.waiting[first].message.recipient.clone();
        let collects = self.limits.digest.is_some() && collected(&self.waiting[first].message);
        let indexes: Vec<usize> = due
            .iter()
            .copied()
            .filter(|&index| {
                let message = &self.waiting[index].message;
                let mergeable =
                    message.kind != MessageKind::Digest && message.kind != MessageKind::Test;
                mergeable
                    && message.recipient == recipient
                    && (too_many || collects && collected(message))
            })
            .collect();
        if indexes.len() < 2 {
            return Vec::new();
        }
        let messages: Vec<&Message> = indexes.iter().map(|&i| &self.waiting[i].message).collect();
        let whole = digest::digest(&messages, now);
        let mut parcels = Vec::new();
        // From the back, so that the places before stay what they are.
        for index in indexes.into_iter().rev() {
            if let Some(mut part) = self.waiting.remove(index) {
                part.state = ParcelState::Merged {
                    into: whole.key.clone(),
                };
                parcels.push(part);
            }
        }
        let keys = parcels.iter().map(|parcel| parcel.message.key.clone());
        self.merged.insert(whole.key.clone(), keys.collect());
        let whole = waiting(whole, now);
        self.waiting.push_front(whole.clone());
        parcels.push(whole);
        parcels
    }

    fn refill(&mut self, now: Timestamp) {
        let since = self.refilled_at.replace(now);
        let passed = since.map(|since| now.duration_since(since).as_secs_f64().max(0.0));
        let more = passed.unwrap_or(0.0) * self.limits.rate_per_minute / 60.0;
        self.tokens = (self.tokens + more).min(self.limits.rate_per_minute);
    }

    fn knock(&self, retry_after: Option<Duration>, key: &str) -> Duration {
        retry_after
            .unwrap_or_else(|| pause(self.failures, key))
            .min(KNOCK_MAX)
    }

    fn remove(&mut self, key: &str) -> Option<Parcel> {
        let index = self.waiting.iter().position(|p| p.message.key == key)?;
        self.waiting.remove(index)
    }

    fn least_urgent(&mut self) -> Option<Parcel> {
        let waiting = self.waiting.iter().enumerate();
        let (index, _) = waiting.max_by_key(|(_, parcel)| parcel.message.priority)?;
        self.waiting.remove(index)
    }
}

/// Returns a message that waits, and may be tried at once.
pub(super) fn waiting(message: Message, now: Timestamp) -> Parcel {
    Parcel {
        message,
        due_at: now,
        attempts: 0,
        trouble: None,
        state: ParcelState::Waiting,
    }
}

/// Says whether a message may be collected: nobody has to be woken by it.
fn collected(message: &Message) -> bool {
    message.priority >= Priority::P3
        && !matches!(message.kind, MessageKind::Digest | MessageKind::Test)
}

/// Returns the pause after so many attempts: doubled each time, and a little different for each message, so that they
/// do not knock together.
fn pause(attempts: u32, key: &str) -> Duration {
    let doubled = PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1)));
    let apart = key.bytes().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    }) % 250;
    doubled
        .min(PAUSE_MAX)
        .mul_f64(1.0 + f64::from(apart) / 1_000.0)
}

#[cfg(test)]
mod tests;
