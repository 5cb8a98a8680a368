//! Statements that became slower per call than they use to be at this hour of the week, and why, from hourly sums.
//!
//! Pure: whoever has a history hands over hours. The baseline is the median over two weeks, so that a batch that is always slow on Sunday
//! night is no regression, and the spread is the median absolute deviation, so that one bad hour does not widen it.

use std::collections::BTreeMap;

use serde::Serialize;

/// Hours of a week.
const WEEK: i64 = 168;
/// Hours of a day.
const DAY: i64 = 24;
/// An hour with fewer calls says nothing about the mean.
pub const CALLS_MIN: f64 = 20.0;
/// So many hours make a baseline.
pub const BASELINE_HOURS_MIN: usize = 3;
/// A statement is slower only from this ratio on.
pub const RATIO_MIN: f64 = 1.5;
/// And only when it takes so much more time in all, in milliseconds.
pub const EXTRA_MS_MIN: f64 = 1_000.0;
/// How far from the median, in standard deviations that the median absolute deviation stands for.
const DEVIATIONS: f64 = 4.0;
/// What turns the median absolute deviation of normal numbers into their standard deviation.
const OF_NORMAL: f64 = 1.4826;
/// Numbers per call that grew by this ratio explain a time that grew.
const EXPLAINS: f64 = 1.5;

/// What all calls of a statement did within one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hour {
    /// Hours since 1970-01-01 UTC.
    pub hour: i64,
    /// Calls.
    pub calls: f64,
    /// Execution time, in milliseconds.
    pub total_ms: f64,
    /// Rows.
    pub rows: f64,
    /// Blocks found in shared buffers.
    pub hit: f64,
    /// Blocks read.
    pub read: f64,
    /// Temporary blocks, read and written.
    pub temp: f64,
}

/// Something that happened to the server and may be the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Hours since 1970-01-01 UTC.
    pub hour: i64,
    /// What it was: `setting work_mem changed from 64MB to 4MB`.
    pub what: String,
}

/// A statement that became slower.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Regression {
    /// The first hour from which on it was slower in every hour that says something.
    pub since_hour: i64,
    /// Milliseconds per call before.
    pub before_ms: f64,
    /// Milliseconds per call since.
    pub now_ms: f64,
    /// How many times slower.
    pub ratio: f64,
    /// Calls since.
    pub calls: f64,
    /// Milliseconds that it took more than it would have.
    pub extra_ms: f64,
    /// What explains it, the most telling first.
    pub causes: Vec<String>,
}

/// Finds out whether a statement became slower within the last hours.
///
/// `hours` are those of one statement in any order, two weeks are enough; `judged` is how many of the newest hours are judged; `marks` are
/// what happened to the server.
pub fn regression(hours: &[Hour], newest: i64, judged: i64, marks: &[Mark]) -> Option<Regression> {
    let told: BTreeMap<i64, Hour> = hours
        .iter()
        .filter(|hour| hour.calls >= CALLS_MIN && hour.hour <= newest)
        .map(|hour| (hour.hour, *hour))
        .collect();
    let from = newest - judged + 1;
    let before: Vec<Hour> = told.range(..from).map(|(_, hour)| *hour).collect();
    let slow = |hour: &Hour| {
        let usual = Usual::at(&before, hour.hour)?;
        Some(hour.mean() > usual.limit())
    };
    let mut since = None;
    for hour in told.range(from..).map(|(_, hour)| hour).rev() {
        if !slow(hour)? {
            break;
        }
        since = Some(hour.hour);
    }
    let since = since?;
    let mut now = Hour::default();
    let mut expected_ms = 0.0;
    for hour in told.range(since..).map(|(_, hour)| hour) {
        now.add(hour);
        expected_ms += Usual::at(&before, hour.hour)?.median * hour.calls;
    }
    let extra_ms = now.total_ms - expected_ms;
    let before_ms = expected_ms / now.calls;
    let ratio = now.mean() / before_ms.max(f64::MIN_POSITIVE);
    if ratio < RATIO_MIN || extra_ms < EXTRA_MS_MIN {
        return None;
    }
    let mut past = Hour::default();
    before.iter().for_each(|hour| past.add(hour));
    let mut causes = near(marks, since);
    causes.extend(explained(&past, &now));
    Some(Regression {
        since_hour: since,
        before_ms,
        now_ms: now.mean(),
        ratio,
        calls: now.calls,
        extra_ms,
        causes,
    })
}

