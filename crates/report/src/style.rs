//! Colour, width and time zone of a text for people.

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
    /// Returns the four-letter word of a level, coloured when that is allowed.
    pub(crate) fn level(&self, level: Level) -> String {
        let (word, code) = match level {
            Level::Ok => ("ok  ", "32"),
            Level::Info => ("info", "36"),
            Level::Unknown => ("UNKN", "35"),
            Level::Warning => ("WARN", "33"),
            Level::Critical => ("CRIT", "1;31"),
        };
        self.paint(word, code)
    }

    /// Returns a line that says whose findings follow.
    pub fn heading(&self, name: &str) -> String {
        self.paint(&one_line(name), "1") + ":\n"
    }

    /// Returns `text` in a colour when that is allowed.
    pub(crate) fn paint(&self, text: &str, code: &str) -> String {
        if self.color {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// Returns an instant as people say it: the time alone when it is less than a day before `now`.
    pub(crate) fn instant(&self, instant: Timestamp, now: Timestamp) -> String {
        let zoned = instant.to_zoned(self.zone.clone());
        let recent = now.duration_since(instant).as_hours() < 20;
        zoned
            .strftime(if recent { "%H:%M" } else { "%Y-%m-%d %H:%M" })
            .to_string()
    }

    /// Returns an instant with date, time and zone.
    pub(crate) fn full(&self, instant: Timestamp) -> String {
        instant
            .to_zoned(self.zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S %Z")
            .to_string()
    }
}

/// Cuts a line to a number of columns and marks the cut with `...`.
pub(crate) fn cut(line: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if line.chars().count() > width && width > 3 => {
            let mut short: String = line.chars().take(width - 3).collect();
            short.push_str("...");
            short
        }
        _ => line.to_owned(),
    }
}

/// Returns `text` on one line: control characters from a server must not reach a terminal, nor those that turn the
/// direction of writing around and so make a name look like another.
pub fn one_line(text: &str) -> String {
    let safe = |c: char| {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns { ' ' } else { c }
    };
    text.chars().map(safe).collect()
}
