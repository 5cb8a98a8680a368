//! When to ask which collector: intervals, jitter, back-off and the budget of one instance.
//!
//! Pure: it reads no clock and asks nobody. Its caller asks what is due and records what came of it.

mod entry;
mod moving;
mod stretch;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;
use pawang_core::{Epoch, Facts, Role, Server, Snapshot, Timestamp};
use pawang_store::live::{BudgetStatus, CollectorStatus};

use crate::activity::{HISTORY, SAMPLES};
use crate::{Collector, Scope};
use entry::{Entry, Round};
use moving::Moving;
use stretch::{Load, stretches};

/// Intervals vary by this share up and down, so that instances do not beat together.
const JITTER: f64 = 0.1;
/// All collectors are asked for the first time within this, or a fifth of their interval if that is shorter.
const FIRST_WITHIN: Duration = Duration::from_secs(60);
/// What is due within this share of its interval is asked together with what is due now, ...
const SLACK: f64 = 0.1;
/// ... but no earlier than this.
const SLACK_MAX: Duration = Duration::from_secs(5);
/// The same inside databases, when they must be opened anyway.
const OPENING_SLACK: f64 = 0.25;
const OPENING_SLACK_MAX: Duration = Duration::from_secs(60);
/// What opening one more database costs the server: process, log-in, and its first look at the catalogue.
const CONNECTION_COST: Duration = Duration::from_millis(6);
/// The first pause before an unreachable server is tried again; it doubles.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// A clock that is so much later than anything was planned was set, or the machine slept.
const JUMP: SignedDuration = SignedDuration::from_secs(120);
/// A round that takes so many times longer than usual, and at least so much longer, is a sign of a server in trouble.
const SLOW_FACTOR: u32 = 5;
const SLOW_LEAST: Duration = Duration::from_millis(250);
const PRESSURE_MAX: f64 = 8.0;
/// The share of the budget that is planned for; the rest is for what nobody can plan.
const PLANNED: f64 = 0.9;
/// The share of the budget that sampling every second may use.
const SAMPLING: f64 = 0.4;
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
const SAMPLE_INTERVAL_MAX: Duration = Duration::from_secs(10);
/// How fast intervals become shorter again, so that they do not swing.
const RELAX: f64 = 0.3;
/// Only what is asked so many times less often is worth a word.
const NOTABLE: f64 = 1.2;
const NOTED_MAX: usize = 3;

/// When to ask which collector of one instance.
#[derive(Debug)]
pub struct Schedule {
    entries: BTreeMap<String, Entry>,
    budget_percent: f64,
    seed: u64,
    /// The latest time that anybody told.
    now: Timestamp,
    /// When, and after how many attempts, to try a server that does not answer.
    retry: Option<Retry>,
    /// How many times less often everything but the essential is asked because the server is in trouble.
    pressure: f64,
    known: Option<Known>,
    databases: usize,
    sampling: Moving,
    sample_cost: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Timestamp,
    attempts: u32,
}

/// What makes a server another one than before.
#[derive(Debug, PartialEq)]
struct Known {
    version: u32,
    role: Role,
    epoch: Epoch,
}

impl Known {
    fn of(server: &Server) -> Known {
        Known {
            version: server.version,
            role: server.role,
            epoch: server.epoch.clone(),
        }
    }
}