impl Hour {
    /// Returns milliseconds per call.
    fn mean(&self) -> f64 {
        self.total_ms / self.calls.max(1.0)
    }

    fn add(&mut self, other: &Hour) {
        self.calls += other.calls;
        self.total_ms += other.total_ms;
        self.rows += other.rows;
        self.hit += other.hit;
        self.read += other.read;
        self.temp += other.temp;
    }
}

/// What a statement usually takes per call.
struct Usual {
    median: f64,
    deviation: f64,
}

impl Usual {
    /// From the same hour of other weeks if there are enough of them, else of other days, else from all hours.
    fn at(before: &[Hour], hour: i64) -> Option<Usual> {
        let same = |period: i64| -> Vec<f64> {
            let alike = before
                .iter()
                .filter(|past| (past.hour - hour) % period == 0);
            alike.map(Hour::mean).collect()
        };
        let means = [WEEK, DAY, 1].into_iter().map(same);
        let mut means = means
            .into_iter()
            .find(|means| means.len() >= BASELINE_HOURS_MIN)?;
        let median = median(&mut means);
        let mut distances: Vec<f64> = means.iter().map(|mean| (mean - median).abs()).collect();
        let deviation = self::median(&mut distances) * OF_NORMAL;
        Some(Usual { median, deviation })
    }

    fn limit(&self) -> f64 {
        (self.median + DEVIATIONS * self.deviation).max(self.median * RATIO_MIN)
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        (values[middle - 1] + values[middle]) / 2.0
    } else {
        values[middle]
    }
}

/// Returns what happened in the hour when it began, or in the one before.
fn near(marks: &[Mark], since: i64) -> Vec<String> {
    let near = marks
        .iter()
        .filter(|mark| (since - 1..=since).contains(&mark.hour));
    near.map(|mark| mark.what.clone()).collect()
}

