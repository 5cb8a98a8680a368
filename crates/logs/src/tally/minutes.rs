//! Numbers by time: minutes while counting, at most some hundred equal buckets in the report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::Series;

/// Most buckets that are kept; beyond, they become wider.
const BUCKETS_MAX: usize = 50_000;
/// Most values of a series in the report.
const VALUES_MAX: i64 = 300;
/// Microseconds of a minute.
const MINUTE: i64 = 60_000_000;
/// Widths of the kept buckets in minutes, each a multiple of the one before.
const WIDTHS: [i64; 6] = [1, 10, 60, 360, 1440, 10_080];
/// Steps of a series in minutes; after them a week's doubles.
const STEPS: [i64; 13] = [
    1, 5, 10, 15, 30, 60, 180, 360, 720, 1440, 2880, 4320, 10_080,
];

/// Numbers by minute: their sum, or with `PEAK` the highest.
///
/// A log of more than 50,000 different minutes (five weeks) is kept by ten minutes, then by hours and so on. The width depends on the
/// minutes alone, so not on the order or the parts in which they came.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Minutes<const PEAK: bool = false> {
    /// Position in [`WIDTHS`].
    width: usize,
    buckets: BTreeMap<i64, u64>,
    /// The bucket that was added to last, not in `buckets` yet.
    current: (i64, u64),
}

impl<const PEAK: bool> Minutes<PEAK> {
    /// Adds a number at an instant.
    #[inline]
    pub(crate) fn add(&mut self, at: i64, value: u64) {
        let width = WIDTHS[self.width] * MINUTE;
        let start = self.current.0.wrapping_mul(width);
        if self.current.1 > 0 && at.wrapping_sub(start) as u64 >= width as u64
            || self.current.1 == 0
        {
            self.flush();
            self.current.0 = at.div_euclid(WIDTHS[self.width] * MINUTE);
        }
        self.current.1 = Self::join(self.current.1, value);
    }

    #[cold]
    #[inline(never)]
    fn flush(&mut self) {
        let (bucket, value) = std::mem::take(&mut self.current);
        if value > 0 {
            Self::put(&mut self.buckets, bucket, value);
            self.widen();
        }
    }

    fn widen(&mut self) {
        while self.buckets.len() > BUCKETS_MAX && self.width + 1 < WIDTHS.len() {
            self.widen_to(self.width + 1);
        }
    }

    fn widen_to(&mut self, width: usize) {
        if width == self.width {
            return;
        }
        let factor = WIDTHS[width] / WIDTHS[self.width];
        let mut buckets = BTreeMap::new();
        for (&bucket, &value) in &self.buckets {
            Self::put(&mut buckets, bucket.div_euclid(factor), value);
        }
        self.buckets = buckets;
        self.width = width;
    }

    /// Adds all numbers of another.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        self.flush();
        other.flush();
        let width = self.width.max(other.width);
        self.widen_to(width);
        other.widen_to(width);
        for (bucket, value) in other.buckets {
            Self::put(&mut self.buckets, bucket, value);
        }
        self.widen();
    }

    fn put(buckets: &mut BTreeMap<i64, u64>, bucket: i64, value: u64) {
        let both = buckets.entry(bucket).or_default();
        *both = Self::join(*both, value);
    }

    /// Returns what two numbers of one bucket come to.
    #[inline]
    fn join(one: u64, other: u64) -> u64 {
        if PEAK {
            one.max(other)
        } else {
            one.saturating_add(other)
        }
    }

    /// Returns the numbers as a series of their own.
    pub(crate) fn series(&self) -> Series {
        let span = self.span();
        self.series_over(span)
    }

    /// Returns the numbers as a series that covers at least a span, so that several are drawn over one axis.
    pub(crate) fn series_over(&self, span: Option<Span>) -> Series {
        let Some(span) = span else {
            return Series::default();
        };
        let step = span.step();
        let first = span.first.div_euclid(step);
        let last = span.last.div_euclid(step);
        let mut values = vec![0_u64; usize::try_from(last - first + 1).unwrap_or(0)];
        let width = WIDTHS[self.width];
        let current = (self.current.1 > 0).then_some((&self.current.0, &self.current.1));
        for (bucket, value) in self.buckets.iter().chain(current) {
            let index = bucket.saturating_mul(width).div_euclid(step) - first;
            if let Some(sum) = usize::try_from(index)
                .ok()
                .and_then(|index| values.get_mut(index))
            {
                *sum = Self::join(*sum, *value);
            }
        }
        Series {
            start: first.saturating_mul(step).saturating_mul(60),
            step: step.saturating_mul(60),
            values,
        }
    }

    /// Returns the minutes that it covers.
    pub(crate) fn span(&self) -> Option<Span> {
        let current = (self.current.1 > 0).then_some(self.current.0);
        let first = self.buckets.keys().next().copied();
        let last = self.buckets.keys().next_back().copied();
        let width = WIDTHS[self.width];
        let first = [first, current].into_iter().flatten().min()?;
        let last = [last, current].into_iter().flatten().max()?;
        Some(Span {
            first: first.saturating_mul(width),
            last: last.saturating_mul(width),
            width,
        })
    }
}

