//! Many numbers in little memory: a histogram whose buckets are at most 1/32 wide of what they hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::Durations;

/// Buckets of each power of two.
const SUB_BUCKETS: u64 = 32;
const SUB_BITS: u32 = SUB_BUCKETS.trailing_zeros();
/// Most buckets that are kept as a list; more become a window of counters.
const LIST_MAX: usize = 12;

/// A histogram of microseconds, or of any other unsigned numbers.
///
/// Count, sum and maximum are exact. A quantile is the upper bound of its bucket, so at most 3.2 % too high and never too low. Two
/// histograms add up to that of both, in whatever order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Histogram {
    count: u64,
    total: u64,
    max: u64,
    buckets: Buckets,
    /// Full turns of counters, 2^32 each.
    turns: BTreeMap<u16, u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Buckets {
    /// Bucket and counter, in order.
    List(Vec<(u16, u32)>),
    /// Counters of the buckets from `first` on.
    Window { first: u16, counters: Vec<u32> },
}

impl Default for Buckets {
    fn default() -> Buckets {
        Buckets::List(Vec::new())
    }
}

impl Histogram {
    /// Adds one number.
    #[inline]
    pub fn add(&mut self, value: u64) {
        self.count += 1;
        self.total = self.total.saturating_add(value);
        self.max = self.max.max(value);
        self.count_in(bucket(value), 1);
    }

    /// Adds all numbers of another.
    pub fn merge(&mut self, other: &Histogram) {
        self.count += other.count;
        self.total = self.total.saturating_add(other.total);
        self.max = self.max.max(other.max);
        match &other.buckets {
            Buckets::List(list) => {
                for &(bucket, count) in list {
                    self.count_in(bucket, count);
                }
            }
            Buckets::Window { first, counters } => {
                for (bucket, &count) in (*first..).zip(counters) {
                    if count > 0 {
                        self.count_in(bucket, count);
                    }
                }
            }
        }
        for (&bucket, &turns) in &other.turns {
            *self.turns.entry(bucket).or_default() += turns;
        }
    }

    /// Returns how many numbers there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns their sum.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns the largest.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Returns what the report shows of it.
    pub fn durations(&self) -> Durations {
        let [p50, p95, p99] = self.quantiles([50, 95, 99]);
        Durations {
            count: self.count,
            total: self.total,
            max: self.max,
            p50,
            p95,
            p99,
        }
    }

    /// Returns for each of some percents, in rising order, the number that so many are not above.
    pub fn quantiles<const N: usize>(&self, percents: [u64; N]) -> [u64; N] {
        let mut seen = 0_u128;
        let mut results = [self.max; N];
        let mut next = 0;
        self.each(|bucket, count| {
            seen += u128::from(count);
            while next < N && seen * 100 >= u128::from(self.count) * u128::from(percents[next]) {
                results[next] = upper(bucket).min(self.max);
                next += 1;
            }
        });
        results
    }

    /// Hands over each bucket that is not empty, smallest numbers first.
    fn each(&self, mut take: impl FnMut(u16, u64)) {
        let turns = |bucket| self.turns.get(&bucket).copied().unwrap_or(0) << 32;
        match &self.buckets {
            Buckets::List(list) => {
                for &(bucket, count) in list {
                    take(bucket, u64::from(count) + turns(bucket));
                }
            }
            Buckets::Window { first, counters } => {
                for (bucket, &count) in (*first..).zip(counters) {
                    let count = u64::from(count) + turns(bucket);
                    if count > 0 {
                        take(bucket, count);
                    }
                }
            }
        }
    }

    #[inline]
    fn count_in(&mut self, bucket: u16, count: u32) {
        let counter = match &mut self.buckets {
            Buckets::Window { first, counters }
                if bucket >= *first && usize::from(bucket - *first) < counters.len() =>
            {
                &mut counters[usize::from(bucket - *first)]
            }
            buckets => buckets.make_room(bucket),
        };
        let (sum, turned) = counter.overflowing_add(count);
        *counter = sum;
        if turned {
            *self.turns.entry(bucket).or_default() += 1;
        }
    }
}

