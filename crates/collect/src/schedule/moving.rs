//! A share of time over the last minutes, without keeping what happened in them.

use std::time::Duration;

use pawang_core::Timestamp;

/// How long what was spent is remembered, on average.
const MEMORY: Duration = Duration::from_secs(300);
/// A share is taken of at least so much time, so that the first moments do not read as a heavy load.
const LEAST: Duration = Duration::from_secs(60);

/// Time that was spent, fading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moving {
    seconds: f64,
    began_at: Timestamp,
    at: Timestamp,
}

impl Moving {
    pub(super) fn new(now: Timestamp) -> Moving {
        Moving {
            seconds: 0.0,
            began_at: now,
            at: now,
        }
    }

    pub(super) fn add(&mut self, spent: Duration, now: Timestamp) {
        self.seconds = self.faded(now) + spent.as_secs_f64();
        self.at = self.at.max(now);
    }

    /// Returns the share of one core, in percent.
    pub(super) fn percent(&self, now: Timestamp) -> f64 {
        let age = seconds_between(self.began_at, now).max(LEAST.as_secs_f64());
        let memory = MEMORY.as_secs_f64();
        100.0 * self.faded(now) / (memory * (1.0 - (-age / memory).exp()))
    }

    /// Follows a clock that was set.
    pub(super) fn shift(&mut self, by: jiff::SignedDuration) {
        self.began_at = super::shifted(self.began_at, by);
        self.at = super::shifted(self.at, by);
    }

    fn faded(&self, now: Timestamp) -> f64 {
        let age = seconds_between(self.at, now).max(0.0);
        self.seconds * (-age / MEMORY.as_secs_f64()).exp()
    }
}

fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}