impl Schedule {
    /// Plans to ask `collectors`, all for the first time within a minute, the essential ones at once.
    ///
    /// `budget_percent` is the share of one core of the server that asking may use. Instances with different seeds are
    /// not asked at the same moments. Samples and derived collectors are no matter of this plan and are left out.
    pub fn new<'a>(
        collectors: impl Iterator<Item = &'a Collector>,
        budget_percent: f64,
        seed: u64,
        now: Timestamp,
    ) -> Schedule {
        let mut schedule = Schedule {
            entries: BTreeMap::new(),
            budget_percent,
            seed,
            now,
            retry: None,
            pressure: 1.0,
            known: None,
            databases: 0,
            sampling: Moving::new(now),
            sample_cost: Duration::ZERO,
        };
        let asked = collectors.filter(|collector| {
            collector.name != SAMPLES && collector.header.scope != Scope::Derived
        });
        for collector in asked {
            let header = &collector.header;
            schedule.add(&collector.name, Some(header.scope), header.interval);
        }
        schedule
    }

    /// Plans to ask something that is no collector too, such as one of the user's questions or a backup place.
    ///
    /// [`Schedule::due`] names it; its caller puts only what is named into the request.
    pub fn also(&mut self, name: &str, interval: Duration) {
        self.add(name, None, interval);
    }

    /// Returns what to ask now, and counts it as asked.
    pub fn due(&mut self, now: Timestamp) -> BTreeSet<String> {
        self.tick(now);
        if self.retry.is_some_and(|retry| now < retry.at) {
            return BTreeSet::new();
        }
        let is_due = |entry: &Entry| entry.due_at.is_some_and(|at| at <= now);
        if !self.entries.values().any(is_due) {
            return BTreeSet::new();
        }
        let opening = |entry: &Entry| entry.scope == Some(Scope::Database) && is_due(entry);
        let opens = self.databases > 1 && self.entries.values().any(opening);
        let (pressure, seed) = (self.pressure, self.seed);
        let mut due = BTreeSet::new();
        for (name, entry) in &mut self.entries {
            let slack = slack(entry, pressure, opens);
            if entry.due_at.is_some_and(|at| at <= after(now, slack)) {
                entry.asked(now, pressure, jitter(seed, entry.interval, now));
                due.insert(name.clone());
            }
        }
        due
    }

    /// Returns when something is due next. Whoever sleeps until then wakes at least every ten seconds to ask
    /// [`Schedule::due`], because only then it notices that the clock was set.
    pub fn next_at(&self) -> Timestamp {
        let next = self.entries.values().filter_map(|entry| entry.due_at).min();
        let next = next.unwrap_or_else(|| after(self.now, FIRST_WITHIN));
        self.retry.map_or(next, |retry| next.max(retry.at))
    }

    /// Learns from a round: costs, failures, and whether the server is there and the same as before.
    pub fn record(&mut self, facts: &Facts, now: Timestamp) {
        self.tick(now);
        let rounds = rounds(facts);
        match &facts.server {
            Err(_) => self.unreachable(now),
            Ok(server) => self.reached(server, now),
        }
        if !facts.databases.is_empty() {
            self.databases = facts.databases.len();
        }
        self.feel(&rounds);
        let overhead = self.overhead(facts, &rounds);
        for (name, round) in &rounds {
            let entry = self.entry(name, round.on_server());
            let inside = entry.scope == Some(Scope::Database);
            let overhead = if inside { overhead } else { Duration::ZERO };
            entry.record(round, overhead, now);
        }
        self.stretch();
        for name in rounds.keys() {
            let (pressure, seed) = (self.pressure, self.seed);
            let Some(entry) = self.entries.get_mut(*name) else {
                continue;
            };
            let jitter = jitter(seed, entry.interval, now);
            entry.due_again(pressure, jitter);
        }
        if facts.server.is_err() {
            self.hurry_essential();
        }
    }

    /// Learns what a sample of the active sessions cost.
    pub fn sampled(&mut self, sample: &Snapshot, now: Timestamp) {
        self.tick(now);
        let cost = sample.cost.elapsed;
        self.sampling.add(cost, now);
        self.sample_cost = match self.sample_cost {
            Duration::ZERO => cost,
            known => known.mul_f64(0.9) + cost.mul_f64(0.1),
        };
    }

    /// Returns how often to sample the active sessions: every second, less often when a sample costs more than its
    /// share of the budget.
    pub fn sample_interval(&self) -> Duration {
        let share = self.budget_percent / 100.0 * SAMPLING;
        let needed = self.sample_cost.as_secs_f64() / share.max(f64::MIN_POSITIVE);
        let needed = needed.min(SAMPLE_INTERVAL_MAX.as_secs_f64());
        Duration::from_secs_f64(needed).max(SAMPLE_INTERVAL)
    }

    /// Returns how each collector is doing, by name.
    pub fn status(&self) -> Vec<CollectorStatus> {
        let entries = self.entries.values();
        let mut all: Vec<CollectorStatus> = entries
            .map(|entry| entry.status(self.pressure, self.now))
            .collect();
        if self.sample_cost > Duration::ZERO {
            all.push(CollectorStatus {
                name: SAMPLES.to_owned(),
                interval: SAMPLE_INTERVAL,
                interval_now: self.sample_interval(),
                elapsed: self.sample_cost,
                percent: self.sampling.percent(self.now),
                ..CollectorStatus::default()
            });
            all.sort_by(|a, b| a.name.cmp(&b.name));
        }
        all
    }

    /// Returns what asking costs the server against what it may cost, and why something is asked less often.
    pub fn budget(&self) -> BudgetStatus {
        let on_server = self.entries.values().filter(|entry| entry.on_server());
        let asking: f64 = on_server
            .clone()
            .map(|entry| entry.used.percent(self.now))
            .sum();
        let stretch = on_server.map(|entry| entry.stretch * self.pressure_on(entry));
        BudgetStatus {
            limit_percent: self.budget_percent,
            used_percent: asking + self.sampling.percent(self.now),
            stretch: stretch.fold(1.0, f64::max),
            note: self.note(),
        }
    }

    /// Makes everything due at once, such as when somebody asks for it.
    pub fn wake(&mut self, now: Timestamp) {
        self.tick(now);
        for entry in self.entries.values_mut() {
            entry.hurry(now);
        }
        if let Some(retry) = &mut self.retry {
            retry.at = retry.at.min(now);
        }
    }

    /// Makes due what tells whether the server is there, such as after a connection was lost; everything else keeps what
    /// it was slowed down to, so that a statement that breaks connections is not asked again and again.
    pub fn wake_essential(&mut self, now: Timestamp) {
        self.tick(now);
        for entry in self.entries.values_mut().filter(|entry| entry.essential) {
            entry.hurry(now);
        }
    }

    fn add(&mut self, name: &str, scope: Option<Scope>, interval: Duration) {
        let mut entry = Entry::new(name, scope, interval, self.now);
        entry.due_at = Some(self.first_at(&entry));
        self.entries.insert(name.to_owned(), entry);
    }

    /// Returns when something is asked first after a beginning.
    fn first_at(&self, entry: &Entry) -> Timestamp {
        if entry.essential {
            return self.now;
        }
        let within = (entry.interval / 5).min(FIRST_WITHIN);
        let share = share(self.seed, entry.interval.as_millis());
        after(self.now, within.mul_f64(share))
    }

    /// Returns the entry of what was asked; something that nobody planned is counted, and never due.
    fn entry(&mut self, name: &str, on_server: bool) -> &mut Entry {
        let now = self.now;
        let scope = if on_server { None } else { Some(Scope::Host) };
        let entry = self.entries.entry(name.to_owned());
        entry.or_insert_with(|| Entry::new(name, scope, Duration::ZERO, now))
    }

    /// Follows the clock; one that was set takes all plans along.
    fn tick(&mut self, now: Timestamp) {
        let planned = self.now.max(self.next_at());
        let late = now.duration_since(planned);
        let by = if now < self.now {
            now.duration_since(self.now)
        } else if late > JUMP {
            late
        } else {
            SignedDuration::ZERO
        };
        if !by.is_zero() {
            for entry in self.entries.values_mut() {
                entry.shift(by);
            }
            if let Some(retry) = &mut self.retry {
                retry.at = shifted(retry.at, by);
            }
            self.sampling.shift(by);
        }
        self.now = now;
    }

    /// Plans the next attempt to reach a server that does not answer.
    fn unreachable(&mut self, now: Timestamp) {
        let attempts = self.retry.map_or(0, |retry| retry.attempts);
        let pause = RETRY_FIRST
            .saturating_mul(1 << attempts.min(10))
            .min(RETRY_MAX);
        let pause = pause.mul_f64(1.0 - JITTER * 2.0 * share(self.seed, now.as_millisecond()));
        self.retry = Some(Retry {
            at: after(now, pause),
            attempts: attempts.saturating_add(1),
        });
    }

    /// A server that answers again, or is another one than before, is asked everything soon, but not all at once.
    fn reached(&mut self, server: &Server, now: Timestamp) {
        let known = Known::of(server);
        let anew = self.known.as_ref().is_some_and(|before| *before != known);
        if anew || self.retry.take().is_some() {
            let first: Vec<Timestamp> = self
                .entries
                .values()
                .map(|entry| self.first_at(entry).max(now))
                .collect();
            for (entry, at) in self.entries.values_mut().zip(first) {
                entry.begin_anew();
                entry.hurry(at);
            }
        }
        self.known = Some(known);
    }

    /// Makes what tells whether the server is there due at the next attempt.
    fn hurry_essential(&mut self) {
        if let Some(retry) = self.retry {
            let essential = self.entries.values_mut().filter(|entry| entry.essential);
            essential.for_each(|entry| entry.hurry(retry.at));
        }
    }

    /// Notices that the server is in trouble, and that it no longer is.
    fn feel(&mut self, rounds: &BTreeMap<&str, Round<'_>>) {
        let on_server = rounds.iter().filter_map(|(name, round)| {
            let entry = self.entries.get(*name)?;
            Some((entry.usual?, round)).filter(|_| entry.on_server())
        });
        let usual: Duration = on_server.clone().map(|(cost, _)| cost).sum();
        let actual: Duration = on_server.clone().map(|(_, round)| round.elapsed).sum();
        let timeouts = on_server.filter(|(_, round)| round.timed_out()).count();
        let slow = actual > usual * SLOW_FACTOR && actual > usual + SLOW_LEAST;
        self.pressure = if slow || timeouts > 1 {
            (self.pressure * 2.0).min(PRESSURE_MAX)
        } else {
            (self.pressure / 2.0).max(1.0)
        };
    }

    /// Returns what each collector inside databases shares of the cost of opening them.
    fn overhead(&self, facts: &Facts, rounds: &BTreeMap<&str, Round<'_>>) -> Duration {
        let home = facts.server.as_ref().map(|server| &server.database);
        let sightings = facts.sightings.iter();
        let opened: BTreeSet<&String> = sightings
            .filter_map(|sighting| sighting.database.as_ref())
            .filter(|database| home.is_ok_and(|home| home != *database))
            .collect();
        let inside = |name: &&str| {
            let entry = self.entries.get(*name);
            entry.is_some_and(|entry| entry.scope == Some(Scope::Database))
        };
        let inside = rounds.keys().filter(|name| inside(name)).count();
        let opened = u32::try_from(opened.len()).unwrap_or(u32::MAX);
        let sharers = u32::try_from(inside.max(1)).unwrap_or(u32::MAX);
        CONNECTION_COST.saturating_mul(opened) / sharers
    }

    /// Says by how much each interval must grow to keep the budget.
    fn stretch(&mut self) {
        let loads: Vec<Load> = self.entries.values().map(load).collect();
        let limit = (self.budget_percent - self.sampling_percent()) * PLANNED;
        let wanted = stretches(&loads, limit.max(0.0));
        for (entry, wanted) in self.entries.values_mut().zip(wanted) {
            entry.stretch = if wanted >= entry.stretch {
                wanted
            } else {
                let relaxed = entry.stretch + (wanted - entry.stretch) * RELAX;
                // Near enough is there, else it would never arrive.
                if relaxed < wanted * 1.01 {
                    wanted
                } else {
                    relaxed
                }
            };
        }
    }

    /// Returns what sampling costs at its present interval.
    fn sampling_percent(&self) -> f64 {
        100.0 * self.sample_cost.as_secs_f64() / self.sample_interval().as_secs_f64()
    }

    fn pressure_on(&self, entry: &Entry) -> f64 {
        if entry.essential { 1.0 } else { self.pressure }
    }

    /// Explains longer intervals to people.
    fn note(&self) -> Option<String> {
        let mut longer: Vec<&Entry> = self.entries.values().collect();
        longer.retain(|entry| entry.stretch >= NOTABLE);
        longer.sort_by(|a, b| b.stretch.total_cmp(&a.stretch));
        let mut notes = Vec::new();
        if self.pressure > 1.0 {
            notes.push(format!(
                "the server answers slowly: all but the essential is asked {} times less often",
                self.pressure
            ));
        }
        if !longer.is_empty() {
            let named = longer.iter().take(NOTED_MAX);
            let named: Vec<String> = named.map(|entry| entry.less_often(self.pressure)).collect();
            let others = match longer.len().saturating_sub(NOTED_MAX) {
                0 => String::new(),
                others => format!(" and {others} more"),
            };
            notes.push(format!(
                "to keep {} % of one core, less often than their intervals: {}{others}",
                self.budget_percent,
                named.join(", ")
            ));
        }
        let at_the_end =
            !longer.is_empty() && longer.iter().all(|entry| entry.stretch >= entry.most());
        if at_the_end {
            notes.push("even so the budget may not be kept: raise serve.budget_percent".to_owned());
        }
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

fn load(entry: &Entry) -> Load {
    let cost = entry.cost.unwrap_or_default().as_secs_f64();
    let interval = entry.interval.as_secs_f64();
    let counts = entry.on_server() && interval > 0.0;
    Load {
        percent: if counts { 100.0 * cost / interval } else { 0.0 },
        urgency: match entry.interval.as_secs() {
            ..=15 => 4.0,
            16..=60 => 2.0,
            _ => 1.0,
        },
        most: entry.most(),
    }
}

/// Adds up what a round saw, by collector; the history of sessions is counted sample by sample.
fn rounds(facts: &Facts) -> BTreeMap<&str, Round<'_>> {
    let mut rounds: BTreeMap<&str, Round<'_>> = BTreeMap::new();
    for sighting in facts.sightings.iter().filter(|s| s.collector != HISTORY) {
        rounds.entry(&sighting.collector).or_default().add(sighting);
    }
    rounds
}

