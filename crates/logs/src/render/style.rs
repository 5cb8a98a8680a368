//! Colour, width and time zone of a text for people, and its small words.

use jiff::{Timestamp, tz::TimeZone};
use pawang_core::Level;

/// How a text is shown.
#[derive(Clone, Debug)]
pub struct Style {
    /// Whether terminal colours may be used; every level also has its word.
    pub color: bool,
    /// Columns of the terminal; `None` means that lines are never cut.
    pub width: Option<usize>,
    /// The zone in which instants are shown.
    pub zone: TimeZone,
}

impl Style {
    /// Returns the style of files: no colour, no cutting.
    pub fn file(zone: TimeZone) -> Style {
        Style {
            color: false,
            width: None,
            zone,
        }
    }

    /// Returns the four-letter word of a level, coloured when that is allowed.
    pub(super) fn level(&self, level: Level) -> String {
        self.paint(level_word(level), level_code(level))
    }

    /// Returns a text in the colour of a level when that is allowed.
    pub(super) fn tint(&self, text: &str, level: Level) -> String {
        self.paint(text, level_code(level))
    }

    /// Returns a heading.
    pub(super) fn heading(&self, text: &str) -> String {
        self.paint(text, "1")
    }

    fn paint(&self, text: &str, code: &str) -> String {
        if self.color {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

fn level_code(level: Level) -> &'static str {
    match level {
        Level::Ok => "32",
        Level::Info => "36",
        Level::Unknown => "35",
        Level::Warning => "33",
        Level::Critical => "1;31",
    }
}

/// Returns the four-letter word of a level.
pub(super) fn level_word(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok  ",
        Level::Info => "info",
        Level::Unknown => "UNKN",
        Level::Warning => "WARN",
        Level::Critical => "CRIT",
    }
}

/// Instants as short as the span of the report allows.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    zone: TimeZone,
    form: &'static str,
}

impl Clock {
    /// Returns the clock of a report from `first` to `last`, in microseconds.
    pub(super) fn new(zone: &TimeZone, first: Option<i64>, last: Option<i64>) -> Clock {
        let date = |at: Option<i64>| Some(stamp(at?)?.to_zoned(zone.clone()).date());
        let form = match (date(first), date(last)) {
            (Some(first), Some(last)) if first == last => "%H:%M:%S",
            (Some(first), Some(last)) if first.year() == last.year() => "%m-%d %H:%M:%S",
            _ => "%Y-%m-%d %H:%M:%S",
        };
        Clock {
            zone: zone.clone(),
            form,
        }
    }

    /// Returns an instant, short.
    pub(super) fn at(&self, at: Option<i64>) -> String {
        let shown = at.and_then(stamp).map(|at| {
            at.to_zoned(self.zone.clone())
                .strftime(self.form)
                .to_string()
        });
        shown.unwrap_or_else(|| "-".to_owned())
    }

    /// Returns an instant with its date.
    pub(super) fn full(&self, at: Option<i64>) -> String {
        let full = |at: Timestamp| {
            let zoned = at.to_zoned(self.zone.clone());
            zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
        };
        at.and_then(stamp).map_or_else(|| "-".to_owned(), full)
    }

    /// Returns the name of the zone at an instant: `UTC`, `WIB`, `+07`.
    pub(super) fn zone(&self, at: Option<i64>) -> String {
        let at = at.and_then(stamp).unwrap_or(Timestamp::UNIX_EPOCH);
        at.to_zoned(self.zone.clone()).strftime("%Z").to_string()
    }
}

/// Returns microseconds as an instant.
pub(super) fn stamp(at: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(at).ok()
}

/// Returns microseconds as people say a length of time.
pub(super) fn time(microseconds: u64) -> String {
    pawang_chart::words::duration(microseconds as f64 / 1e6)
}

/// Returns an amount of bytes.
pub(super) fn bytes(bytes: u64) -> String {
    pawang_chart::words::bytes(bytes as f64)
}

/// Returns a whole number with its thousands apart; counts are exact and are shown so.
pub(super) fn whole(count: u64) -> String {
    pawang_chart::words::whole(count)
}

/// Returns `part` of `whole` in percent, for people; a part that is not all is never shown as `100 %`.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let share = part as f64 * 100.0 / whole as f64;
    match share {
        _ if part == 0 => "0 %".to_owned(),
        _ if part == whole => "100 %".to_owned(),
        share if share < 0.1 => "<0.1 %".to_owned(),
        share if share < 9.95 => format!("{share:.1} %"),
        share => format!("{:.0} %", share.min(99.0)),
    }
}

/// Says whether a character of a log may be shown: control characters must not reach a terminal, nor those that turn the direction of
/// writing around and so make a name look like another.
pub(super) fn shown(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !turns
}

/// Returns `text` on one line, with a space for what may not be shown.
pub(super) fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_whitespace() || !shown(c)) {
        if !word.is_empty() && !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// Returns `text` with its lines, and a space for what may not be shown.
pub(super) fn lines_of(text: &str) -> String {
    text.replace(|c: char| c != '\n' && !shown(c), " ")
}

/// Cuts a text to a number of characters and marks the cut with `...`.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width || width <= 3 {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width - 3).collect();
    short.truncate(short.trim_end().len());
    short + "..."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_never_rounded_to_all_or_nothing() {
        for (part, of, shown) in [
            (0, 10, "0 %"),
            (1, 100_000, "<0.1 %"),
            (1, 3, "33 %"),
            (1, 30, "3.3 %"),
            (9_999, 10_000, "99 %"),
            (10, 10, "100 %"),
            (1, 0, "-"),
        ] {
            assert_eq!(percent(part, of), shown, "{part} of {of}");
        }
    }

    #[test]
    fn texts_of_a_log_stay_on_their_line() {
        assert_eq!(one_line("a\n\tb\u{1b}[31m\u{202e}c  d"), "a b [31m c d");
        assert_eq!(cut("select * from orders", 12), "select *...");
        assert_eq!(cut("short", 12), "short");
    }

    #[test]
    fn instants_are_as_short_as_the_span_allows() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap().as_microsecond());
        let first = at("2026-11-21T03:12:07Z");
        for (last, shown) in [
            ("2026-11-21T04:00:00Z", "03:12:07"),
            ("2026-11-22T04:00:00Z", "11-21 03:12:07"),
            ("2027-11-22T04:00:00Z", "2026-11-21 03:12:07"),
        ] {
            assert_eq!(Clock::new(&TimeZone::UTC, first, at(last)).at(first), shown);
        }
    }
}
