//! How one collector is doing: when it is due, what it costs, and why it is asked less often.

use std::time::Duration;

use pawang_core::{Blind, Missing, Sighting, Timestamp};
use pawang_store::live::CollectorStatus;

use super::after;
use super::moving::Moving;
use super::stretch::STRETCH_MAX;
use crate::Scope;

/// Never asked less often to save: whether the server is there, and who makes whom wait.
const ESSENTIAL: [&str; 8] = [
    "server",
    "sessions",
    "activity",
    "blocking",
    "database",
    "replication",
    "recovery",
    "wal-receiver",
];
/// Collectors that cannot see anything, such as for want of an extension, are asked at most so often.
const RARE: Duration = Duration::from_secs(300);
/// The same for want of a privilege: each refusal is an ERROR in the server's log. Asking all now (`wake`) tries at once.
const DENIED: Duration = Duration::from_secs(6 * 3600);
/// An interval that doubles after every failure stops at this, unless it was longer anyway.
const BACK_OFF_MAX: Duration = Duration::from_secs(900);
/// The same for essential ones.
const BACK_OFF_ESSENTIAL_MAX: Duration = Duration::from_secs(60);
const DOUBLINGS_MAX: u32 = 10;
/// No interval becomes longer by pressure or budget, unless it was longer anyway.
const INTERVAL_MAX: Duration = Duration::from_secs(6 * 3600);
/// How much the newest cost counts against what was known.
const NEWEST: f64 = 0.3;
/// The same for what is usual.
const NEWEST_OF_USUAL: f64 = 0.05;

/// One collector, or one of the user's questions, of one instance.
#[derive(Debug)]
pub(super) struct Entry {
    name: String,
    pub(super) scope: Option<Scope>,
    pub(super) interval: Duration,
    pub(super) due_at: Option<Timestamp>,
    pub(super) essential: bool,
    /// How many times longer its interval is, to keep the budget.
    pub(super) stretch: f64,
    /// What asking costs, smoothed.
    pub(super) cost: Option<Duration>,
    /// What asking costs in ordinary times, which what happens now changes slowly.
    pub(super) usual: Option<Duration>,
    pub(super) used: Moving,
    asked_at: Option<Timestamp>,
    elapsed: Duration,
    rows: usize,
    runs: u64,
    failures: u64,
    blind: Option<Blind>,
    /// How often its interval is doubled because it fails.
    doublings: u32,
    /// The shortest interval while it cannot see anything.
    rare: Duration,
}

/// What one round saw of a collector, all its databases together.
#[derive(Debug, Default)]
pub(super) struct Round<'a> {
    pub(super) elapsed: Duration,
    pub(super) rows: usize,
    seen: bool,
    of_files: bool,
    timed_out: bool,
    blind: Option<&'a Blind>,
}

/// How a reason begins that says why a statement was not even sent.
pub(crate) const NOT_ASKED: &str = "not asked";

impl<'a> Round<'a> {
    /// Adds one sighting.
    pub(super) fn add(&mut self, sighting: &'a Sighting) {
        match &sighting.seen {
            Ok(snapshot) => {
                self.elapsed += snapshot.cost.elapsed;
                self.rows += snapshot.rows.len();
                self.seen = true;
                self.of_files |= snapshot.epoch.is_none();
            }
            Err(Missing::Blind(blind)) => {
                // What was not asked for want of time cost nothing itself.
                if let Blind::Timeout { limit_ms, what } = blind
                    && !what.starts_with(NOT_ASKED)
                {
                    self.elapsed += Duration::from_millis(*limit_ms);
                    self.timed_out = true;
                }
                self.timed_out |= matches!(blind, Blind::Unreachable { .. });
                self.blind = self.blind.or(Some(blind));
            }
            Err(Missing::NotApplicable(_)) => {}
        }
    }

    /// Says whether a server was asked, as opposed to files.
    pub(super) fn on_server(&self) -> bool {
        !self.of_files
    }

    /// Says whether a statement was cancelled for its length, or its connection lost.
    pub(super) fn timed_out(&self) -> bool {
        self.timed_out
    }
}

impl Entry {
    pub(super) fn new(
        name: &str,
        scope: Option<Scope>,
        interval: Duration,
        now: Timestamp,
    ) -> Entry {
        Entry {
            name: name.to_owned(),
            scope,
            interval,
            due_at: None,
            essential: ESSENTIAL.contains(&name),
            stretch: 1.0,
            cost: None,
            usual: None,
            used: Moving::new(now),
            asked_at: None,
            elapsed: Duration::ZERO,
            rows: 0,
            runs: 0,
            failures: 0,
            blind: None,
            doublings: 0,
            rare: Duration::ZERO,
        }
    }

