//! From which duration on statements should be logged, so that the log keeps within a budget, by how long calls take.
//!
//! pg_stat_statements knows of each statement its calls, their mean, deviation, shortest and longest, not each duration. How many calls take
//! at least so long is therefore an estimate (durations of one statement are taken as log-normal) with a bound that holds whatever their
//! distribution is (Cantelli's inequality, and the shortest and longest call).

use serde::Serialize;

/// Durations that are considered, in milliseconds. Faster statements are better counted by pg_stat_statements than written one by one.
pub const LADDER_MS: [u64; 15] = [
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000, 120_000, 300_000,
    600_000,
];
/// Bytes of a line besides the statement: prefix, severity, duration.
const LINE_BYTES: f64 = 120.0;
/// Calls are counted over so many seconds at least, so that one call of a new entry is no rate.
const SECONDS_MIN: f64 = 3_600.0;
/// From this threshold on a sample of faster statements is worth its lines.
const SAMPLE_FROM_MS: u64 = 200;
/// A sample reaches down to this part of the threshold.
const SAMPLE_PART: u64 = 10;
/// A smaller share of calls is no sample.
const SAMPLE_RATE_MIN: f64 = 0.000_1;
const DAY_SECONDS: f64 = 86_400.0;

/// How long the calls of one statement take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// Calls.
    pub calls: f64,
    /// Their mean, in milliseconds.
    pub mean_ms: f64,
    /// Their standard deviation, in milliseconds.
    pub deviation_ms: f64,
    /// The shortest, in milliseconds.
    pub min_ms: f64,
    /// The longest, in milliseconds.
    pub max_ms: f64,
    /// Bytes of its normalised text.
    pub text_bytes: f64,
    /// Seconds over which the calls were counted.
    pub seconds: f64,
}

/// What statements may add to the log.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Budget {
    /// Lines a second.
    pub lines_per_second: f64,
    /// Bytes a day.
    pub bytes_per_day: f64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget {
            lines_per_second: 10.0,
            bytes_per_day: 1e9,
        }
    }
}

/// What a threshold adds to the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Lines a second, estimated.
    pub lines_per_second: f64,
    /// Lines a second at most, whatever the distribution of durations is.
    pub lines_per_second_max: f64,
    /// Bytes a day, estimated.
    pub bytes_per_day: f64,
    /// Bytes a day at most, by the length of texts without constants.
    pub bytes_per_day_max: f64,
}

/// A sample of faster statements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// `log_min_duration_sample`, in milliseconds.
    pub duration_ms: u64,
    /// `log_statement_sample_rate`.
    pub rate: f64,
    /// What it adds.
    pub cost: Cost,
}

/// A threshold within the budget.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// `log_min_duration_statement`, in milliseconds.
    pub duration_ms: u64,
    /// What it adds.
    pub cost: Cost,
    /// The budget.
    pub budget: Budget,
    /// Whether even the longest threshold is beyond the budget.
    pub beyond: bool,
    /// A sample of faster statements, where the threshold is high and the budget has room for one.
    pub sample: Option<Sample>,
}

/// Returns the smallest threshold whose estimate keeps within the budget; `None` when nothing was called.
///
/// `seconds` is for how long statements were counted.
pub fn choose(spreads: &[Spread], seconds: f64, budget: Budget) -> Option<Choice> {
    if spreads.iter().all(|spread| spread.calls <= 0.0) {
        return None;
    }
    let within = |cost: &Cost| {
        cost.lines_per_second <= budget.lines_per_second
            && cost.bytes_per_day <= budget.bytes_per_day
    };
    let costs = LADDER_MS.map(|at| (at, cost(spreads, seconds, at)));
    let found = costs.iter().find(|(_, cost)| within(cost));
    let (duration_ms, cost) = *found.unwrap_or(&costs[costs.len() - 1]);
    Some(Choice {
        duration_ms,
        cost,
        budget,
        beyond: found.is_none(),
        sample: sample(spreads, seconds, duration_ms, &cost, budget),
    })
}

/// Returns what a threshold adds to the log.
pub fn cost(spreads: &[Spread], seconds: f64, duration_ms: u64) -> Cost {
    let mut sum = Cost::default();
    for spread in spreads.iter().filter(|spread| spread.calls > 0.0) {
        let (share, most) = spread.at_least(duration_ms as f64);
        let rate = spread.calls / spread.seconds.max(seconds.min(SECONDS_MIN)).max(1.0);
        let bytes_per_day = (LINE_BYTES + spread.text_bytes) * DAY_SECONDS;
        sum.lines_per_second += rate * share;
        sum.lines_per_second_max += rate * most;
        sum.bytes_per_day += rate * share * bytes_per_day;
        sum.bytes_per_day_max += rate * most * bytes_per_day;
    }
    sum
}

impl Cost {
    fn times(&self, factor: f64) -> Cost {
        Cost {
            lines_per_second: self.lines_per_second * factor,
            lines_per_second_max: self.lines_per_second_max * factor,
            bytes_per_day: self.bytes_per_day * factor,
            bytes_per_day_max: self.bytes_per_day_max * factor,
        }
    }