/// Returns what grew together with the time of a call.
fn explained(past: &Hour, now: &Hour) -> Option<String> {
    let per_call = |value: fn(&Hour) -> f64| {
        (
            value(past) / past.calls.max(1.0),
            value(now) / now.calls.max(1.0),
        )
    };
    let grew =
        |(before, after): (f64, f64), least: f64| after >= least && after > before * EXPLAINS;
    let rows = per_call(|hour| hour.rows);
    let blocks = per_call(|hour| hour.hit + hour.read);
    let read = per_call(|hour| hour.read);
    let temp = per_call(|hour| hour.temp);
    let told = |what: &str, (before, after): (f64, f64)| {
        format!("{what}: {before:.1} before, {after:.1} now")
    };
    Some(if grew(rows, 1.0) {
        told("it returns more rows per call", rows)
    } else if grew(temp, 1.0) {
        told(
            "it writes more temporary blocks per call: too little work_mem for its data or its new plan",
            temp,
        )
    } else if grew(blocks, 10.0) {
        told(
            "it touches more blocks per call for the same rows: another plan, or bloat",
            blocks,
        )
    } else if grew(read, 1.0) {
        told(
            "it reads more blocks per call that were in memory before",
            read,
        )
    } else {
        "it does the same work per call: it waits, for locks, disks or processors".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NEWEST: i64 = 490_000;

    fn hour(hour: i64, mean: f64) -> Hour {
        let calls = 1_000.0;
        Hour {
            hour,
            calls,
            total_ms: mean * calls,
            rows: calls,
            hit: 10.0 * calls,
            read: 0.0,
            temp: 0.0,
        }
    }

    fn weeks(mean: impl Fn(i64) -> f64) -> Vec<Hour> {
        (NEWEST - 336..=NEWEST)
            .map(|at| hour(at, mean(at)))
            .collect()
    }

    fn find(hours: &[Hour]) -> Option<Regression> {
        regression(hours, NEWEST, 24, &[])
    }

    #[test]
    fn what_is_as_it_was_is_no_regression() {
        assert_eq!(find(&weeks(|_| 5.0)), None);
        assert_eq!(find(&weeks(|at| 5.0 + (at % 7) as f64 * 0.2)), None);
        assert_eq!(find(&[]), None);
        assert_eq!(
            find(&[hour(NEWEST, 100.0)]),
            None,
            "without a past nothing is slower"
        );
    }

    #[test]
    fn a_step_is_found_with_its_hour_and_its_cost() {
        let mut hours = weeks(|at| if at > NEWEST - 5 { 40.0 } else { 5.0 });
        hours
            .iter_mut()
            .filter(|hour| hour.hour > NEWEST - 5)
            .for_each(|hour| hour.hit *= 20.0);
        let found = find(&hours).expect("five hours at eight times the time");
        assert_eq!(found.since_hour, NEWEST - 4);
        assert!((found.ratio - 8.0).abs() < 0.01, "{found:?}");
        assert!((found.extra_ms - 5.0 * 35_000.0).abs() < 1.0, "{found:?}");
        assert!(
            found.causes[0].contains("more blocks per call"),
            "{found:?}"
        );
    }

    #[test]
    fn what_happened_then_is_named_first() {
        let hours = weeks(|at| if at > NEWEST - 3 { 40.0 } else { 5.0 });
        let marks = [
            Mark {
                hour: NEWEST - 3,
                what: "setting work_mem changed".to_owned(),
            },
            Mark {
                hour: NEWEST - 50,
                what: "restart".to_owned(),
            },
        ];
        let found =
            regression(&hours, NEWEST, 24, &marks).expect("three hours at eight times the time");
        assert_eq!(found.causes[0], "setting work_mem changed");
        assert_eq!(found.causes.len(), 2, "{found:?}");
        assert!(found.causes[1].contains("it waits"), "{found:?}");
    }

    #[test]
    fn a_slow_hour_of_every_day_and_one_that_is_over_are_silent() {
        let nightly = weeks(|at| if at % 24 == NEWEST % 24 { 50.0 } else { 5.0 });
        assert_eq!(find(&nightly), None);
        let over = weeks(|at| if at == NEWEST - 2 { 50.0 } else { 5.0 });
        assert_eq!(find(&over), None);
    }

    #[test]
    fn few_calls_and_small_costs_are_silent() {
        let mut rare = weeks(|at| if at > NEWEST - 5 { 40.0 } else { 5.0 });
        rare.iter_mut()
            .for_each(|hour| hour.calls = CALLS_MIN - 1.0);
        assert_eq!(find(&rare), None);
        let cheap = weeks(|at| if at > NEWEST - 5 { 0.04 } else { 0.005 });
        assert_eq!(find(&cheap), None);
    }

    proptest! {
        #[test]
        fn noise_of_a_fifth_is_silent_and_a_step_of_six_is_found(
            noise in prop::collection::vec(-1.0_f64..1.0, 337),
            step in 1_i64..24,
        ) {
            let wobbling = |at: i64| 10.0 * (1.0 + noise[usize::try_from(at - NEWEST + 336).expect("within")] / 5.0);
            let quiet = find(&weeks(wobbling));
            prop_assert!(quiet.is_none(), "{quiet:?}");
            let stepped = weeks(|at| wobbling(at) * if at > NEWEST - step { 6.0 } else { 1.0 });
            let found = find(&stepped);
            prop_assert!(found.is_some_and(|found| found.since_hour == NEWEST - step + 1));
        }
    }
}