/// The first and the last minute of some numbers, and how exact they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    first: i64,
    last: i64,
    width: i64,
}

impl Span {
    /// Returns the span that covers both.
    pub(crate) fn join(self, other: Span) -> Span {
        Span {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            width: self.width.max(other.width),
        }
    }

    /// Returns the length of a report's bucket in minutes.
    fn step(self) -> i64 {
        let fits = |step: &i64| {
            step % self.width == 0
                && self.last.div_euclid(*step) - self.first.div_euclid(*step) < VALUES_MAX
        };
        let weeks = std::iter::successors(Some(10_080_i64), |step| step.checked_mul(2));
        STEPS
            .into_iter()
            .chain(weeks)
            .find(fits)
            .unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(ats: &[i64]) -> Minutes {
        let mut minutes: Minutes = Minutes::default();
        for &at in ats {
            minutes.add(at, 1);
        }
        minutes
    }

    #[test]
    fn the_step_follows_from_the_span() {
        let series = of(&[0, 59_999_999, 60_000_000]).series();
        assert_eq!(
            (series.start, series.step, series.values),
            (0, 60, vec![2, 1])
        );
        let series = of(&[-1, 301 * MINUTE]).series();
        assert_eq!(
            (series.start, series.step, series.values.len()),
            (-300, 300, 62)
        );
        assert_eq!(of(&[]).series(), Series::default());
        let series = of(&[i64::MIN, i64::MAX]).series();
        assert!(series.values.len() <= 300 && series.values.iter().sum::<u64>() == 2);
    }

    #[test]
    fn many_minutes_become_wider_the_same_in_any_order() {
        let ats: Vec<i64> = (0..120_000).map(|minute| minute * MINUTE).collect();
        let forward = of(&ats);
        let mut parts = of(&ats[70_000..]);
        parts.absorb(of(&ats[..70_000]));
        assert_eq!(forward.series(), parts.series());
        assert_eq!(forward.width, 1);
        assert_eq!(forward.series().values.iter().sum::<u64>(), 120_000);
    }

    #[test]
    fn a_peak_is_the_highest_of_its_bucket_whatever_the_parts() {
        let (mut first, mut second) = (Minutes::<true>::default(), Minutes::default());
        for (at, value) in [(0, 5), (1, 9), (MINUTE, 2)] {
            first.add(at, value);
        }
        second.add(MINUTE, 7);
        first.absorb(second);
        assert_eq!(first.series().values, [9, 7]);
    }

    proptest! {
        #[test]
        fn parts_add_up(ats in prop::collection::vec(-100 * MINUTE..10_000 * MINUTE, 0..50), at in 0_usize..50) {
            let (left, right) = ats.split_at(at.min(ats.len()));
            let mut parts = of(left);
            parts.absorb(of(right));
            prop_assert_eq!(parts.series(), of(&ats).series());
        }
    }
}
