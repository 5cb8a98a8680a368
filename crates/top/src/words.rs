//! Numbers and ages as short words that keep their column narrow.

use pawang_core::{Timestamp, Unit};

/// What stands for something that was not seen.
pub(crate) const NOTHING: &str = "-";

/// Returns a number in a unit, or a dash.
pub(crate) fn number(value: Option<f64>, unit: Unit) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| unit.show(value))
}

/// Returns an amount with at most four digits: `950`, `12.3k`, `4.1M`.
pub(crate) fn short(value: Option<f64>) -> String {
    let Some(value) = value else {
        return NOTHING.to_owned();
    };
    let mut scaled = value;
    let mut index = 0;
    let suffixes = ["", "k", "M", "G", "T", "P"];
    while scaled.abs() >= 999.95 && index + 1 < suffixes.len() {
        scaled /= 1000.0;
        index += 1;
    }
    match (index, scaled.abs()) {
        (0, _) if scaled.fract() == 0.0 => format!("{scaled:.0}"),
        (_, 100.0..) => format!("{scaled:.0}{}", suffixes[index]),
        _ => format!("{scaled:.1}{}", suffixes[index]),
    }
}

/// Returns how long ago something was: `4 s`, `3 min`, `5 h`, `2 d`.
pub(crate) fn age(at: Timestamp, now: Timestamp) -> String {
    seconds(now.duration_since(at).as_secs_f64().max(0.0))
}

/// Returns a duration in its largest unit.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        ..9.95 => format!("{seconds:.1} s"),
        ..120.0 => format!("{seconds:.0} s"),
        ..7_200.0 => format!("{:.0} min", (seconds / 60.0).floor()),
        ..172_800.0 => format!("{:.0} h", (seconds / 3_600.0).floor()),
        _ => format!("{:.0} d", (seconds / 86_400.0).floor()),
    }
}

/// Returns a text on one line; nothing of a server's text reaches the terminal as a control character.
pub(crate) fn line(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let clean = text.replace(|c: char| c.is_control() || turns(c), " ");
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_narrow() {
        for (value, text) in [
            (0.0, "0"),
            (0.25, "0.2"),
            (950.0, "950"),
            (999.99, "1.0k"),
            (12_345.0, "12.3k"),
            (4_100_000.0, "4.1M"),
            (-2_500.0, "-2.5k"),
        ] {
            assert_eq!(short(Some(value)), text);
        }
        assert_eq!(short(None), "-");
    }

    #[test]
    fn ages_use_their_largest_unit() {
        for (value, text) in [
            (0.42, "0.4 s"),
            (41.0, "41 s"),
            (185.0, "3 min"),
            (18_100.0, "5 h"),
            (180_000.0, "2 d"),
        ] {
            assert_eq!(seconds(value), text);
        }
    }

    #[test]
    fn a_hostile_text_stays_on_its_line() {
        assert_eq!(line("a\n\u{1b}[31mb\u{202e} c\0"), "a [31mb c");
    }
}
