//! Instants as the structured formats write them: `2026-11-22 04:23:06.226 WIB` and RFC 3339.

/// Zone abbreviations that mean one thing only, with their seconds east of UTC.
const ZONES: [(&[u8], i64); 6] = [
    (b"UTC", 0),
    (b"GMT", 0),
    (b"Z", 0),
    (b"WIB", 7 * 3600),
    (b"WITA", 8 * 3600),
    (b"WIT", 9 * 3600),
];

/// Returns the microseconds since 1970-01-01 UTC of a timestamp with its zone; a timestamp without zone is one of UTC, one of an
/// unknown zone is none.
pub(crate) fn micros(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_at_checked(19)?;
    let local = seconds(date)?;
    let (fraction, zone) = fraction(rest);
    let zone = zone.strip_prefix(b" ").unwrap_or(zone);
    Some((local - offset(zone)?) * 1_000_000 + fraction)
}

/// Tells whether the bytes begin with `YYYY-MM-DD HH:MM:SS`.
pub(crate) fn begins(bytes: &[u8]) -> bool {
    bytes.get(..19).is_some_and(|date| seconds(date).is_some())
}

/// Returns the seconds since 1970-01-01 of a local date and time of the civil calendar.
pub(crate) fn civil(year: i64, month: i64, day: i64, seconds_of_day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era - 719_468) * 86_400 + seconds_of_day
}

/// Returns the seconds of `HH:MM:SS`.
pub(crate) fn clock(text: &[u8]) -> Option<i64> {
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = text else {
        return None;
    };
    let (hour, minute, second) = (two(h1, h2)?, two(m1, m2)?, two(s1, s2)?);
    (hour < 24 && minute < 60 && second < 61).then_some(hour * 3600 + minute * 60 + second)
}

/// Returns the seconds of `YYYY-MM-DD HH:MM:SS`, with a space or a `T`, as if it were UTC.
fn seconds(date: &[u8]) -> Option<i64> {
    let &[
        y1,
        y2,
        y3,
        y4,
        b'-',
        m1,
        m2,
        b'-',
        d1,
        d2,
        b' ' | b'T',
        ref time @ ..,
    ] = date
    else {
        return None;
    };
    let (month, day) = (two(m1, m2)?, two(d1, d2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = two(y1, y2)? * 100 + two(y3, y4)?;
    Some(civil(year, month, day, clock(time)?))
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens * 10 + ones))
}

/// Takes `.226` off: its microseconds, and what follows.
fn fraction(rest: &[u8]) -> (i64, &[u8]) {
    let Some(digits) = rest.strip_prefix(b".") else {
        return (0, rest);
    };
    let length = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let kept = length.min(6);
    let mut micros = 0;
    for digit in &digits[..kept] {
        micros = micros * 10 + i64::from(digit - b'0');
    }
    for _ in kept..6 {
        micros *= 10;
    }
    (micros, &digits[length..])
}

/// Returns the seconds east of UTC of a zone.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, digits) = match zone {
        [] => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => {
            return ZONES
                .iter()
                .find(|(name, _)| *name == zone)
                .map(|zone| zone.1);
        }
    };
    let (hours, minutes) = match *digits {
        [h1, h2] => (two(h1, h2)?, 0),
        [h1, h2, m1, m2] | [h1, h2, b':', m1, m2] => (two(h1, h2)?, two(m1, m2)?),
        _ => return None,
    };
    Some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_of_all_zones_give_the_same_instant() {
        let instant = Some(1_795_296_186_226_000);
        for text in [
            "2026-11-21 21:23:06.226 UTC",
            "2026-11-22 04:23:06.226 WIB",
            "2026-11-22 04:23:06.226 +07",
            "2026-11-22 03:08:06.226 +0545",
            "2026-11-21T18:23:06.226000-03:00",
            "2026-11-21T21:23:06.226Z",
            "2026-11-21T21:23:06.226000123Z",
        ] {
            assert_eq!(micros(text.as_bytes()), instant, "{text}");
        }
    }

    #[test]
    fn what_is_no_timestamp_is_none() {
        for text in [
            "",
            "2026-11-22",
            "2026-13-22 04:23:06 UTC",
            "2026-11-22 24:23:06 UTC",
            "2026-11-22 04:23:06.1 XYZ",
            "2026-11-22 04:23:06 +7",
        ] {
            assert_eq!(micros(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn leap_days_and_centuries() {
        assert_eq!(micros(b"1970-01-01 00:00:00 UTC"), Some(0));
        assert_eq!(
            micros(b"2000-02-29 00:00:00 UTC"),
            Some(951_782_400_000_000)
        );
        assert_eq!(
            micros(b"2024-03-01 00:00:00 UTC"),
            Some(1_709_251_200_000_000)
        );
    }
}
