//! What the script needs to read values off: numbers in as few characters as they need.

use std::fmt::Write as _;

use pawang_core::Point;

use super::scale::Scale;
use super::{Chart, Form};

/// Returns the data of a chart as JSON: span in milliseconds, unit, axis, and per line its times and means in seconds.
///
/// Times are first and step where they are even, else first and distances; a line without times has those of the line
/// before.
pub(super) fn json(chart: &Chart<'_>, form: Form, scale: &Scale, lines: &[Vec<Point>]) -> String {
    let mut text = String::new();
    let _ = write!(
        text,
        "{{\"f\":{},\"e\":{},\"u\":{},\"s\":{},\"y\":[{},{}],\"l\":[",
        chart.span.from.as_millisecond(),
        chart.span.to.as_millisecond(),
        serde_json::Value::from(chart.unit),
        u8::from(form == Form::Areas),
        brief(scale.low),
        brief(scale.high),
    );
    let mut before = Vec::new();
    for (index, points) in lines.iter().enumerate() {
        let times: Vec<i64> = points.iter().map(|point| point.at.as_second()).collect();
        text.push_str(if index == 0 { "{" } else { ",{" });
        if times != before {
            text.push_str("\"t\":[");
            text.push_str(&join(
                distances(&times).into_iter().map(|time| time.to_string()),
            ));
            text.push_str("],");
            before = times;
        }
        let values = points.iter().map(|point| {
            point
                .reading
                .map_or_else(|| "null".to_owned(), |reading| brief(reading.mean))
        });
        let _ = write!(text, "\"v\":[{}]}}", join(values));
    }
    text.push_str("]}");
    super::escaped(&text)
}

fn distances(times: &[i64]) -> Vec<i64> {
    let Some(first) = times.first() else {
        return Vec::new();
    };
    let steps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let even = steps.iter().all(|step| *step == steps[0]);
    let steps = if even {
        &steps[..steps.len().min(1)]
    } else {
        &steps[..]
    };
    std::iter::once(*first)
        .chain(steps.iter().copied())
        .collect()
}

fn join(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}

/// Returns a number with four digits that matter, in as few characters as they need.
fn brief(value: f64) -> String {
    if !value.is_finite() {
        return "null".to_owned();
    }
    let scientific = format!("{value:.3e}");
    let rounded: f64 = scientific.parse().unwrap_or(value);
    let plain = format!("{rounded}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    let short = if exponent == "0" {
        digits.to_owned()
    } else {
        format!("{digits}e{exponent}")
    };
    if plain.len() <= short.len() {
        plain
    } else {
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_brief() {
        for (value, text) in [
            (0.0, "0"),
            (412.0, "412"),
            (1.0 / 3.0, "0.3333"),
            (1_234_567_890.0, "1.235e9"),
            (-2_000.0, "-2e3"),
            (0.000_012_5, "1.25e-5"),
            (f64::NAN, "null"),
        ] {
            assert_eq!(brief(value), text);
        }
    }

    #[test]
    fn even_times_are_two_numbers() {
        assert_eq!(distances(&[10, 20, 30, 40]), [10, 10]);
        assert_eq!(distances(&[10, 20, 31]), [10, 10, 11]);
        assert_eq!(distances(&[10]), [10]);
        assert!(distances(&[]).is_empty());
    }
}
