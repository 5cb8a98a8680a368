//! To where a cluster is restored, and how people write it. A time without its zone is never guessed.

use std::fmt;

use jiff::civil::DateTime;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{Timestamp, Zoned};
use pawang_core::{Kind, Lsn, Report};
use serde::{Deserialize, Serialize};

/// A restore point's name may be so long (`MAXFNAMELEN` of PostgreSQL without its end).
const NAME_BYTES_MAX: usize = 63;
/// The first transaction id that is no constant of PostgreSQL.
const FIRST_XID: u32 = 3;
const EXAMPLE: &str =
    "write it with its zone: --to \"2026-11-20 14:30 Asia/Jakarta\", or --to 2026-11-20T07:30:00Z";

/// Where replay of WAL ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "at")]
pub enum Target {
    /// At the end of the archive.
    Latest,
    /// Where the data of the backup are consistent, at the earliest possible point.
    Immediate,
    /// Before the first transaction that committed after this instant.
    Time(Timestamp),
    /// Behind the first record that begins at this position or later.
    Lsn(Lsn),
    /// Behind the commit of a transaction.
    Xid(u32),
    /// At a restore point, which `pg_create_restore_point` made.
    Name(String),
}

impl Target {
    /// Returns the setting of PostgreSQL with its value; none for the end of the archive.
    pub fn setting(&self) -> Option<(&'static str, String)> {
        Some(match self {
            Target::Latest => return None,
            Target::Immediate => ("recovery_target", "immediate".to_owned()),
            Target::Time(at) => ("recovery_target_time", postgres_time(*at)),
            Target::Lsn(at) => ("recovery_target_lsn", at.to_string()),
            Target::Xid(id) => ("recovery_target_xid", id.to_string()),
            Target::Name(name) => ("recovery_target_name", name.clone()),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Latest => f.write_str("the end of the archive"),
            Target::Immediate => f.write_str("the end of the backup"),
            Target::Time(at) => write!(f, "{at}"),
            Target::Lsn(at) => write!(f, "WAL position {at}"),
            Target::Xid(id) => write!(f, "transaction {id}"),
            Target::Name(name) => write!(f, "restore point \"{name}\""),
        }
    }
}

/// PostgreSQL keeps microseconds; a finer target would be read as the one before it.
fn postgres_time(at: Timestamp) -> String {
    let micros = at.as_microsecond().rem_euclid(1_000_000);
    format!("{}.{micros:06}+00", at.strftime("%Y-%m-%d %H:%M:%S"))
}

/// Reads what stands behind `--to`: `latest`, `immediate`, or a time with its zone. `here` is the zone of whoever asks,
/// only to show how the time would be written with it.
///
/// # Errors
/// The text is no time, has no zone, or means two instants or none.
pub fn parse(text: &str, here: &TimeZone) -> Result<Target, Report> {
    let text = text.trim();
    match text {
        "latest" => Ok(Target::Latest),
        "immediate" => Ok(Target::Immediate),
        _ => time(text, here).map(Target::Time),
    }
}

/// Reads a transaction id as WAL has it, without its epoch.
///
/// # Errors
/// It is none.
pub fn xid(text: &str) -> Result<Target, Report> {
    let wrong = || {
        Report::new(
            Kind::Usage,
            format!("cannot read \"{text}\" as a transaction id"),
        )
        .with_hint("write the number that pg_current_xact_id() gave, modulo 4294967296")
    };
    let id = text.trim().parse().ok().filter(|id| *id >= FIRST_XID);
    id.map(Target::Xid).ok_or_else(wrong)
}

/// Reads the name of a restore point.
///
/// # Errors
/// PostgreSQL has no restore point of such a name.
pub fn name(text: &str) -> Result<Target, Report> {
    let fits =
        !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control);
    fits.then(|| Target::Name(text.to_owned())).ok_or_else(|| {
        Report::new(
            Kind::Usage,
            format!(
                "cannot read \"{}\" as the name of a restore point",
                text.escape_debug()
            ),
        )
        .with_detail(format!(
            "it has 1 to {NAME_BYTES_MAX} bytes and no control characters"
        ))
    })
}

