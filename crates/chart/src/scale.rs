//! Axes: which values and times are worth a label.

use std::time::Duration;

use pawang_core::{Span, Timestamp};

use crate::words;

/// Steps of the value axis that its length is divided in, about.
const STEPS: f64 = 4.0;
/// Most labels of the time axis.
const TIMES_MAX: i64 = 6;
/// Distances of time labels, in seconds.
const TIME_STEPS: [i64; 24] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 14_400, 21_600,
    43_200, 86_400, 172_800, 432_000, 864_000, 2_592_000, 7_776_000,
];
const DAY: i64 = 86_400;

/// The value axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    /// The value at the bottom.
    pub low: f64,
    /// The value at the top.
    pub high: f64,
    /// Values with a label, from the bottom.
    pub ticks: Vec<f64>,
}

impl Scale {
    /// Returns an axis for values from `low` to `high`.
    ///
    /// It starts at 0, except for shares and amounts of bytes that move little far above it.
    pub(super) fn new(low: f64, high: f64, unit: &str) -> Scale {
        // A whole that was measured in parts may come out a little larger.
        let high = if unit == "%" && (100.0..105.0).contains(&high) {
            100.0
        } else {
            high
        };
        let lifted = matches!(unit, "%" | "bytes") && low > 0.8 * high && high > 0.0;
        let mut bottom = match (lifted, low < 0.0) {
            (true, _) => low - ((high - low) / 4.0).max(high * 0.01),
            (false, true) => low,
            (false, false) => 0.0,
        };
        let mut top = if high > bottom { high } else { bottom + 1.0 };
        if unit == "%" && high <= 100.0 {
            top = if lifted { 100.0 } else { top };
            bottom = bottom.max(0.0);
        }
        let step = nice((top - bottom) / STEPS, unit);
        let first = (bottom / step + 1e-9).floor();
        let last = (top / step - 1e-9).ceil().max(first + 1.0);
        // Bounded by construction: `nice` returns at least half of the step that was asked for.
        let ticks: Vec<f64> = (0..=((last - first) as usize).min(12))
            .map(|index| (first + index as f64) * step)
            .collect();
        Scale {
            low: first * step,
            high: last * step,
            ticks,
        }
    }

