//! One-second samples of active sessions: when the next is due, which are shown, and when they are folded.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use pawang_core::{Snapshot, Timestamp};

/// After a sample that could not be taken, the next is tried so much later.
const PAUSE: Duration = Duration::from_secs(10);
/// Samples are folded over so much time.
pub(super) const FOLD_EVERY: Duration = Duration::from_secs(10);
/// Samples are shown for so long.
const SHOWN: Duration = Duration::from_secs(300);
/// Rows of all samples shown together: a server with thousands of busy sessions shows fewer samples.
const ROWS_MAX: usize = 4_000;

/// The samples of one instance.
pub(super) struct Sampling {
    next_at: Timestamp,
    folded_at: Timestamp,
    shown: VecDeque<Arc<Snapshot>>,
    rows: usize,
    /// Samples since the last fold.
    unfolded: Vec<Arc<Snapshot>>,
}

impl Sampling {
    /// Begins to sample.
    pub(super) fn new(now: Timestamp) -> Sampling {
        Sampling {
            next_at: now,
            folded_at: now,
            shown: VecDeque::new(),
            rows: 0,
            unfolded: Vec::new(),
        }
    }

    /// Says whether a sample is due; after the clock went back, it is.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        now >= self.next_at || after(now, PAUSE) < self.next_at
    }

    /// Returns how long to wait for the next sample.
    pub(super) fn wait(&self, now: Timestamp) -> Duration {
        Duration::try_from(self.next_at.duration_since(now)).unwrap_or_default()
    }

    /// Keeps a sample; the next one is due `every` later.
    pub(super) fn take(&mut self, sample: Arc<Snapshot>, every: Duration, now: Timestamp) {
        // On the grid of the first sample, so that a late one does not shift all that follow.
        let next = after(self.next_at, every);
        let behind = next <= now || next > after(now, every);
        self.next_at = if behind { after(now, every) } else { next };
        self.rows += sample.rows.len();
        self.shown.push_back(Arc::clone(&sample));
        self.unfolded.push(sample);
        while let Some(oldest) = self.shown.front() {
            let age = now.duration_since(oldest.at);
            let old = Duration::try_from(age).is_ok_and(|age| age > SHOWN);
            if !(old || self.rows > ROWS_MAX && self.shown.len() > 1) {
                break;
            }
            self.rows -= oldest.rows.len();
            self.shown.pop_front();
        }
    }

    /// Notes that a sample could not be taken.
    pub(super) fn miss(&mut self, now: Timestamp) {
        self.next_at = after(now, PAUSE);
    }

    /// Returns the samples that are to be folded now, if it is time.
    pub(super) fn unfolded(&mut self, now: Timestamp) -> Option<Vec<Arc<Snapshot>>> {
        let passed = Duration::try_from(now.duration_since(self.folded_at));
        // A clock that went back begins a new period.
        if passed.is_ok_and(|passed| passed < FOLD_EVERY) {
            return None;
        }
        self.folded_at = now;
        let samples = std::mem::take(&mut self.unfolded);
        (!samples.is_empty()).then_some(samples)
    }

    /// Returns the samples of the last minutes, oldest first.
    pub(super) fn shown(&self) -> Arc<[Arc<Snapshot>]> {
        self.shown.iter().cloned().collect()
    }
}

/// Returns a later time; the end of time where there is none.
pub(super) fn after(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use pawang_core::{Cost, Value};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(second: f64) -> Timestamp {
        Timestamp::from_millisecond((second * 1_000.0) as i64).unwrap()
    }

    fn sample(second: f64, rows: usize) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            collector: "activity-samples".to_owned(),
            database: None,
            at: at(second),
            epoch: None,
            cost: Cost::default(),
            columns: [].into(),
            rows: vec![vec![Value::Null]; rows],
        })
    }

    #[test]
    fn a_sample_is_taken_each_second_and_ten_are_folded() {
        let mut sampling = Sampling::new(at(0.0));
        let (mut taken, mut folds) = (0, Vec::new());
        for tenth in 0..=600 {
            // Ticks come late and never exactly.
            let now = at(f64::from(tenth) * 0.1 + 0.03);
            if sampling.is_due(now) {
                taken += 1;
                sampling.take(sample(f64::from(tenth) * 0.1, 1), SECOND, now);
            }
            if let Some(samples) = sampling.unfolded(now) {
                folds.push(samples.len());
            }
        }
        assert_eq!((taken, sampling.shown().len()), (61, 61));
        let whole = folds.iter().all(|count| (9..=11).contains(count));
        assert!(whole, "{folds:?}");
        assert_eq!(folds.len(), 6);
    }

    #[test]
    fn what_is_shown_is_bounded_by_time_and_rows() {
        let mut sampling = Sampling::new(at(0.0));
        for second in 0..1_000 {
            let second = f64::from(second);
            sampling.take(sample(second, 1), SECOND, at(second));
        }
        assert_eq!(sampling.shown().len(), 301);
        for second in 1_000..1_010 {
            let second = f64::from(second);
            sampling.take(sample(second, 5_000), SECOND, at(second));
        }
        assert_eq!(sampling.shown().len(), 1);
    }

    #[test]
    fn a_clock_that_jumps_stalls_nothing() {
        let mut sampling = Sampling::new(at(100_000.0));
        sampling.take(sample(100_000.0, 1), SECOND, at(100_000.0));
        assert!(!sampling.is_due(at(100_000.5)));
        assert!(sampling.is_due(at(10.0)), "a day back");
        sampling.take(sample(10.0, 1), SECOND, at(10.0));
        assert!(!sampling.is_due(at(10.5)));
        assert!(sampling.is_due(at(11.0)));
        assert!(sampling.unfolded(at(12.0)).is_some(), "a new period");
    }
}
