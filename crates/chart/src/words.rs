//! Numbers with units, and instants, in the words of people.

use pawang_core::{ByteSize, Timestamp};

/// Letters of large numbers, each a thousand times the one before.
const THOUSANDS: [&str; 5] = ["", " k", " M", " G", " T"];

/// Returns an amount with its unit as people write it: `1.5 GB`, `412/s`, `3.2 ms`, `99.2 %`, `19.3 k rows`.
///
/// Units are those of columns: `bytes`, `ms`, `s`, `%`, words such as `rows`, each also per second (`bytes/s`); empty
/// for a plain number.
pub fn quantity(value: f64, unit: &str) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    match unit {
        "bytes" => bytes(value),
        "bytes/s" => format!("{}/s", bytes(value)),
        "s" => duration(value),
        "ms" if value.abs() < 1_000.0 => format!("{} ms", short(value)),
        "ms" => duration(value / 1_000.0),
        "" => number(value),
        unit if unit.starts_with('/') => format!("{}{unit}", number(value)),
        unit => format!("{} {unit}", number(value)),
    }
}

/// Returns an amount with its unit, unless the unit is a word that the heading says: `412/s`, `1.5 GB`, `12`.
pub fn figure(value: f64, unit: &str) -> String {
    match unit {
        "bytes" | "bytes/s" | "s" | "ms" | "%" => quantity(value, unit),
        unit if unit.starts_with('/') => quantity(value, unit),
        _ => number(value),
    }
}

/// Returns a number that is read at a glance: `412`, `1,930`, `19.3 k`, `1.93 G`.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    if value.abs() < 9_999.5 {
        return short(value);
    }
    let mut scaled = value;
    let mut index = 0;
    while scaled.abs() >= 999.5 && index + 1 < THOUSANDS.len() {
        scaled /= 1_000.0;
        index += 1;
    }
    format!("{}{}", short(scaled), THOUSANDS[index])
}

/// Returns a whole number, exact and with its thousands apart: `1,930,412`.
pub fn whole(value: u64) -> String {
    grouped(&value.to_string(), false)
}

/// Returns an amount of bytes with PostgreSQL's units; of either sign.
pub fn bytes(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let sign = if value <= -1.0 { "-" } else { "" };
    format!("{sign}{}", ByteSize(value.abs() as u64))
}

/// Returns how long something takes or is ago, in its two largest units: `4 s`, `12 min 3 s`, `2 h 10 min`, `3 d 4 h`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "-".to_owned();
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let seconds = seconds.abs();
    if seconds < 0.001 && seconds > 0.0 {
        return format!("{sign}{} µs", short(seconds * 1e6));
    }
    if seconds < 1.0 && seconds > 0.0 {
        return format!("{sign}{} ms", short(seconds * 1e3));
    }
    if seconds < 10.0 {
        return format!("{sign}{} s", short(seconds));
    }
    let whole = seconds as u64;
    let pair = |large: u64, name: &str, small: u64, other: &str| match small {
        0 => format!("{sign}{large} {name}"),
        small => format!("{sign}{large} {name} {small} {other}"),
    };
    match whole {
        0..=119 => format!("{sign}{whole} s"),
        120..=7_199 => pair(whole / 60, "min", whole % 60, "s"),
        7_200..=172_799 => pair(whole / 3_600, "h", whole % 3_600 / 60, "min"),
        _ => pair(whole / 86_400, "d", whole % 86_400 / 3_600, "h"),
    }
}

/// Returns an instant to the second: `2026-11-21 03:12:07 UTC`.
pub fn exact(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Returns an instant for addresses and `datetime` attributes: RFC 3339, whole seconds.
pub fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns a number with three digits that matter, and with its thousands apart.
fn short(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if (value - value.round()).abs() < 1e-9 => 0,
        size if size < 0.995 => 2,
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{size:.decimals$}");
    let text = match text.split_once('.') {
        Some((whole, fraction)) => {
            let fraction = fraction.trim_end_matches('0');
            let dot = if fraction.is_empty() { "" } else { "." };
            format!("{whole}{dot}{fraction}")
        }
        None => text,
    };
    if text == "0" && size > 0.0 {
        return if value > 0.0 { "<0.01" } else { ">-0.01" }.to_owned();
    }
    match text.split_once('.') {
        Some((whole, fraction)) => format!("{}.{fraction}", grouped(whole, value < 0.0)),
        None => grouped(&text, value < 0.0),
    }
}

fn grouped(digits: &str, negative: bool) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if negative {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_people_write_them() {
        for (value, unit, text) in [
            (412.0, "/s", "412/s"),
            (1_610_612_736.0, "bytes", "1.5 GB"),
            (2048.0, "bytes/s", "2.0 kB/s"),
            (-2048.0, "bytes", "-2.0 kB"),
            (3.25, "ms", "3.25 ms"),
            (90_000.0, "ms", "90 s"),
            (99.24, "%", "99.2 %"),
            (19_300.0, "rows", "19.3 k rows"),
            (1_930_000_000.0, "", "1.93 G"),
            (9_999.0, "", "9,999"),
            (0.0, "", "0"),
            (0.000_1, "/s", "<0.01/s"),
            (999_700.0, "", "1 M"),
            (f64::NAN, "bytes", "-"),
            (f64::INFINITY, "s", "-"),
        ] {
            assert_eq!(quantity(value, unit), text, "{value} {unit}");
        }
    }

    #[test]
    fn durations_have_at_most_two_units() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (0.000_05, "50 µs"),
            (0.25, "250 ms"),
            (4.0, "4 s"),
            (119.0, "119 s"),
            (120.0, "2 min"),
            (7_800.0, "2 h 10 min"),
            (273_600.0, "3 d 4 h"),
            (-60.0, "-60 s"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
