//! The state machine of an alert's condition: a pure function of what it was, what was seen, the rule and the time.

use std::time::Duration;

use pawang_config::NoData;
use pawang_core::alert::{Condition, EventKind, Tally};
use pawang_core::{Level, Timestamp};

use crate::rule::Rule;

/// Good news waits at most so long, unless the rule says longer or the alert flaps.
///
/// A quarter more than the hour that trouble counts for, so that what is bad for an hour and good for an hour, sampled
/// every now and then, stays one alert.
const HOLD_MAX: Duration = Duration::from_secs(75 * 60);
/// An alert that cleared so often within [`FLAP_WITHIN`] flaps.
const FLAP_CLEARS: usize = 3;
const FLAP_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);
/// What cleared twice within so long will do so again: its good news waits as if it flapped.
const TWICE_WITHIN: Duration = Duration::from_secs(6 * 60 * 60);
/// Times of clearing that are remembered at most.
const CLEARS_MAX: usize = 16;

/// What one look told about one object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seen {
    /// A finding at this level (warning or critical), already held against baseline and batch windows.
    Bad {
        /// How bad.
        level: Level,
    },
    /// No finding. `held` is true when the value is still on the bad side of the clear threshold.
    Good {
        /// Whether the clear threshold still holds it.
        held: bool,
    },
    /// The check could not see.
    Blind,
    /// Nobody looked for longer than `stale_after`.
    Missing,
    /// The question does not arise any more: check switched off, instance removed, object gone with its check.
    Gone,
    /// Nothing was seen; only time went by.
    Nothing,
}

/// Returns the next state and what happened on the way.
///
/// Only samples make it worse, so that a stopped clock or a stopped worker raises nothing; only [`Condition::Recovering`]
/// also moves on by time alone.
pub fn step(
    before: &Condition,
    tally: &mut Tally,
    seen: Seen,
    rule: &Rule,
    now: Timestamp,
) -> (Condition, Vec<EventKind>) {
    let before = mend(before.clone(), tally, now);
    let mut step = Step {
        tally,
        rule,
        now,
        events: Vec::new(),
    };
    let after = match weigh(&before, seen, rule) {
        Seen::Nothing => step.wait(before),
        Seen::Blind => step.lose(before, false),
        Seen::Missing => step.lose(before, true),
        Seen::Gone => step.end(before),
        Seen::Bad { level } => {
            step.push(true);
            let before = step.find(before);
            step.bad(before, level)
        }
        Seen::Good { held } => {
            step.push(false);
            let before = step.find(before);
            step.good(before, held)
        }
    };
    (after, step.events)
}

/// Returns when `step` with [`Seen::Nothing`] has something to do, if ever.
pub fn next_at(condition: &Condition, _tally: &Tally, _rule: &Rule) -> Option<Timestamp> {
    match condition {
        Condition::Recovering { until, .. } => Some(*until),
        _ => None,
    }
}

/// Says whether it cleared so often within a day that it is told as flapping: its repeats come once a day.
pub fn flapping(tally: &Tally, now: Timestamp) -> bool {
    clears(tally, now).count() >= FLAP_CLEARS
}

/// Puts times that lie in the future back to now: a clock that went backwards must not make an alert wait for it.
fn mend(mut before: Condition, tally: &mut Tally, now: Timestamp) -> Condition {
    for at in tally
        .cleared_at
        .iter_mut()
        .chain(&mut tally.lower_since)
        .chain(&mut tally.bad_since)
    {
        *at = (*at).min(now);
    }
    match &mut before {
        Condition::Pending { since, .. } => *since = (*since).min(now),
        Condition::Recovering {
            good_since, until, ..
        } if *good_since > now => {
            *until = later(now, elapsed(*good_since, *until));
            *good_since = now;
        }
        Condition::Unknown { was, .. } | Condition::Stale { was, .. } => {
            *was = was.take().map(|was| Box::new(mend(*was, tally, now)));
        }
        _ => {}
    }
    before
}

