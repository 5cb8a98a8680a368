//! What is usual at this hour of the week.

use std::collections::HashMap;

use pawang_core::Timestamp;

/// Hours of a week.
const HOURS: usize = 168;
const HOUR_SECONDS: i64 = 3_600;
const WEEK_SECONDS: i64 = 7 * 24 * HOUR_SECONDS;
/// 1970-01-01 was a Thursday: so long before it a Monday began.
const MONDAY_SECONDS: i64 = 3 * 24 * HOUR_SECONDS;
/// What was seen in one week only is no habit.
const WEEKS_MIN: u32 = 2;
/// Objects that are learnt at most; each takes some kilobytes.
const OBJECTS_MAX: usize = 2_000;
/// A value that never changes is still allowed to differ by this share of itself.
const DEVIATION_MIN: f64 = 0.05;

/// What is usual: mean and deviation by object and hour of the week (0 is Monday 00:00 UTC, 167 Sunday 23:00).
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    /// By check, by object, by hour.
    usual: HashMap<String, HashMap<String, Vec<Option<Usual>>>>,
}

/// What is usual in one hour of the week.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usual {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
    /// Weeks that it was seen in.
    pub weeks: u32,
}

impl Baseline {
    /// Returns what is usual for a measured object of a check at a time, once at least two weeks are known.
    pub fn usual(&self, check: &str, object: &str, at: Timestamp) -> Option<Usual> {
        let (hour, _) = hour_and_week(at);
        let usual = (*self.usual.get(check)?.get(object)?.get(hour)?)?;
        (usual.weeks >= WEEKS_MIN).then_some(usual)
    }
}

/// Says whether a value is so near to what is usual that nobody need hear of it.
///
/// Only the wrong side counts, which is the lower one when `below`: a value far better than usual is usual.
pub fn is_usual(value: f64, usual: &Usual, deviations: f64, below: bool) -> bool {
    let above = value - usual.mean;
    let worse = if below { -above } else { above };
    worse <= deviations * usual.deviation.max(usual.mean.abs() * DEVIATION_MIN)
}

/// Learns what is usual from recorded values, in any order.
#[derive(Debug, Default)]
pub struct Learner {
    seen: HashMap<String, HashMap<String, Vec<Seen>>>,
    objects: usize,
}

impl Learner {
    /// Learns one value; what is no number teaches nothing, nor do objects beyond a bound.
    pub fn add(&mut self, check: &str, object: &str, at: Timestamp, value: f64) {
        if !value.is_finite() {
            return;
        }
        let known = self
            .seen
            .get_mut(check)
            .and_then(|objects| objects.get_mut(object));
        let hours = match known {
            Some(hours) => hours,
            None if self.objects >= OBJECTS_MAX => return,
            None => {
                self.objects += 1;
                let objects = self.seen.entry(check.to_owned()).or_default();
                objects
                    .entry(object.to_owned())
                    .or_insert_with(|| vec![Seen::default(); HOURS])
            }
        };
        let (hour, week) = hour_and_week(at);
        hours[hour].add(value, week);
    }

    /// Returns what was learnt.
    pub fn finish(self) -> Baseline {
        let hours = |hours: Vec<Seen>| hours.into_iter().map(Seen::usual).collect();
        let objects = |objects: HashMap<String, Vec<Seen>>| {
            objects
                .into_iter()
                .map(|(object, seen)| (object, hours(seen)))
                .collect()
        };
        let usual = self
            .seen
            .into_iter()
            .map(|(check, seen)| (check, objects(seen)))
            .collect();
        Baseline { usual }
    }
}

/// The values of one hour of the week so far, by Welford's method: no sum of squares that loses its digits.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    count: f64,
    mean: f64,
    squares: f64,
    /// The weeks that it was seen in, one bit each, the same again after 64.
    weeks: u64,
}

impl Seen {
    fn add(&mut self, value: f64, week: u32) {
        self.count += 1.0;
        let before = value - self.mean;
        self.mean += before / self.count;
        self.squares += before * (value - self.mean);
        self.weeks |= 1 << week;
    }

    fn usual(self) -> Option<Usual> {
        (self.count > 0.0).then(|| Usual {
            mean: self.mean,
            deviation: (self.squares / self.count).max(0.0).sqrt(),
            weeks: self.weeks.count_ones(),
        })
    }
}

