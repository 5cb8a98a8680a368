//! The bounds of range partitions, read from the server's text, and the step from one to the next.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// One edge of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    /// `MINVALUE` or `MAXVALUE`.
    Open,
    /// A value of the key.
    At(Key),
}

/// A value of a partition key that can be counted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A whole number.
    Number(i64),
    /// `date` and `timestamp`: as a clock on the wall shows it.
    Civil(DateTime),
    /// `timestamptz`.
    Instant(Timestamp),
}

/// Which kind of key a partitioned table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    /// `smallint`, `integer`, `bigint`.
    Number,
    /// `date`.
    Date,
    /// `timestamp`.
    Civil,
    /// `timestamptz`.
    Instant,
}

/// How far it is from one bound to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many numbers.
    Numbers(i64),
    /// So many months by the calendar.
    Months(i32),
    /// So many seconds by the clock.
    Seconds(i64),
}

impl KeyKind {
    pub(super) fn of(type_name: &str) -> Option<KeyKind> {
        match type_name {
            "int2" | "int4" | "int8" => Some(KeyKind::Number),
            "date" => Some(KeyKind::Date),
            "timestamp" => Some(KeyKind::Civil),
            "timestamptz" => Some(KeyKind::Instant),
            _ => None,
        }
    }

    fn read(self, text: &str) -> Option<Key> {
        match self {
            KeyKind::Number => text.parse().ok().map(Key::Number),
            KeyKind::Date | KeyKind::Civil => {
                let text = text.replacen(' ', "T", 1);
                text.parse().ok().map(Key::Civil)
            }
            // Observation reads with the time zone UTC: the offset is +00.
            KeyKind::Instant => text.parse().ok().map(Key::Instant),
        }
    }

    /// Returns a key as the text of a literal.
    pub(super) fn literal(self, key: Key) -> String {
        match (self, key) {
            (_, Key::Number(number)) => number.to_string(),
            (KeyKind::Date, Key::Civil(at)) => at.strftime("%Y-%m-%d").to_string(),
            (_, Key::Civil(at)) => at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            (_, Key::Instant(at)) => at.strftime("%Y-%m-%d %H:%M:%S+00").to_string(),
        }
    }
}

/// Reads `FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')`.
pub(super) fn parse(bound: &str, kind: KeyKind) -> Option<(Edge, Edge)> {
    let inner = bound.strip_prefix("FOR VALUES FROM (")?.strip_suffix(')')?;
    let (from, to) = inner.split_once(") TO (")?;
    let edge = |text: &str| match text {
        "MINVALUE" | "MAXVALUE" => Some(Edge::Open),
        "'-infinity'" | "'infinity'" => Some(Edge::Open),
        text => {
            let plain = text
                .strip_prefix('\'')
                .and_then(|text| text.strip_suffix('\''));
            kind.read(plain.unwrap_or(text)).map(Edge::At)
        }
    };
    Some((edge(from)?, edge(to)?))
}

impl Key {
    /// Returns what the clock of a zone shows; `None` for numbers.
    pub(super) fn civil(self, zone: &TimeZone) -> Option<DateTime> {
        match self {
            Key::Number(_) => None,
            Key::Civil(at) => Some(at),
            Key::Instant(at) => Some(zone.to_datetime(at)),
        }
    }

    /// Returns the instant; `None` for numbers.
    pub(super) fn instant(self, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Key::Number(_) => None,
            Key::Civil(at) => zone.to_ambiguous_timestamp(at).compatible().ok(),
            Key::Instant(at) => Some(at),
        }
    }

    fn with_civil(self, at: DateTime, zone: &TimeZone) -> Option<Key> {
        match self {
            Key::Instant(_) => zone
                .to_ambiguous_timestamp(at)
                .compatible()
                .ok()
                .map(Key::Instant),
            _ => Some(Key::Civil(at)),
        }
    }
}

impl Step {
    /// Returns the one step that all ranges have, by the clock of a zone.
    pub(super) fn detect(ranges: &[(Key, Key)], zone: &TimeZone) -> Option<Step> {
        let same = |steps: Vec<Option<Step>>| {
            let first = (*steps.first()?)?;
            steps
                .iter()
                .all(|step| *step == Some(first))
                .then_some(first)
        };
        let by = |step: fn(Key, Key, &TimeZone) -> Option<Step>| {
            same(
                ranges
                    .iter()
                    .map(|(from, to)| step(*from, *to, zone))
                    .collect(),
            )
        };
        by(numbers).or_else(|| by(months)).or_else(|| by(seconds))
    }

    /// Returns the bound so many steps away.
    pub(super) fn add(self, key: Key, times: i32, zone: &TimeZone) -> Option<Key> {
        match (self, key) {
            (Step::Numbers(step), Key::Number(number)) => {
                let distance = step.checked_mul(times.into())?;
                number.checked_add(distance).map(Key::Number)
            }
            (Step::Months(months), key) => {
                let span = months.checked_mul(times)?.months();
                key.with_civil(key.civil(zone)?.checked_add(span).ok()?, zone)
            }
            (Step::Seconds(seconds), key) => {
                let span = SignedDuration::from_secs(seconds.checked_mul(times.into())?);
                key.with_civil(key.civil(zone)?.checked_add(span).ok()?, zone)
            }
            _ => None,
        }
    }