/// Says what a sample means under the rule.
fn weigh(before: &Condition, seen: Seen, rule: &Rule) -> Seen {
    match seen {
        Seen::Nothing => Seen::Nothing,
        _ if !rule.enabled => Seen::Gone,
        Seen::Bad { level } if level < rule.level => Seen::Good { held: false },
        Seen::Blind => match rule.no_data {
            NoData::Keep => Seen::Blind,
            NoData::Fire => Seen::Bad {
                level: level_of(before).unwrap_or(Level::Warning).max(rule.level),
            },
            NoData::Resolve => Seen::Good { held: false },
        },
        other => other,
    }
}

fn level_of(condition: &Condition) -> Option<Level> {
    match condition {
        Condition::Pending { level, .. } => Some(*level),
        Condition::Unknown { was, .. } | Condition::Stale { was, .. } => level_of(was.as_ref()?),
        other => other.firing(),
    }
}

/// One step on its way.
struct Step<'a> {
    tally: &'a mut Tally,
    rule: &'a Rule,
    now: Timestamp,
    events: Vec<EventKind>,
}

impl Step<'_> {
    fn push(&mut self, bad: bool) {
        self.tally.samples = self.tally.samples << 1 | u64::from(bad);
        self.tally.count = (self.tally.count + 1).min(64);
    }

    /// Returns what it was before it could not be seen.
    fn find(&mut self, before: Condition) -> Condition {
        match before {
            Condition::Unknown { was, .. } | Condition::Stale { was, .. } => {
                self.events.push(EventKind::Found);
                was.map_or(Condition::Ok, |was| *was)
            }
            other => other,
        }
    }

    fn lose(&mut self, before: Condition, stale: bool) -> Condition {
        let (since, was) = match before {
            Condition::Resolved { .. } => return before,
            Condition::Unknown { since, was } | Condition::Stale { since, was } => (since, was),
            seen => {
                self.events.push(EventKind::Lost);
                let nothing = seen == Condition::Ok;
                (self.now, (!nothing).then(|| Box::new(seen)))
            }
        };
        if stale {
            Condition::Stale { since, was }
        } else {
            Condition::Unknown { since, was }
        }
    }

    fn wait(&mut self, before: Condition) -> Condition {
        match before {
            Condition::Recovering {
                since,
                level,
                good_since,
                until,
            } if until <= self.now => self.resolve(since, level, good_since),
            other => other,
        }
    }

    fn end(&mut self, before: Condition) -> Condition {
        self.tally.samples = 0;
        self.tally.count = 0;
        match before {
            Condition::Ok | Condition::Resolved { .. } => before,
            Condition::Pending { .. } => self.drop(),
            Condition::Firing { since, level } => self.resolve(since, level, self.now),
            Condition::Recovering {
                since,
                level,
                good_since,
                ..
            } => self.resolve(since, level, good_since),
            Condition::Unknown { was, .. } | Condition::Stale { was, .. } => {
                was.map_or(Condition::Ok, |was| self.end(*was))
            }
        }
    }

    fn bad(&mut self, before: Condition, level: Level) -> Condition {
        match before {
            Condition::Firing {
                since,
                level: fired,
            } => self.still(since, fired, level),
            Condition::Recovering {
                since,
                level: fired,
                ..
            } => {
                self.events.push(EventKind::Returned);
                self.still(since, fired, level)
            }
            Condition::Pending { since, .. } => self.judge(since, level),
            _ => {
                self.events.push(EventKind::Opened);
                self.tally.bad_since = Some(self.now);
                self.tally.worst = None;
                self.judge(self.now, level)
            }
        }
    }

    /// Fires what is bad for long enough and often enough.
    fn judge(&mut self, since: Timestamp, level: Level) -> Condition {
        let lasts = self.lasts(level);
        let (least, of) = self.rule.samples;
        let bad = (self.tally.samples & window(of)).count_ones();
        if elapsed(since, self.now) < lasts || bad < u32::from(least) {
            return Condition::Pending { since, level };
        }
        self.events.push(EventKind::Fired);
        self.tally.worst = Some(level);
        self.tally.lower_since = None;
        Condition::Firing {
            since: self.now,
            level,
        }
    }

    /// What fires is bad: at which level, from now on?
    fn still(&mut self, since: Timestamp, fired: Level, level: Level) -> Condition {
        if level >= fired {
            self.tally.lower_since = None;
        }
        if level == fired {
            return Condition::Firing { since, level };
        }
        if level > fired {
            if self.lasted() < self.lasts(level) {
                return Condition::Firing {
                    since,
                    level: fired,
                };
            }
            self.events.push(EventKind::Rose);
            self.tally.worst = self.tally.worst.max(Some(level));
            return Condition::Firing { since, level };
        }
        let lower_since = *self.tally.lower_since.get_or_insert(self.now);
        if elapsed(lower_since, self.now) < self.hold(lower_since) {
            return Condition::Firing {
                since,
                level: fired,
            };
        }
        self.events.push(EventKind::Fell);
        self.tally.lower_since = None;
        Condition::Firing { since, level }
    }

    fn good(&mut self, before: Condition, held: bool) -> Condition {
        match before {
            Condition::Firing { .. } if held => self.bad(before, self.rule.level),
            Condition::Recovering { .. } if held => self.bad(before, self.rule.level),
            Condition::Firing { since, level } => self.clear(since, level),
            Condition::Recovering { .. } => self.wait(before),
            Condition::Pending { .. } => {
                let (least, of) = self.rule.samples;
                let good = self.tally.samples.trailing_zeros();
                if good + u32::from(least) > u32::from(of) {
                    self.drop()
                } else {
                    before
                }
            }
            other => other,
        }
    }

    fn clear(&mut self, since: Timestamp, level: Level) -> Condition {
        self.events.push(EventKind::Recovering);
        // Good is less than any level; it counts when it comes back less bad.
        self.tally.lower_since.get_or_insert(self.now);
        let now = self.now;
        self.tally
            .cleared_at
            .retain(|at| elapsed(*at, now) < FLAP_WITHIN);
        self.tally.cleared_at.push(now);
        let surplus = self.tally.cleared_at.len().saturating_sub(CLEARS_MAX);
        self.tally.cleared_at.drain(..surplus);
        let mut hold = self.hold(now);
        let recent = |at: &&Timestamp| elapsed(**at, now) <= TWICE_WITHIN;
        let twice = self.tally.cleared_at.iter().filter(recent).count() >= 2;
        if flapping(self.tally, now) || twice {
            let gaps = self
                .tally
                .cleared_at
                .windows(2)
                .map(|pair| elapsed(pair[0], pair[1]));
            hold = hold.max((gaps.max().unwrap_or_default() * 2).min(FLAP_WITHIN));
        }
        let after = Condition::Recovering {
            since,
            level,
            good_since: now,
            until: later(now, hold),
        };
        self.wait(after)
    }

    fn resolve(&mut self, since: Timestamp, level: Level, at: Timestamp) -> Condition {
        self.events.push(EventKind::Resolved);
        self.tally.bad_since = None;
        self.tally.lower_since = None;
        let level = self.tally.worst.take().unwrap_or(level).max(level);
        Condition::Resolved { since, level, at }
    }

    fn drop(&mut self) -> Condition {
        self.events.push(EventKind::Dropped);
        self.tally.bad_since = None;
        Condition::Ok
    }

    fn lasts(&self, level: Level) -> Duration {
        if level >= Level::Critical {
            self.rule.lasts_critical
        } else {
            self.rule.lasts
        }
    }

    /// How long the trouble has lasted, from its first bad sample.
    fn lasted(&self) -> Duration {
        elapsed(self.tally.bad_since.unwrap_or(self.now), self.now)
    }

    /// How long good news waits: the longer it was bad until `end`, the longer.
    fn hold(&self, end: Timestamp) -> Duration {
        let lasted = elapsed(self.tally.bad_since.unwrap_or(end), end);
        let hold = lasted.saturating_add(lasted / 4).min(HOLD_MAX);
        hold.max(self.rule.keep_firing)
    }
}

fn clears(tally: &Tally, now: Timestamp) -> impl Iterator<Item = &Timestamp> {
    tally
        .cleared_at
        .iter()
        .filter(move |at| elapsed(**at, now) < FLAP_WITHIN)
}

/// The lowest `of` bits.
fn window(of: u8) -> u64 {
    u64::MAX >> (64 - u32::from(of.clamp(1, 64)))
}

/// The time from one instant to another; none when the clock went backwards.
fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

fn later(from: Timestamp, by: Duration) -> Timestamp {
    from.saturating_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