    /// Says it in words, with the bound.
    pub fn sentence(&self) -> String {
        format!(
            "about {} lines a second and {} MB a day, at most {} lines a second and {} MB a day",
            short(self.lines_per_second),
            short(self.bytes_per_day / 1e6),
            short(self.lines_per_second_max),
            short(self.bytes_per_day_max / 1e6),
        )
    }
}

/// Returns a number with two digits that say something.
fn short(value: f64) -> String {
    match value {
        value if value >= 10.0 => format!("{value:.0}"),
        value if value >= 0.1 => format!("{value:.1}"),
        value if value >= 0.001 => format!("{value:.3}"),
        value if value > 0.0 => "less than 0.001".to_owned(),
        _ => "0".to_owned(),
    }
}

/// Returns a sample that takes half of what the threshold leaves of the budget.
fn sample(
    spreads: &[Spread],
    seconds: f64,
    above_ms: u64,
    above: &Cost,
    budget: Budget,
) -> Option<Sample> {
    if above_ms < SAMPLE_FROM_MS {
        return None;
    }
    let duration_ms = LADDER_MS
        .into_iter()
        .rev()
        .find(|at| *at <= above_ms / SAMPLE_PART)?;
    let all = cost(spreads, seconds, duration_ms);
    let lines = all.lines_per_second - above.lines_per_second;
    let bytes = all.bytes_per_day - above.bytes_per_day;
    let room = |budget: f64, taken: f64, wanted: f64| ((budget - taken) / 2.0 / wanted).max(0.0);
    let rate = room(budget.lines_per_second, above.lines_per_second, lines).min(room(
        budget.bytes_per_day,
        above.bytes_per_day,
        bytes,
    ));
    if !rate.is_finite() || rate < SAMPLE_RATE_MIN {
        return None;
    }
    let rate = one_digit(rate.min(1.0));
    let added = Cost {
        lines_per_second: lines,
        lines_per_second_max: (all.lines_per_second_max - above.lines_per_second).max(lines),
        bytes_per_day: bytes,
        bytes_per_day_max: (all.bytes_per_day_max - above.bytes_per_day).max(bytes),
    };
    Some(Sample {
        duration_ms,
        rate,
        cost: added.times(rate),
    })
}

/// Rounds down to one digit that says something.
fn one_digit(rate: f64) -> f64 {
    let scale = 10_f64.powi(-(rate.log10().floor() as i32));
    // A tenth is not a tenth in binary: what is a hair below a digit is that digit.
    (rate * scale + 1e-9).floor() / scale
}

impl Spread {
    /// Returns which share of calls takes at least so long: the estimate, and the most that it can be.
    fn at_least(&self, at_ms: f64) -> (f64, f64) {
        if at_ms <= self.min_ms {
            return (1.0, 1.0);
        }
        if at_ms > self.max_ms {
            return (0.0, 0.0);
        }
        // One call is the shortest, and below; one is the longest, and not.
        let one = 1.0 / self.calls.max(1.0);
        let (mut least, mut most) = (one, (1.0 - one).max(one));
        let distance = at_ms - self.mean_ms;
        let variance = self.deviation_ms * self.deviation_ms;
        let tail = variance / (variance + distance * distance);
        if distance > 0.0 {
            most = most.min(tail.max(one));
        } else if distance < 0.0 {
            least = least.max(1.0 - tail).min(most);
        }
        (self.log_normal(at_ms).clamp(least, most), most)
    }

    /// Returns which share of calls takes at least so long, if the logarithms of durations are normal.
    fn log_normal(&self, at_ms: f64) -> f64 {
        if self.mean_ms <= 0.0 || self.deviation_ms <= 0.0 {
            return if self.mean_ms >= at_ms { 1.0 } else { 0.0 };
        }
        let ratio = self.deviation_ms / self.mean_ms;
        let variance = (ratio * ratio).ln_1p();
        let middle = self.mean_ms.ln() - variance / 2.0;
        beyond((at_ms.ln() - middle) / variance.sqrt())
    }
}

