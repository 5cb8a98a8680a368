//! Words for people: numbers with units, ages, times, levels, reasons; and addresses that keep what was chosen.

use maud::{Markup, html};
use pawang_core::{Blind, ByteSize, Level, Timestamp};

/// Letters of large numbers, each a thousand times the one before.
const THOUSANDS: [&str; 5] = ["", " k", " M", " G", " T"];

/// Returns an amount with its unit as people write it: `1.5 GB`, `412/s`, `3.2 ms`, `99.2 %`, `19.3 k rows`.
///
/// Units are those of columns: `bytes`, `ms`, `s`, `%`, words such as `rows`, each also per second (`bytes/s`); empty
/// for a plain number.
pub(crate) fn quantity(value: f64, unit: &str) -> String {
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
pub(crate) fn figure(value: f64, unit: &str) -> String {
    match unit {
        "bytes" | "bytes/s" | "s" | "ms" | "%" => quantity(value, unit),
        unit if unit.starts_with('/') => quantity(value, unit),
        _ => number(value),
    }
}

/// Returns a number that is read at a glance: `412`, `1,930`, `19.3 k`, `1.93 G`.
pub(crate) fn number(value: f64) -> String {
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

/// Returns an amount of bytes with PostgreSQL's units; of either sign.
pub(crate) fn bytes(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let sign = if value <= -1.0 { "-" } else { "" };
    format!("{sign}{}", ByteSize(value.abs() as u64))
}

/// Returns how long something takes or is ago, in its two largest units: `4 s`, `12 min 3 s`, `2 h 10 min`, `3 d 4 h`.
pub(crate) fn duration(seconds: f64) -> String {
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

/// Returns a duration in its largest unit, for tables: `4 s`, `12 min`, `3 h`, `31 d`.
pub(crate) fn age(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..=99 => format!("{whole} s"),
        100..=5_999 => format!("{} min", whole / 60),
        6_000..=172_799 => format!("{} h", whole / 3_600),
        _ => format!("{} d", whole / 86_400),
    }
}

/// Returns the seconds from `at` to `now`, never negative.
pub(crate) fn seconds_since(now: Timestamp, at: Timestamp) -> f64 {
    now.duration_since(at).as_secs_f64().max(0.0)
}

/// Shows an instant as how long ago it was: `4 s ago`, exact in UTC (with a script also local) on hover.
pub(crate) fn ago(now: Timestamp, at: Timestamp) -> Markup {
    let text = format!("{} ago", age(seconds_since(now, at)));
    html! { time datetime=(instant(at)) title=(exact(at)) data-ago { (text) } }
}

/// Shows an instant: `03:12` of today, else `20 Nov 03:12`, always UTC; exact on hover.
pub(crate) fn moment(now: Timestamp, at: Timestamp) -> Markup {
    html! { time datetime=(instant(at)) title=(exact(at)) { (clock(now, at)) } }
}

/// Returns an instant as text: `03:12 UTC` of today, `20 Nov 03:12 UTC` of this year, else with the year.
pub(crate) fn clock(now: Timestamp, at: Timestamp) -> String {
    let form = if day(now) == day(at) {
        "%H:%M UTC"
    } else if at.strftime("%Y").to_string() == now.strftime("%Y").to_string() {
        "%-d %b %H:%M UTC"
    } else {
        "%-d %b %Y %H:%M UTC"
    };
    at.strftime(form).to_string()
}

/// Returns an instant to the second: `2026-11-21 03:12:07 UTC`.
pub(crate) fn exact(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Returns an instant for addresses and `datetime` attributes: RFC 3339, whole seconds.
pub(crate) fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// Returns what a level asks of whoever reads: `act now`, `today`, `not seen`, `note`, `ok`.
pub(crate) fn word(level: Level) -> &'static str {
    match level {
        Level::Critical => "act now",
        Level::Warning => "today",
        Level::Unknown => "not seen",
        Level::Info => "note",
        Level::Ok => "ok",
    }
}

/// Shows a level by glyph and colour, and by its word for readers without eyes.
pub(crate) fn glyph(level: Level) -> Markup {
    let sign = match level {
        Level::Critical => "!!",
        Level::Warning => "!",
        Level::Unknown => "?",
        Level::Info => "i",
        Level::Ok => "✓",
    };
    html! {
        span .glyph.(level.as_str()) title=(word(level)) {
            span aria-hidden="true" { (sign) }
            span .unseen { (word(level)) " " }
        }
    }
}

/// Shows a level by glyph, word and colour.
pub(crate) fn badge(level: Level) -> Markup {
    html! { span .badge.(level.as_str()) { (glyph(level)) span aria-hidden="true" { (word(level)) } } }
}

/// Shows what was not seen: the reason, and what would make it seen; never ok, never 0.
pub(crate) fn not_seen(blind: &Blind) -> Markup {
    let remedy = blind.remedy();
    html! {
        div .not-seen {
            p { (glyph(Level::Unknown)) " " (blind.sentence()) }
            (copyable(&remedy))
        }
    }
}

/// Shows that there is nothing, why that is, and what to run to change it.
pub(crate) fn empty(what: &str, command: Option<&str>) -> Markup {
    html! {
        div .empty {
            p { (what) }
            @if let Some(command) = command { (copyable(command)) }
        }
    }
}

/// Shows SQL or a command with a button that copies it.
pub(crate) fn copyable(text: &str) -> Markup {
    html! { div .code { pre tabindex="0" { code { (text) } } button type="button" data-copy hidden { "Copy" } } }
}

/// Shows the command that says the same in a terminal.
pub(crate) fn command(text: &str) -> Markup {
    html! { p .cli { span { "CLI" } code { (text) } button type="button" data-copy hidden { "Copy" } } }
}

/// Returns a name as one segment or value of an address.
pub(crate) fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' | b',' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    // A segment of dots alone would be a way up.
    if !out.is_empty() && out.bytes().all(|byte| byte == b'.') {
        return out.replace('.', "%2E");
    }
    out
}

/// Returns the parameters of an address with some of them set or, by `None`, left out: `?sort=name&range=6h`.
pub(crate) fn address(query: &[(String, String)], changes: &[(&str, Option<&str>)]) -> String {
    let kept = query
        .iter()
        .filter(|(key, _)| changes.iter().all(|(changed, _)| changed != key))
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let set = changes
        .iter()
        .filter_map(|(key, value)| value.map(|value| (*key, value)));
    let pairs: Vec<String> = kept
        .chain(set)
        .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
        .collect();
    format!("?{}", pairs.join("&"))
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

    #[test]
    fn times_say_the_day_when_it_is_not_today() {
        let now: Timestamp = "2026-11-21T15:00:00Z".parse().unwrap();
        for (at, text) in [
            ("2026-11-21T03:12:07Z", "03:12 UTC"),
            ("2026-11-20T03:12:07Z", "20 Nov 03:12 UTC"),
            ("2025-11-21T03:12:07Z", "21 Nov 2025 03:12 UTC"),
        ] {
            assert_eq!(clock(now, at.parse().unwrap()), text);
        }
    }

    #[test]
    fn addresses_keep_the_rest_and_escape_everything() {
        let query = [("sort", "name"), ("range", "6h"), ("q", "a&b=<c>")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(
            address(&query, &[("range", Some("24h")), ("sort", None)]),
            "?q=a%26b%3D%3Cc%3E&range=24h"
        );
        assert_eq!(encode("../é\"'"), "..%2F%C3%A9%22%27");
        assert_eq!(encode(".."), "%2E%2E");
    }

    #[test]
    fn hostile_names_stay_text() {
        let shown = copyable("\"><script>alert(1)</script>").into_string();
        assert!(!shown.contains("<script"), "{shown}");
    }
}