/// Returns the hour of the week, and the number of the week up to 63.
fn hour_and_week(at: Timestamp) -> (usize, u32) {
    let seconds = at.as_second() + MONDAY_SECONDS;
    let hour = seconds.rem_euclid(WEEK_SECONDS) / HOUR_SECONDS;
    let week = seconds.div_euclid(WEEK_SECONDS).rem_euclid(64);
    (
        usize::try_from(hour).expect("a remainder of a positive number is not negative"),
        u32::try_from(week).expect("it is below 64"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn hours_begin_with_monday_utc() {
        for (text, hour) in [
            ("2026-01-05T00:00:00Z", 0),
            ("2026-01-05T00:59:59Z", 0),
            ("2026-01-08T13:00:00Z", 85),
            ("2026-01-11T23:59:59Z", 167),
            ("1969-12-29T00:00:00Z", 0),
        ] {
            assert_eq!(hour_and_week(at(text)).0, hour, "{text}");
        }
    }

    #[test]
    fn one_week_is_no_habit() {
        let mut learner = Learner::default();
        for minute in ["10", "20", "30"] {
            learner.add(
                "cpu-usage",
                "",
                at(&format!("2026-01-05T02:{minute}:00Z")),
                90.0,
            );
        }
        let asked = at("2026-01-19T02:15:00Z");
        assert_eq!(learner.finish().usual("cpu-usage", "", asked), None);
        let mut learner = Learner::default();
        learner.add("cpu-usage", "", at("2026-01-05T02:10:00Z"), 80.0);
        learner.add("cpu-usage", "", at("2026-01-12T02:20:00Z"), 90.0);
        learner.add("cpu-usage", "", at("2026-01-12T02:20:00Z"), f64::NAN);
        let baseline = learner.finish();
        let usual = baseline.usual("cpu-usage", "", asked).expect("two weeks");
        assert_eq!(
            usual,
            Usual {
                mean: 85.0,
                deviation: 5.0,
                weeks: 2
            }
        );
        assert_eq!(
            baseline.usual("cpu-usage", "", at("2026-01-19T03:00:00Z")),
            None
        );
        assert_eq!(baseline.usual("cpu-usage", "x", asked), None);
        assert_eq!(baseline.usual("load", "", asked), None);
    }

    #[test]
    fn only_the_wrong_side_is_unusual() {
        let usual = Usual {
            mean: 80.0,
            deviation: 5.0,
            weeks: 3,
        };
        let steady = Usual {
            mean: 100.0,
            deviation: 0.0,
            weeks: 3,
        };
        for (value, usual, below, expected) in [
            (95.0, usual, false, true),
            (95.1, usual, false, false),
            (1.0, usual, false, true),
            (65.0, usual, true, true),
            (64.9, usual, true, false),
            (99.0, usual, true, true),
            (114.0, steady, false, true),
            (116.0, steady, false, false),
            (f64::NAN, usual, false, false),
        ] {
            let found = is_usual(value, &usual, 3.0, below);
            assert_eq!(found, expected, "{value} {usual:?}");
        }
    }

    #[test]
    fn objects_are_bounded() {
        let mut learner = Learner::default();
        for object in 0..OBJECTS_MAX + 10 {
            learner.add(
                "table-bloat",
                &object.to_string(),
                at("2026-01-05T02:10:00Z"),
                1.0,
            );
        }
        let baseline = learner.finish();
        assert_eq!(baseline.usual["table-bloat"].len(), OBJECTS_MAX);
    }

    proptest! {
        #[test]
        fn mean_and_deviation_are_those_of_the_textbook(values in prop::collection::vec(-1.0e6..1.0e6, 2..50)) {
            let mut learner = Learner::default();
            for (index, value) in values.iter().enumerate() {
                let day = if index % 2 == 0 { "05" } else { "12" };
                learner.add("c", "o", at(&format!("2026-01-{day}T02:10:00Z")), *value);
            }
            let usual = learner.finish().usual("c", "o", at("2026-01-19T02:00:00Z")).expect("two weeks");
            let count = values.len() as f64;
            let mean = values.iter().sum::<f64>() / count;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
            prop_assert!((usual.mean - mean).abs() < 1.0e-3);
            prop_assert!((usual.deviation - variance.sqrt()).abs() < 1.0e-3);
        }
    }
}
