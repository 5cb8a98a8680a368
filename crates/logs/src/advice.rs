//! What to change, from the numbers of a report.
//!
//! Every rule is silent where the report has no fact for it: a setting is called missing only when the log shows that it would have said
//! something.

mod logging;
mod sessions;
mod waits;
mod writes;

use pawang_core::{ByteSize, Level};

use crate::report::{Advice, Report};

/// A rule: a recommendation when the numbers call for it.
type Rule = fn(&Report) -> Option<Advice>;

/// All rules, in the order in which equal levels are shown.
const RULES: [&[Rule]; 4] = [writes::RULES, waits::RULES, sessions::RULES, logging::RULES];

/// Returns the recommendations that follow from a report, the most important first.
pub fn advise(report: &Report) -> Vec<Advice> {
    let rules = RULES.iter().flat_map(|rules| rules.iter());
    let mut advice: Vec<Advice> = rules.filter_map(|rule| rule(report)).collect();
    advice.sort_by_key(|advice| std::cmp::Reverse(advice.level));
    advice
}

/// Returns the statements that change a setting of the whole server.
fn set(setting: &str, value: &str) -> String {
    format!("ALTER SYSTEM SET {setting} = '{value}'; SELECT pg_reload_conf();")
}

/// Returns a duration in microseconds for people.
fn time(micros: u64) -> String {
    let tenths = |unit: u64| {
        let tenths = u128::from(micros) * 10 / u128::from(unit);
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    match micros {
        0..1_000_000 => format!("{} ms", tenths(1_000)),
        1_000_000..120_000_000 => format!("{} s", tenths(1_000_000)),
        120_000_000..7_200_000_000 => format!("{} min", tenths(60_000_000)),
        _ => format!("{} h", tenths(3_600_000_000)),
    }
}

/// Returns `1 file`, `2 files`.
fn many(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// Returns the share in percent, rounded down.
fn percent(part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(part) * 100 / u128::from(whole.max(1))).unwrap_or(u64::MAX)
}

/// Returns the least size that a person would set: a power of two of at least 4 MB.
fn round_size(bytes: u64) -> u64 {
    bytes
        .max(4 << 20)
        .checked_next_power_of_two()
        .unwrap_or(bytes)
}

/// Returns a size as a setting: `512MB`.
fn setting_size(bytes: u64) -> String {
    match bytes {
        size if size >= 1 << 30 && size.is_multiple_of(1 << 30) => format!("{}GB", size >> 30),
        size => format!("{}MB", size.div_ceil(1 << 20)),
    }
}

/// Returns a size for people.
fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

/// Returns the beginning of a statement, on one line.
fn beginning(text: &str) -> String {
    const LETTERS_MAX: usize = 80;
    let mut short: String = text.chars().take(LETTERS_MAX).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short.replace('\n', " ")
}

/// Returns how long the log is in microseconds; none when it has no two times.
fn span(report: &Report) -> Option<u64> {
    let (first, last) = (report.totals.first_at?, report.totals.last_at?);
    u64::try_from(last.checked_sub(first)?)
        .ok()
        .filter(|&span| span > 0)
}

/// Builds a recommendation.
fn advice(
    id: &str,
    level: Level,
    title: &str,
    because: String,
    remedy: impl Into<String>,
) -> Option<Advice> {
    Some(Advice {
        id: id.to_owned(),
        level,
        title: title.to_owned(),
        because,
        remedy: remedy.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Checks that a rule speaks for one report and not for another.
    pub(super) fn check(
        id: &str,
        faulty: impl FnOnce(&mut Report),
        healthy: impl FnOnce(&mut Report),
    ) -> Advice {
        let of = |change: &mut dyn FnMut(&mut Report)| {
            let mut report = Report::default();
            change(&mut report);
            advise(&report).into_iter().find(|advice| advice.id == id)
        };
        let (mut faulty, mut healthy) = (Some(faulty), Some(healthy));
        let found = of(&mut |report| healthy.take().expect("called once")(report));
        assert_eq!(found, None, "healthy");
        let found = of(&mut |report| faulty.take().expect("called once")(report));
        let found = found.unwrap_or_else(|| panic!("{id} is silent"));
        assert!(
            found.because.bytes().any(|byte| byte.is_ascii_digit()),
            "it has numbers: {}",
            found.because
        );
        assert!(!found.remedy.is_empty());
        found
    }

    #[test]
    fn an_empty_report_needs_nothing() {
        assert_eq!(advise(&Report::default()), []);
    }

    #[test]
    fn the_most_important_comes_first() {
        let mut report = Report::default();
        report.checkpoints.too_frequent = 1;
        report.integrity.forged.total = 1;
        report.server.crashes.push(crate::report::Crash {
            signal: 9,
            ..Default::default()
        });
        let levels: Vec<Level> = advise(&report).iter().map(|advice| advice.level).collect();
        assert!(levels.len() >= 3);
        assert!(levels.is_sorted_by(|left, right| left >= right));
        let ids: BTreeSet<String> = advise(&report)
            .into_iter()
            .map(|advice| advice.id)
            .collect();
        assert_eq!(ids.len(), levels.len());
    }

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(time(1_500), "1.5 ms");
        assert_eq!(time(9_000_000), "9.0 s");
        assert_eq!(time(7_200_000_000), "2.0 h");
        assert_eq!(many(1, "file", "files"), "1 file");
        assert_eq!(setting_size(round_size(3 << 30)), "4GB");
        assert_eq!(setting_size(round_size(5)), "4MB");
        assert_eq!(percent(1, 3), 33);
    }
}
