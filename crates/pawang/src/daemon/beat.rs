//! Who still moves: every task and thread says so, and the watchdog believes nobody who is silent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Whoever is silent for longer than this is stuck: no round and no flush may take so long.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(240);

/// The last sign of life of one task or thread.
pub(super) struct Beat {
    begun: Instant,
    milliseconds: AtomicU64,
}

impl Default for Beat {
    fn default() -> Beat {
        Beat {
            begun: Instant::now(),
            milliseconds: AtomicU64::new(0),
        }
    }
}

impl Beat {
    /// Says that its task moves.
    pub(super) fn mark(&self) {
        let elapsed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.milliseconds.store(elapsed, Ordering::Relaxed);
    }

    /// Returns for how long its task has not moved.
    pub(super) fn silence(&self) -> Duration {
        let last = Duration::from_millis(self.milliseconds.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(last)
    }
}