impl Buckets {
    /// Returns the counter of a bucket that may not have one yet.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, bucket: u16) -> &mut u32 {
        if let Buckets::List(list) = self
            && list.len() >= LIST_MAX
            && list.binary_search_by_key(&bucket, |entry| entry.0).is_err()
        {
            let first = list
                .iter()
                .map(|entry| entry.0)
                .chain([bucket])
                .min()
                .unwrap_or(bucket);
            let last = list
                .iter()
                .map(|entry| entry.0)
                .chain([bucket])
                .max()
                .unwrap_or(bucket);
            let mut counters = vec![0; usize::from(last - first) + 1];
            for &(bucket, count) in list.iter() {
                counters[usize::from(bucket - first)] = count;
            }
            *self = Buckets::Window { first, counters };
        }
        match self {
            Buckets::List(list) => {
                let index = list
                    .binary_search_by_key(&bucket, |entry| entry.0)
                    .unwrap_or_else(|index| {
                        list.insert(index, (bucket, 0));
                        index
                    });
                &mut list[index].1
            }
            Buckets::Window { first, counters } => {
                if bucket < *first {
                    let more = usize::from(*first - bucket);
                    counters.splice(0..0, std::iter::repeat_n(0, more));
                    *first = bucket;
                }
                let index = usize::from(bucket - *first);
                if index >= counters.len() {
                    counters.resize(index + 1, 0);
                }
                &mut counters[index]
            }
        }
    }
}

/// Returns the bucket of a number: itself below 32, then 32 buckets for each power of two.
#[inline]
fn bucket(value: u64) -> u16 {
    let exponent = (value | (SUB_BUCKETS - 1)).ilog2();
    let shift = (exponent + 1).saturating_sub(SUB_BITS + 1);
    let sub_bucket = value >> shift;
    (u64::from(shift) * SUB_BUCKETS + sub_bucket) as u16
}

/// Returns the largest number of a bucket.
fn upper(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < SUB_BUCKETS * 2 {
        return bucket;
    }
    let shift = bucket / SUB_BUCKETS - 1;
    let lowest = u128::from(bucket % SUB_BUCKETS + SUB_BUCKETS) << shift;
    u64::try_from(lowest + (1_u128 << shift) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for &value in values {
            histogram.add(value);
        }
        histogram
    }

    fn shown(histogram: &Histogram) -> (Durations, Vec<(u16, u64)>) {
        let mut buckets = Vec::new();
        histogram.each(|bucket, count| buckets.push((bucket, count)));
        (histogram.durations(), buckets)
    }

    #[test]
    fn buckets_hold_their_numbers() {
        for value in [
            0,
            1,
            31,
            32,
            33,
            63,
            64,
            65,
            1000,
            1 << 40,
            u64::MAX - 1,
            u64::MAX,
        ] {
            let upper = upper(bucket(value));
            assert!(
                upper >= value && upper - value <= value / 32,
                "{value}: {upper}"
            );
        }
        assert_eq!(of(&[]).durations(), Durations::default());
        assert_eq!(of(&[7]).durations().p50, 7);
    }

    #[test]
    fn a_counter_that_turns_is_counted_on() {
        let mut histogram = of(&[5]);
        for _ in 0..33 {
            let same = histogram.clone();
            histogram.merge(&same);
        }
        assert_eq!(histogram.count(), 1 << 33);
        assert_eq!(shown(&histogram).1, [(5, 1 << 33)]);
    }

    proptest! {
        #[test]
        fn quantiles_are_never_too_low(mut values in prop::collection::vec(0_u64..1 << 45, 1..300)) {
            let histogram = of(&values);
            values.sort_unstable();
            for (percent, seen) in [50, 95, 99].into_iter().zip(histogram.quantiles([50, 95, 99])) {
                let exact = values[(values.len() * percent).div_ceil(100).max(1) - 1];
                prop_assert!(seen >= exact && seen - exact <= exact / 32);
            }
        }

        #[test]
        fn parts_add_up(left in prop::collection::vec(any::<u64>(), 0..60), right in prop::collection::vec(0_u64..5000, 0..60)) {
            let mut all = left.clone();
            all.extend(&right);
            let mut one = of(&left);
            one.merge(&of(&right));
            let mut other = of(&right);
            other.merge(&of(&left));
            prop_assert_eq!(shown(&one), shown(&of(&all)));
            prop_assert_eq!(shown(&other), shown(&one));
            let text = serde_json::to_string(&one).unwrap();
            let back: Histogram = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(shown(&back), shown(&one));
        }
    }
}