fn time(text: &str, here: &TimeZone) -> Result<Timestamp, Report> {
    // `2026-11-20T14:30+07:00[Asia/Jakarta]`: jiff refuses an offset that the zone does not have then.
    if text.ends_with(']') {
        return text
            .parse::<Zoned>()
            .map(|zoned| zoned.timestamp())
            .map_err(|error| unreadable(text).with_detail(error.to_string()));
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    if let Ok(civil) = civil(text) {
        return Err(zoneless(text, civil, here));
    }
    let Some((local, zone)) = text.rsplit_once(char::is_whitespace) else {
        return Err(unreadable(text));
    };
    let civil = civil(local.trim()).map_err(|problem| match problem {
        Some(problem) => unreadable(text).with_detail(problem),
        None => unreadable(text),
    })?;
    let zone = named_zone(zone).ok_or_else(|| {
        Report::new(
            Kind::Usage,
            format!("\"{zone}\" is the name of no time zone"),
        )
        .with_hint("write it as in Asia/Jakarta, UTC or +07:00")
    })?;
    let ambiguous = zone.to_ambiguous_timestamp(civil);
    match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { offset } => {
            at(offset, civil).ok_or_else(|| unreadable(text))
        }
        AmbiguousOffset::Fold { before, after } => Err(two_readings(
            text,
            civil,
            [before, after],
            "happened twice there, when clocks were set back",
        )),
        AmbiguousOffset::Gap { before, after } => Err(two_readings(
            text,
            civil,
            [before, after],
            "never happened there: clocks were set forward over it",
        )),
    }
}

/// Reads a date with a time of day; a date alone is no instant that a person means.
fn civil(text: &str) -> Result<DateTime, Option<String>> {
    let civil: DateTime = text.parse().map_err(|_| None)?;
    if text.contains(':') {
        Ok(civil)
    } else {
        Err(Some(format!("\"{text}\" says no time of day")))
    }
}

fn named_zone(text: &str) -> Option<TimeZone> {
    if matches!(text, "Z" | "z") {
        return Some(TimeZone::UTC);
    }
    if text.starts_with(['+', '-']) {
        return DateTimeParser::new().parse_time_zone(text).ok();
    }
    // Not what POSIX writes: there UTC+7 lies west of Greenwich, and whoever writes it means the east.
    TimeZone::get(text).ok()
}

fn at(offset: Offset, civil: DateTime) -> Option<Timestamp> {
    offset.to_timestamp(civil).ok()
}

fn unreadable(text: &str) -> Report {
    Report::new(
        Kind::Usage,
        format!("cannot read \"{text}\" as a time to restore to"),
    )
    .with_hint(EXAMPLE)
}

/// Asks which zone is meant, and shows what to type for the likely answers.
fn zoneless(text: &str, civil: DateTime, here: &TimeZone) -> Report {
    let shown = civil.strftime("%Y-%m-%d %H:%M:%S");
    let local = match here.iana_name() {
        Some("UTC" | "Etc/UTC") => None,
        Some(name) => Some(name.to_owned()),
        None => here
            .to_timestamp(civil)
            .ok()
            .map(|instant| here.to_offset(instant).to_string()),
    };
    let local = local.map_or_else(String::new, |zone| format!("--to \"{shown} {zone}\" or "));
    Report::new(Kind::Usage, format!("time \"{text}\" has no zone: which one is meant?"))
        .with_detail("servers, people and logs may live in different zones, and a restore to the wrong hour loses data")
        .with_hint(format!("{local}--to \"{shown} UTC\""))
}