    /// Says whether asking it costs the server anything, as opposed to its host, pooler or agent.
    pub(super) fn on_server(&self) -> bool {
        matches!(self.scope, None | Some(Scope::Server | Scope::Database))
    }

    /// Returns the interval in force under a pressure, which is 1 when there is none.
    pub(super) fn interval_now(&self, pressure: f64) -> Duration {
        let pressure = if self.essential || !self.on_server() {
            1.0
        } else {
            pressure
        };
        let longer = (self.stretch * pressure).min(self.most());
        let stretched = self.interval.mul_f64(longer);
        let doubled = self.interval.saturating_mul(1 << self.doublings);
        let doubled = doubled.min(if self.essential {
            BACK_OFF_ESSENTIAL_MAX
        } else {
            BACK_OFF_MAX
        });
        self.interval.max(stretched).max(doubled).max(self.rare)
    }

    /// Returns how many times longer its interval may become to save.
    pub(super) fn most(&self) -> f64 {
        if self.essential || self.interval.is_zero() {
            return 1.0;
        }
        let most = INTERVAL_MAX.as_secs_f64() / self.interval.as_secs_f64();
        most.clamp(1.0, STRETCH_MAX)
    }

    /// Records that it is asked now, and when it is due again.
    pub(super) fn asked(&mut self, now: Timestamp, pressure: f64, jitter: f64) {
        self.asked_at = Some(now);
        self.due_again(pressure, jitter);
    }

    /// Makes it due again, counted from when it was last asked.
    pub(super) fn due_again(&mut self, pressure: f64, jitter: f64) {
        let interval = self.interval_now(pressure).mul_f64(jitter);
        let from = self.asked_at;
        if self.due_at.is_some() {
            self.due_at = from.map(|from| after(from, interval)).or(self.due_at);
        }
    }

    /// Makes it due no later than `at`.
    pub(super) fn hurry(&mut self, at: Timestamp) {
        self.due_at = self.due_at.map(|due| due.min(at));
    }

    /// Forgets why it was asked less often: the server is another one now.
    pub(super) fn begin_anew(&mut self) {
        self.doublings = 0;
        self.rare = Duration::ZERO;
    }

    /// Records what a round saw; `overhead` is what it cost beyond its own statements.
    pub(super) fn record(&mut self, round: &Round<'_>, overhead: Duration, now: Timestamp) {
        self.runs += 1;
        self.asked_at = Some(self.asked_at.unwrap_or(now));
        self.elapsed = round.elapsed;
        self.rows = round.rows;
        self.blind = round.blind.cloned();
        self.failures += u64::from(round.blind.is_some());
        self.rare = match round.blind {
            _ if round.seen || round.timed_out => Duration::ZERO,
            Some(Blind::NoPrivilege { .. }) => DENIED,
            _ => RARE,
        };
        self.doublings = if round.timed_out {
            (self.doublings + 1).min(DOUBLINGS_MAX)
        } else {
            self.doublings / 2
        };
        let spent = round.elapsed + overhead;
        self.cost = Some(smoothed(self.cost, spent, NEWEST));
        self.usual = Some(smoothed(self.usual, round.elapsed, NEWEST_OF_USUAL));
        self.used.add(spent, now);
    }

    /// Follows a clock that was set.
    pub(super) fn shift(&mut self, by: jiff::SignedDuration) {
        let shift = |at: Option<Timestamp>| at.map(|at| super::shifted(at, by));
        self.due_at = shift(self.due_at);
        self.asked_at = shift(self.asked_at);
        self.used.shift(by);
    }

    /// Says for people how often it is asked instead of how often it should be.
    pub(super) fn less_often(&self, pressure: f64) -> String {
        let (now, wanted) = (self.interval_now(pressure), self.interval);
        let seconds = now.as_secs_f64().round();
        format!(
            "{} every {seconds} s instead of {} s",
            self.name,
            wanted.as_secs()
        )
    }

    pub(super) fn status(&self, pressure: f64, now: Timestamp) -> CollectorStatus {
        CollectorStatus {
            name: self.name.clone(),
            interval: self.interval,
            interval_now: self.interval_now(pressure),
            asked_at: self.asked_at,
            elapsed: self.elapsed,
            rows: self.rows,
            percent: self.used.percent(now),
            runs: self.runs,
            failures: self.failures,
            blind: self.blind.clone(),
        }
    }
}

fn smoothed(known: Option<Duration>, newest: Duration, share: f64) -> Duration {
    let known = known.unwrap_or(newest);
    known.mul_f64(1.0 - share) + newest.mul_f64(share)
}