/// Returns which share of normal numbers is beyond so many standard deviations (Abramowitz and Stegun 26.2.17, within 7.5e-8).
fn beyond(deviations: f64) -> f64 {
    const P: f64 = 0.231_641_9;
    const B: [f64; 5] = [
        0.319_381_53,
        -0.356_563_782,
        1.781_477_937,
        -1.821_255_978,
        1.330_274_429,
    ];
    let x = deviations.abs();
    let t = 1.0 / (1.0 + P * x);
    let polynomial = B.iter().rev().fold(0.0, |sum, b| (sum + b) * t);
    let tail = polynomial * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if deviations >= 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What pg_stat_statements would say of these durations.
    fn spread(durations: &[f64], seconds: f64) -> Spread {
        let calls = durations.len() as f64;
        let mean_ms = durations.iter().sum::<f64>() / calls;
        let variance = durations
            .iter()
            .map(|ms| (ms - mean_ms).powi(2))
            .sum::<f64>()
            / calls;
        Spread {
            calls,
            mean_ms,
            deviation_ms: variance.sqrt(),
            min_ms: durations.iter().copied().fold(f64::INFINITY, f64::min),
            max_ms: durations.iter().copied().fold(0.0, f64::max),
            text_bytes: 80.0,
            seconds,
        }
    }

    #[test]
    fn the_smallest_threshold_within_the_budget_is_chosen() {
        // A thousand calls a second of 30 ms each, and one in ten seconds of 3 s.
        let fast = Spread {
            calls: 3_600_000.0,
            ..spread(&[29.0, 30.0, 31.0], 3_600.0)
        };
        let slow = Spread {
            calls: 360.0,
            ..spread(&[2_900.0, 3_100.0], 3_600.0)
        };
        let found =
            choose(&[fast, slow], 86_400.0, Budget::default()).expect("statements were called");
        assert_eq!(found.duration_ms, 50);
        assert!(
            (found.cost.lines_per_second - 0.1).abs() < 1e-9,
            "{found:?}"
        );
        assert!(
            (found.cost.bytes_per_day - 0.1 * 200.0 * 86_400.0).abs() < 1.0,
            "{found:?}"
        );
        assert_eq!(found.sample, None, "the threshold is low");
        let bytes = Budget {
            bytes_per_day: 1e6,
            ..Budget::default()
        };
        let found = choose(&[fast, slow], 86_400.0, bytes).expect("statements were called");
        assert_eq!(found.duration_ms, 5_000, "1.7 MB a day would be too much");
    }

    #[test]
    fn a_high_threshold_brings_a_sample_and_a_hopeless_one_is_said() {
        let heavy = Spread {
            calls: 360_000.0,
            ..spread(&[150.0, 250.0, 400.0], 3_600.0)
        };
        let found = choose(&[heavy], 86_400.0, Budget::default()).expect("statements were called");
        assert_eq!(found.duration_ms, 500);
        let sample = found.sample.expect("there is room for a sample");
        assert_eq!(sample.duration_ms, 50);
        assert!(
            (sample.rate - 0.05).abs() < 1e-9,
            "half of ten lines of a hundred: {sample:?}"
        );
        let all = Spread {
            calls: 360_000.0,
            ..spread(&[700_000.0, 800_000.0], 3_600.0)
        };
        let found = choose(&[all], 86_400.0, Budget::default()).expect("statements were called");
        assert!(found.beyond && found.duration_ms == 600_000, "{found:?}");
        assert_eq!(choose(&[Spread::default()], 10.0, Budget::default()), None);
    }

    #[test]
    fn one_call_of_a_new_entry_is_no_rate() {
        let one = spread(&[5_000.0], 2.0);
        assert!(cost(&[one], 86_400.0, 1_000).lines_per_second < 0.001);
        assert!(
            cost(&[one], 10.0, 1_000).lines_per_second > 0.05,
            "unless there is no more"
        );
    }

    #[test]
    fn tails_of_the_normal_distribution_are_known() {
        for (at, share) in [
            (0.0, 0.5),
            (1.0, 0.158_655),
            (1.96, 0.024_998),
            (3.0, 0.001_350),
            (-1.0, 0.841_345),
        ] {
            assert!((beyond(at) - share).abs() < 1e-6, "{at}: {}", beyond(at));
        }
    }

    proptest! {
        #[test]
        fn the_bound_holds_whatever_the_durations(
            durations in prop::collection::vec(0.01_f64..100_000.0, 1..60),
            at in 1.0_f64..100_000.0,
        ) {
            let spread = spread(&durations, 3_600.0);
            let truth = durations.iter().filter(|ms| **ms >= at).count() as f64 / durations.len() as f64;
            let (share, most) = spread.at_least(at);
            prop_assert!(most >= truth - 1e-9, "{most} {truth}");
            prop_assert!((0.0..=most + 1e-12).contains(&share));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_estimate_is_near_for_durations_that_are_log_normal(
            middle in 1.0_f64..6.0, width in 0.3_f64..1.2, at in 0.2_f64..2.0,
        ) {
            // Quantiles of the distribution, evenly spaced.
            let inverse = |share: f64| {
                let (mut low, mut high) = (-8.0, 8.0);
                for _ in 0..30 {
                    let half = (low + high) / 2.0;
                    if beyond(half) > share { low = half } else { high = half }
                }
                low
            };
            let durations: Vec<f64> = (1..2_000).map(|n| (middle + width * inverse(f64::from(n) / 2_000.0)).exp()).collect();
            let at = (middle + at * width).exp();
            let truth = durations.iter().filter(|ms| **ms >= at).count() as f64 / durations.len() as f64;
            let (share, _) = spread(&durations, 3_600.0).at_least(at);
            prop_assert!((share - truth).abs() < 0.03, "{share} {truth}");
        }
    }
}