    /// Returns it in words.
    pub(super) fn words(self) -> String {
        match self {
            Step::Numbers(step) => format!("{step} numbers"),
            Step::Months(1) => "a month".to_owned(),
            Step::Months(months) if months % 12 == 0 => format!("{} years", months / 12),
            Step::Months(months) => format!("{months} months"),
            Step::Seconds(86_400) => "a day".to_owned(),
            Step::Seconds(seconds) if seconds % 86_400 == 0 => format!("{} days", seconds / 86_400),
            Step::Seconds(seconds) => format!("{seconds} s"),
        }
    }
}

fn numbers(from: Key, to: Key, _: &TimeZone) -> Option<Step> {
    match (from, to) {
        (Key::Number(from), Key::Number(to)) => {
            let step = to.checked_sub(from).filter(|step| *step > 0)?;
            Some(Step::Numbers(step))
        }
        _ => None,
    }
}

fn months(from: Key, to: Key, zone: &TimeZone) -> Option<Step> {
    let (from, to) = (from.civil(zone)?, to.civil(zone)?);
    let whole = from.time() == to.time() && from.day() == 1 && to.day() == 1;
    let months = |at: DateTime| i32::from(at.year()) * 12 + i32::from(at.month());
    let step = months(to) - months(from);
    (whole && step > 0).then_some(Step::Months(step))
}

fn seconds(from: Key, to: Key, zone: &TimeZone) -> Option<Step> {
    let seconds = to.civil(zone)?.duration_since(from.civil(zone)?).as_secs();
    (seconds > 0).then_some(Step::Seconds(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(type_name: &str, zone: &str, bounds: &[&str]) -> Option<Step> {
        let kind = KeyKind::of(type_name).unwrap();
        let ranges: Vec<(Key, Key)> = bounds
            .iter()
            .map(|bound| match parse(bound, kind) {
                Some((Edge::At(from), Edge::At(to))) => (from, to),
                other => panic!("{bound}: {other:?}"),
            })
            .collect();
        Step::detect(&ranges, &TimeZone::get(zone).unwrap())
    }

    #[test]
    fn bounds_are_read_as_the_server_writes_them() {
        for (kind, zone, bounds, expected) in [
            (
                "date",
                "UTC",
                &[
                    "FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
                    "FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
                ][..],
                Some(Step::Months(1)),
            ),
            (
                "date",
                "UTC",
                &["FOR VALUES FROM ('2026-01-05') TO ('2026-01-12')"][..],
                Some(Step::Seconds(7 * 86_400)),
            ),
            (
                "timestamptz",
                "Asia/Jakarta",
                &[
                    "FOR VALUES FROM ('2025-12-31 17:00:00+00') TO ('2026-01-31 17:00:00+00')",
                    "FOR VALUES FROM ('2026-01-31 17:00:00+00') TO ('2026-02-28 17:00:00+00')",
                ][..],
                Some(Step::Months(1)),
            ),
            (
                "timestamptz",
                "UTC",
                &[
                    "FOR VALUES FROM ('2025-12-31 17:00:00+00') TO ('2026-01-31 17:00:00+00')",
                    "FOR VALUES FROM ('2026-01-31 17:00:00+00') TO ('2026-02-28 17:00:00+00')",
                ][..],
                None,
            ),
            (
                "timestamptz",
                "Europe/Berlin",
                &[
                    "FOR VALUES FROM ('2026-03-27 23:00:00+00') TO ('2026-03-28 23:00:00+00')",
                    "FOR VALUES FROM ('2026-03-28 23:00:00+00') TO ('2026-03-29 22:00:00+00')",
                ][..],
                Some(Step::Seconds(86_400)),
            ),
            (
                "int8",
                "UTC",
                &["FOR VALUES FROM ('0') TO ('1000')"][..],
                Some(Step::Numbers(1000)),
            ),
            (
                "int4",
                "UTC",
                &[
                    "FOR VALUES FROM (0) TO (10)",
                    "FOR VALUES FROM (10) TO (30)",
                ][..],
                None,
            ),
            (
                "timestamp",
                "UTC",
                &["FOR VALUES FROM ('2026-01-01 00:00:00') TO ('2027-01-01 00:00:00')"][..],
                Some(Step::Months(12)),
            ),
        ] {
            assert_eq!(detected(kind, zone, bounds), expected, "{bounds:?}");
        }
    }

    #[test]
    fn open_ranges_and_other_bounds_are_told_apart() {
        let open = parse("FOR VALUES FROM (MINVALUE) TO (5)", KeyKind::Number);
        assert_eq!(open, Some((Edge::Open, Edge::At(Key::Number(5)))));
        assert_eq!(parse("DEFAULT", KeyKind::Number), None);
    }

    #[test]
    fn a_step_by_the_clock_of_a_zone_keeps_its_hour() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let from = Key::Instant("2026-03-28T23:00:00Z".parse().unwrap());
        let next = Step::Seconds(86_400).add(from, 1, &zone).unwrap();
        assert_eq!(KeyKind::Instant.literal(next), "2026-03-29 22:00:00+00");
        let back = Step::Months(1).add(
            Key::Civil("2026-01-01T00:00:00".parse().unwrap()),
            -1,
            &zone,
        );
        assert_eq!(KeyKind::Date.literal(back.unwrap()), "2025-12-01");
    }
}