fn two_readings(text: &str, civil: DateTime, offsets: [Offset; 2], why: &str) -> Report {
    let [first, second] = offsets.map(|offset| {
        let instant = at(offset, civil).unwrap_or_default();
        (instant.display_with_offset(offset).to_string(), instant)
    });
    Report::new(Kind::Usage, format!("time \"{text}\" {why}"))
        .with_detail(format!(
            "it is {} ({}) or {} ({})",
            first.0, first.1, second.0, second.1
        ))
        .with_hint(format!("--to {} or --to {}", first.0, second.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jakarta() -> TimeZone {
        TimeZone::get("Asia/Jakarta").unwrap()
    }

    #[test]
    fn times_with_a_zone_are_instants() {
        for (text, expected) in [
            ("2026-11-20T07:30:00Z", "2026-11-20T07:30:00Z"),
            ("2026-11-20 07:30:00.25Z", "2026-11-20T07:30:00.25Z"),
            ("2026-11-20T14:30:00+07:00", "2026-11-20T07:30:00Z"),
            ("2026-11-20 14:30 Asia/Jakarta", "2026-11-20T07:30:00Z"),
            (
                "  2026-11-20 14:30:15  Asia/Jakarta ",
                "2026-11-20T07:30:15Z",
            ),
            ("2026-11-20 14:30 +07:00", "2026-11-20T07:30:00Z"),
            ("2026-11-20 14:30 +07", "2026-11-20T07:30:00Z"),
            ("2026-11-20 14:30 UTC", "2026-11-20T14:30:00Z"),
            ("2026-11-20 14:30 Z", "2026-11-20T14:30:00Z"),
            (
                "2026-11-20T14:30+07:00[Asia/Jakarta]",
                "2026-11-20T07:30:00Z",
            ),
        ] {
            let found = parse(text, &TimeZone::UTC);
            assert_eq!(found, Ok(Target::Time(expected.parse().unwrap())), "{text}");
        }
        assert_eq!(parse("latest", &jakarta()), Ok(Target::Latest));
        assert_eq!(parse(" immediate", &jakarta()), Ok(Target::Immediate));
    }

    #[test]
    fn a_time_without_zone_is_a_question() {
        let asked = parse("2026-11-20 14:30", &jakarta()).unwrap_err();
        assert!(asked.primary.contains("which one is meant"), "{asked}");
        let hint = asked.hint.unwrap();
        for way in [
            "2026-11-20 14:30:00 Asia/Jakarta",
            "2026-11-20 14:30:00 UTC",
        ] {
            assert!(hint.contains(way), "{hint}");
            assert!(parse(way, &TimeZone::UTC).is_ok(), "{way}");
        }
        let hint = parse("2026-11-20T14:30:00", &TimeZone::UTC)
            .unwrap_err()
            .hint;
        assert_eq!(hint.unwrap(), "--to \"2026-11-20 14:30:00 UTC\"");
    }

    #[test]
    fn a_local_time_that_is_two_or_none_is_refused_with_both_readings() {
        // Clocks went back at 03:00 summer time, and forward at 02:00 winter time.
        for (text, word, readings) in [
            (
                "2026-10-25 02:30 Europe/Berlin",
                "twice",
                ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"],
            ),
            (
                "2026-03-29 02:30 Europe/Berlin",
                "never",
                ["2026-03-29T02:30:00+01:00", "2026-03-29T02:30:00+02:00"],
            ),
        ] {
            let refused = parse(text, &TimeZone::UTC).unwrap_err();
            assert!(refused.primary.contains(word), "{refused}");
            for reading in readings {
                assert!(
                    refused.hint.as_ref().unwrap().contains(reading),
                    "{refused}"
                );
                assert!(parse(reading, &TimeZone::UTC).is_ok(), "{reading}");
            }
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "soon",
            "2026-11-20",
            "2026-11-20 Asia/Jakarta",
            "14:30 UTC",
            "2026-11-20 14:30 Asia/Nowhere",
            "2026-11-20 14:30 UTC+7",
            "2026-13-20 14:30 UTC",
            "2026-11-20 25:30 UTC",
            "2026-11-20T14:30+09:00[Asia/Jakarta]",
        ] {
            assert!(parse(text, &jakarta()).is_err(), "{text}");
        }
        assert!(xid("2").is_err() && xid("-7").is_err() && xid("4294967296").is_err());
        assert_eq!(xid("731"), Ok(Target::Xid(731)));
        assert!(name("").is_err() && name("a\nb").is_err() && name(&"x".repeat(64)).is_err());
        assert_eq!(
            name("before batch 42"),
            Ok(Target::Name("before batch 42".to_owned()))
        );
    }

    #[test]
    fn postgresql_reads_times_in_utc_with_microseconds() {
        let at: Timestamp = "2026-11-20T07:30:00.123456789Z".parse().unwrap();
        assert_eq!(
            Target::Time(at).setting(),
            Some((
                "recovery_target_time",
                "2026-11-20 07:30:00.123456+00".to_owned()
            ))
        );
        let early: Timestamp = "1969-12-31T23:59:59.5Z".parse().unwrap();
        assert_eq!(postgres_time(early), "1969-12-31 23:59:59.500000+00");
    }
}