    /// Returns where a value lies: 0 at the top, 1 at the bottom, never outside.
    pub(super) fn down(&self, value: f64) -> f64 {
        (1.0 - (value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// Returns the round number next to a step: 1, 2 or 5 times a power of ten, or of a minute, hour or day; a power of two
/// for bytes.
fn nice(step: f64, unit: &str) -> f64 {
    if matches!(unit, "bytes" | "bytes/s") {
        return 2_f64.powf((step.max(1.0) * 0.999).log2().ceil());
    }
    let base = match unit {
        "s" if step >= 86_400.0 => 86_400.0,
        "s" if step >= 3_600.0 => 3_600.0,
        "s" if step >= 60.0 => 60.0,
        _ => 1.0,
    };
    let scaled = step / base;
    let power = 10_f64.powf(scaled.log10().floor());
    let quarters = if unit == "%" { 2.5 } else { 2.0 };
    let mut factors = [1.0, 2.0, quarters, 5.0].into_iter();
    let factor = factors.find(|factor| factor * power >= scaled * 0.999);
    base * factor.unwrap_or(10.0) * power
}

/// Returns the label of a value, short: the heading says what it is per second.
pub(super) fn label(value: f64, unit: &str) -> String {
    let unit = unit.strip_suffix("/s").unwrap_or(unit);
    match unit {
        "bytes" if value == 0.0 => "0".to_owned(),
        "bytes" => words::bytes(value).replace(".0 ", " "),
        "s" | "ms" | "%" if value == 0.0 => "0".to_owned(),
        "s" if value >= 120.0 => length(value),
        "s" | "ms" | "%" => words::quantity(value, unit),
        _ => words::number(value),
    }
}

/// Returns a length of time in one unit, since the axis has no room for two.
fn length(seconds: f64) -> String {
    let units = [
        (172_800.0, 86_400.0, "d"),
        (7_200.0, 3_600.0, "h"),
        (120.0, 60.0, "min"),
    ];
    let whole = |(least, unit, _): &&(f64, f64, &str)| seconds >= *least && seconds % unit == 0.0;
    let (_, unit, name) = units.iter().find(whole).unwrap_or(&(0.0, 1.0, "s"));
    format!("{} {name}", words::number(seconds / unit))
}

/// Returns the instants with a label and their labels, in UTC: days at midnight, else hours and minutes.
pub(super) fn times(span: Span) -> Vec<(Timestamp, String)> {
    let (from, to) = (span.from.as_second(), span.to.as_second());
    let length = (to - from).max(1);
    let step = TIME_STEPS
        .iter()
        .copied()
        .find(|step| length / step <= TIMES_MAX);
    let step = step.unwrap_or(length / TIMES_MAX + 1);
    let first = from + (step - from.rem_euclid(step)) % step;
    let mut labels = Vec::new();
    let mut second = first;
    while second <= to {
        if let Ok(at) = Timestamp::from_second(second) {
            let form = match (second.rem_euclid(DAY) == 0, step < 60) {
                (true, _) => "%-d %b",
                (false, true) => "%H:%M:%S",
                (false, false) => "%H:%M",
            };
            labels.push((at, at.strftime(form).to_string()));
        }
        second += step;
    }
    labels
}

/// Returns where an instant lies: 0 at the left, 1 at the right, outside when it is outside.
pub(super) fn across(span: Span, at: Timestamp) -> f64 {
    let length = span.to.duration_since(span.from).as_secs_f64();
    let length = length.max(Duration::from_millis(1).as_secs_f64());
    at.duration_since(span.from).as_secs_f64() / length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_axes_have_few_round_labels() {
        for (low, high, unit, labels) in [
            (3.0, 412.0, "/s", vec!["0", "200", "400", "600"]),
            (0.0, 0.0, "", vec!["0", "0.5", "1"]),
            (
                0.0,
                190.0,
                "s",
                vec!["0", "50 s", "100 s", "150 s", "200 s"],
            ),
            (0.0, 20_000.0, "s", vec!["0", "2 h", "4 h", "6 h"]),
            (0.0, 0.03, "ms", vec!["0", "0.01 ms", "0.02 ms", "0.03 ms"]),
            (
                0.0,
                3.0 * 1024.0 * 1024.0,
                "bytes",
                vec!["0", "1 MB", "2 MB", "3 MB"],
            ),
            (
                0.0,
                600_000.0,
                "bytes/s",
                vec!["0", "256 kB", "512 kB", "768 kB"],
            ),
            (0.0, 7_000.0, "s", vec!["0", "50 min", "100 min", "150 min"]),
            (98.9, 99.7, "%", vec!["97 %", "98 %", "99 %", "100 %"]),
            (0.0, 100.0, "%", vec!["0", "25 %", "50 %", "75 %", "100 %"]),
            (-4.0, 4.0, "", vec!["-4", "-2", "0", "2", "4"]),
            (
                0.0,
                19_000.0,
                "",
                vec!["0", "5,000", "10 k", "15 k", "20 k"],
            ),
        ] {
            let scale = Scale::new(low, high, unit);
            let shown: Vec<String> = scale.ticks.iter().map(|tick| label(*tick, unit)).collect();
            assert!(
                scale.low <= low && scale.high >= high.min(100.0),
                "{scale:?}"
            );
            assert!(
                (3..=7).contains(&shown.len()) || high == 0.0,
                "{low} {high} {unit} {shown:?}"
            );
            assert_eq!(shown, labels, "{low} {high} {unit}");
        }
    }

    #[test]
    fn any_values_give_a_bounded_axis() {
        for (low, high) in [
            (0.0, f64::MIN_POSITIVE),
            (0.0, 1e300),
            (1e15, 1e15 + 1.0),
            (-1e9, 1e9),
            (5.0, 5.0),
            (1e-9, 2e-9),
        ] {
            for unit in ["", "bytes", "bytes/s", "s", "ms", "%", "/s"] {
                let scale = Scale::new(low, high, unit);
                assert!(scale.ticks.len() <= 13, "{low} {high} {unit} {scale:?}");
                assert!(scale.high > scale.low, "{low} {high} {unit} {scale:?}");
                assert!((0.0..=1.0).contains(&scale.down(high)));
            }
        }
    }

    #[test]
    fn time_axes_have_at_most_seven_labels() {
        let to: Timestamp = "2026-11-21T15:07:13Z".parse().unwrap();
        for (seconds, first, count) in [
            (10, "15:07:04", 5),
            (3_600, "14:10", 6),
            (21_600, "10:00", 6),
            (86_400, "16:00", 6),
            (604_800, "15 Nov", 4),
            (2_592_000, "24 Oct", 6),
        ] {
            let span = Span {
                from: to - Duration::from_secs(seconds),
                to,
            };
            let labels: Vec<String> = times(span).into_iter().map(|(_, label)| label).collect();
            assert_eq!(
                (labels[0].as_str(), labels.len()),
                (first, count),
                "{labels:?}"
            );
        }
    }
}
