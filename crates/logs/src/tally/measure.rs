//! Durations and numbers over time that parts of a log can add to each other, exactly.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::{Durations, Series};

/// Bits of a duration that its bucket keeps, so that a percentile is at most 1/32 too high.
const BUCKET_BITS: u32 = 5;

/// Most buckets of a series in a report: a day of minutes.
pub(crate) const SERIES_BUCKETS_MAX: i64 = 1_500;

/// Steps of a series in seconds, each a multiple of the one before; after the last they double.
const STEPS: [i64; 7] = [60, 300, 900, 3_600, 21_600, 86_400, 604_800];

/// Many durations in microseconds: exact number, sum and maximum, and buckets for percentiles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    count: u64,
    total: u64,
    max: u64,
    buckets: BTreeMap<u16, u64>,
}

impl Spread {
    /// Adds one duration.
    pub(crate) fn add(&mut self, value: u64) {
        self.count += 1;
        self.total = self.total.saturating_add(value);
        self.max = self.max.max(value);
        *self.buckets.entry(bucket(value)).or_default() += 1;
    }

    /// Adds those of another part.
    pub(crate) fn absorb(&mut self, later: &Spread) {
        self.count += later.count;
        self.total = self.total.saturating_add(later.total);
        self.max = self.max.max(later.max);
        for (&bucket, count) in &later.buckets {
            *self.buckets.entry(bucket).or_default() += count;
        }
    }

    /// Returns how many there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Returns the number, the sum, the maximum and the percentiles.
    pub(crate) fn report(&self) -> Durations {
        Durations {
            count: self.count,
            total: self.total,
            max: self.max,
            p50: self.percentile(50),
            p95: self.percentile(95),
            p99: self.percentile(99),
        }
    }

    fn percentile(&self, percent: u64) -> u64 {
        let rank = u64::try_from((u128::from(self.count) * u128::from(percent)).div_ceil(100))
            .expect("a share of a u64 is one");
        let mut seen = 0;
        for (&bucket, count) in &self.buckets {
            seen += count;
            if seen >= rank && rank > 0 {
                return ceiling(bucket).min(self.max);
            }
        }
        0
    }
}

/// Returns the bucket of a value: exact below 32, then 32 buckets for each power of two.
fn bucket(value: u64) -> u16 {
    let shift = (63 - value.max(1).leading_zeros()).saturating_sub(BUCKET_BITS);
    let group = shift << BUCKET_BITS;
    u16::try_from(u64::from(group) + (value >> shift)).expect("59 groups of 32 and 32 more")
}

/// Returns the largest value of a bucket.
fn ceiling(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    let side = 1 << BUCKET_BITS;
    if bucket < side * 2 {
        return bucket;
    }
    let shift = bucket / side - 1;
    let top = u128::from(bucket - shift * side + 1) << shift;
    u64::try_from(top - 1).unwrap_or(u64::MAX)
}

/// Numbers per bucket of time, whose step grows with the span so that there are at most [`SERIES_BUCKETS_MAX`].
///
/// The step is the least that the whole span allows, so it does not depend on how the log was split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Track {
    step: i64,
    buckets: BTreeMap<i64, u64>,
}

impl Default for Track {
    fn default() -> Track {
        Track {
            step: STEPS[0],
            buckets: BTreeMap::new(),
        }
    }
}

impl Track {
    /// Adds a number at an instant in microseconds; what has no time is in no bucket.
    pub(crate) fn add(&mut self, at: Option<i64>, value: u64) {
        let Some(at) = at else { return };
        let seconds = at.div_euclid(1_000_000);
        let slot = self
            .buckets
            .entry(seconds.div_euclid(self.step))
            .or_default();
        *slot = slot.saturating_add(value);
        self.coarsen();
    }

    /// Adds those of another part.
    pub(crate) fn absorb(&mut self, mut later: Track) {
        while self.step < later.step {
            self.coarsen_once();
        }
        while later.step < self.step {
            later.coarsen_once();
        }
        for (bucket, value) in later.buckets {
            let slot = self.buckets.entry(bucket).or_default();
            *slot = slot.saturating_add(value);
        }
        self.coarsen();
    }

    /// Returns the series from the first bucket to the last.
    pub(crate) fn report(&self) -> Series {
        let (Some((&first, _)), Some((&last, _))) = (
            self.buckets.first_key_value(),
            self.buckets.last_key_value(),
        ) else {
            return Series::default();
        };
        let value = |bucket| self.buckets.get(&bucket).copied().unwrap_or(0);
        Series {
            start: first * self.step,
            step: self.step,
            values: (first..=last).map(value).collect(),
        }
    }

    fn coarsen(&mut self) {
        while let (Some((first, _)), Some((last, _))) = (
            self.buckets.first_key_value(),
            self.buckets.last_key_value(),
        ) && last - first >= SERIES_BUCKETS_MAX
        {
            self.coarsen_once();
        }
    }

    fn coarsen_once(&mut self) {
        let next = STEPS.iter().copied().find(|&step| step > self.step);
        let next = next.unwrap_or(self.step * 2);
        let factor = next / self.step;
        let mut buckets = BTreeMap::new();
        for (bucket, value) in &self.buckets {
            let slot: &mut u64 = buckets.entry(bucket.div_euclid(factor)).or_default();
            *slot = slot.saturating_add(*value);
        }
        self.buckets = buckets;
        self.step = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentiles_are_never_too_low() {
        let mut spread = Spread::default();
        for value in 1..=1_000 {
            spread.add(value);
        }
        let report = spread.report();
        assert_eq!(
            (report.count, report.total, report.max),
            (1_000, 500_500, 1_000)
        );
        assert!((500..=516).contains(&report.p50), "{}", report.p50);
        assert!((950..=980).contains(&report.p95), "{}", report.p95);
        assert_eq!(Spread::default().report(), Durations::default());
    }

    #[test]
    fn a_series_has_the_least_step_that_fits() {
        let mut track = Track::default();
        track.add(Some(0), 1);
        track.add(Some(59_999_999), 1);
        track.add(Some(120_000_000), 5);
        track.add(None, 9);
        let series = track.report();
        assert_eq!(
            (series.start, series.step, series.values),
            (0, 60, vec![2, 0, 5])
        );
        track.add(Some(86_400_000_000 * 3), 1);
        let series = track.report();
        assert_eq!((series.step, series.values.len()), (300, 865));
        assert_eq!(series.values[0], 7);
        track.add(Some(i64::MAX), 1);
        track.add(Some(i64::MIN), 1);
        assert!(track.report().values.len() <= 1_500);
    }

    proptest! {
        #[test]
        fn buckets_hold_their_values(value in any::<u64>()) {
            let top = ceiling(bucket(value));
            prop_assert!(top >= value);
            prop_assert!(u128::from(top - value) * 32 <= u128::from(value));
        }

        #[test]
        fn tracks_do_not_depend_on_the_split(
            times in proptest::collection::vec(-1_000_000_000_000_000_i64..1_000_000_000_000_000, 0..40),
            split in 0_usize..40,
        ) {
            let mut whole = Track::default();
            let (mut first, mut second) = (Track::default(), Track::default());
            for (index, &at) in times.iter().enumerate() {
                whole.add(Some(at), 1);
                if index < split { first.add(Some(at), 1) } else { second.add(Some(at), 1) }
            }
            first.absorb(second);
            prop_assert_eq!(first.report(), whole.report());
        }
    }
}
