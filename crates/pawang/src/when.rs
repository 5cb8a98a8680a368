//! Words for instants and spans on the command line: `03:12`, `yesterday`, `-2h`, `2026-11-20 03:12`, RFC 3339.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};
use pawang_core::{Kind, Report, Timestamp};

const EXAMPLES: &str = "such as now, 03:12, yesterday, \"yesterday 03:12\", -2h, \"2026-11-20 03:12\" or 2026-11-20T03:12:00Z";

/// Reads an instant; a time of day is the last one that has passed.
///
/// # Errors
/// The words mean no instant.
pub(crate) fn instant(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, Report> {
    let wrong = || {
        Report::new(Kind::Usage, format!("cannot read \"{text}\" as a time"))
            .with_hint(format!("write it {EXAMPLES}"))
    };
    read(text.trim(), now, zone).ok_or_else(wrong)
}

/// Reads an instant that is to come; a time of day is the next one, and a length of time counts from now.
///
/// # Errors
/// The words mean no instant.
pub(crate) fn coming(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, Report> {
    let text = text.trim();
    let later = parse_length(text.strip_prefix('+').unwrap_or(text));
    if let Some(at) = later.and_then(|length| now.checked_add(length).ok()) {
        return Ok(at);
    }
    let day = |text: &str| -> Option<Timestamp> {
        let time = text.parse::<Time>().ok().filter(|_| !text.contains('-'))?;
        let today = now.to_zoned(zone.clone()).date();
        let at = |date| zone.to_timestamp(DateTime::from_parts(date, time)).ok();
        let today_at = at(today)?;
        if today_at > now {
            return Some(today_at);
        }
        at(today.checked_add(1.day()).ok()?)
    };
    match day(text) {
        Some(at) => Ok(at),
        None => instant(text, now, zone),
    }
}

/// Reads a length of time, such as `90s`, `1h`, `7d`.
///
/// # Errors
/// The words mean no length of time.
pub(crate) fn length(text: &str) -> Result<SignedDuration, Report> {
    let wrong = || {
        Report::new(
            Kind::Usage,
            format!("cannot read \"{text}\" as a length of time"),
        )
        .with_hint("write it such as 90s, 15min, 1h or 7d")
    };
    parse_length(text.trim())
        .filter(|length| length.is_positive())
        .ok_or_else(wrong)
}

fn parse_length(text: &str) -> Option<SignedDuration> {
    let days = text
        .strip_suffix('d')
        .and_then(|days| days.trim().parse::<i64>().ok());
    match days {
        Some(days) => days
            .checked_mul(24)
            .and_then(SignedDuration::try_from_hours),
        None => text.parse().ok(),
    }
}

fn read(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    if text == "now" {
        return Some(now);
    }
    if let Some(back) = text.strip_prefix('-') {
        return now.checked_sub(parse_length(back)?).ok();
    }
    let here = now.to_zoned(zone.clone());
    let at = |date: jiff::civil::Date, time: Time| {
        zone.to_timestamp(DateTime::from_parts(date, time)).ok()
    };
    if let Some(rest) = text.strip_prefix("yesterday") {
        let day = here.date().checked_sub(1.day()).ok()?;
        // Without a time of day it is this time, one day ago.
        let time = match rest.trim() {
            "" => here.time(),
            rest => rest.parse().ok()?,
        };
        return at(day, time);
    }
    if let Some(rest) = text.strip_prefix("today ") {
        return at(here.date(), rest.trim().parse().ok()?);
    }
    // A date with a time would be read as that time.
    let time = text.parse::<Time>().ok();
    if let Some(time) = time.filter(|_| !text.contains('-')) {
        let today = at(here.date(), time)?;
        if today <= now {
            return Some(today);
        }
        return at(here.date().checked_sub(1.day()).ok()?, time);
    }
    let instant = text.parse::<Timestamp>().ok();
    instant.or_else(|| zone.to_timestamp(text.parse::<DateTime>().ok()?).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_instants() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        // Seven hours ahead of UTC: it is 17:00 there.
        let zone = TimeZone::get("Asia/Jakarta").unwrap();
        for (text, expected) in [
            ("now", "2026-11-21T10:00:00Z"),
            ("03:12", "2026-11-20T20:12:00Z"),
            ("18:30", "2026-11-20T11:30:00Z"),
            ("yesterday", "2026-11-20T10:00:00Z"),
            ("yesterday 03:12", "2026-11-19T20:12:00Z"),
            ("today 03:12", "2026-11-20T20:12:00Z"),
            ("-2h", "2026-11-21T08:00:00Z"),
            ("-7d", "2026-11-14T10:00:00Z"),
            ("2026-11-20 03:12", "2026-11-19T20:12:00Z"),
            ("2026-11-20", "2026-11-19T17:00:00Z"),
            ("2026-11-20T03:12:00Z", "2026-11-20T03:12:00Z"),
        ] {
            let found = instant(text, now, &zone).unwrap();
            assert_eq!(found, expected.parse().unwrap(), "{text}");
        }
        for text in [
            "",
            "soon",
            "25:00",
            "-",
            "-x",
            "yesterday noon",
            "2026-13-01",
        ] {
            assert!(instant(text, now, &zone).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_of_day_that_is_to_come_is_the_next_one() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("22:00", "2026-11-21T22:00:00Z"),
            ("09:00", "2026-11-22T09:00:00Z"),
            ("2h", "2026-11-21T12:00:00Z"),
            ("+1d", "2026-11-22T10:00:00Z"),
            ("2026-12-01 22:00", "2026-12-01T22:00:00Z"),
        ] {
            let found = coming(text, now, &TimeZone::UTC).unwrap();
            assert_eq!(found, expected.parse().unwrap(), "{text}");
        }
        assert!(coming("soon", now, &TimeZone::UTC).is_err());
    }

    #[test]
    fn words_mean_lengths() {
        for (text, seconds) in [("90s", 90), ("1h", 3_600), ("7d", 604_800), ("15min", 900)] {
            assert_eq!(length(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "0s", "-1h", "1", "d", "99999999999999999d"] {
            assert!(length(text).is_err(), "{text}");
        }
    }
}