/// Returns how much earlier than planned something may be asked in company.
fn slack(entry: &Entry, pressure: f64, opens: bool) -> Duration {
    let interval = entry.interval_now(pressure);
    // What is asked less often to save must not be asked more often again to save.
    let opens = opens && entry.scope == Some(Scope::Database) && interval == entry.interval;
    if opens {
        interval.mul_f64(OPENING_SLACK).min(OPENING_SLACK_MAX)
    } else {
        interval.mul_f64(SLACK).min(SLACK_MAX)
    }
}

/// Returns by what to multiply an interval: the same for all of one interval that are asked at one moment, so that
/// they stay together.
fn jitter(seed: u64, interval: Duration, now: Timestamp) -> f64 {
    let moment = now.as_millisecond().cast_unsigned();
    1.0 - JITTER + 2.0 * JITTER * share(seed ^ moment, interval.as_millis())
}

/// Returns a number from 0 up to but not including 1 that depends on both, and looks random.
fn share(seed: u64, what: impl TryInto<u64>) -> f64 {
    let what = what.try_into().unwrap_or(0);
    let mut bits = seed
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(what.wrapping_mul(0xD1B5_4A32_D192_ED03));
    for _ in 0..2 {
        bits = (bits ^ (bits >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    }
    ((bits ^ (bits >> 29)) >> 11) as f64 / (1_u64 << 53) as f64
}

fn after(at: Timestamp, duration: Duration) -> Timestamp {
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    shifted(at, duration)
}

fn shifted(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(at)
}
