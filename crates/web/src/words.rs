//! Words for people: ages, times, levels, reasons; and addresses that keep what was chosen. Those of numbers are the charts'.

use maud::{Markup, html};
pub(crate) use pawang_chart::words::{bytes, duration, exact, instant, number, quantity};
use pawang_core::{Blind, Level, Timestamp};

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

fn sign(level: Level) -> &'static str {
    match level {
        Level::Critical => "!!",
        Level::Warning => "!",
        Level::Unknown => "?",
        Level::Info => "i",
        Level::Ok => "✓",
    }
}

/// Shows a level by glyph and colour, and by its word for readers without eyes.
pub(crate) fn glyph(level: Level) -> Markup {
    html! {
        span .glyph.(level.as_str()) title=(word(level)) {
            span aria-hidden="true" { (sign(level)) }
            span .unseen { (word(level)) " " }
        }
    }
}

/// Shows a level by glyph, word and colour; the word is read once.
pub(crate) fn badge(level: Level) -> Markup {
    let kind = level.as_str();
    html! { span .badge.(kind) { span .glyph.(kind) aria-hidden="true" { (sign(level)) } span { (word(level)) } } }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badge_says_its_word_once() {
        let badge = badge(Level::Warning).into_string();
        assert_eq!(badge.matches("today").count(), 1, "{badge}");
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
