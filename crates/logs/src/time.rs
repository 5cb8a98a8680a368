//! Timestamps of logs to microseconds since 1970-01-01 UTC.

use jiff::civil;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// The longest name of a zone that is read.
const ZONE_BYTES_MAX: usize = 10;
/// Most zones of one log that are told.
pub(crate) const ZONES_MAX: usize = 16;

/// Abbreviations that PostgreSQL prints, and their offsets in seconds; those of more than one place are in [`AMBIGUOUS`] as well.
const ZONES: &[(&str, i32)] = &[
    ("UTC", 0),
    ("GMT", 0),
    ("Z", 0),
    ("UCT", 0),
    ("WET", 0),
    ("WEST", 3600),
    ("BST", 3600),
    ("CET", 3600),
    ("MET", 3600),
    ("WAT", 3600),
    ("CEST", 7200),
    ("MEST", 7200),
    ("EET", 7200),
    ("CAT", 7200),
    ("SAST", 7200),
    ("IST", 19_800),
    ("EEST", 10_800),
    ("EAT", 10_800),
    ("IDT", 10_800),
    ("MSK", 10_800),
    ("MSD", 14_400),
    ("PKT", 18_000),
    ("WIB", 25_200),
    ("WITA", 28_800),
    ("HKT", 28_800),
    ("SGT", 28_800),
    ("PHT", 28_800),
    ("AWST", 28_800),
    ("WIT", 32_400),
    ("JST", 32_400),
    ("KST", 32_400),
    ("ACST", 34_200),
    ("ACDT", 37_800),
    ("AEST", 36_000),
    ("ChST", 36_000),
    ("AEDT", 39_600),
    ("NZST", 43_200),
    ("NZDT", 46_800),
    ("NDT", -9000),
    ("NST", -12_600),
    ("ADT", -10_800),
    ("AST", -14_400),
    ("EDT", -14_400),
    ("EST", -18_000),
    ("CDT", -18_000),
    ("CST", -21_600),
    ("MDT", -21_600),
    ("MST", -25_200),
    ("PDT", -25_200),
    ("PST", -28_800),
    ("AKDT", -28_800),
    ("AKST", -32_400),
    ("HDT", -32_400),
    ("HST", -36_000),
    ("SST", -39_600),
];

/// Abbreviations of several places: read as the most common one, and told.
const AMBIGUOUS: &[&str] = &["IST", "CST", "CDT", "BST"];

/// A zone in which times of a log are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Zone {
    /// Its abbreviation or offset as the log has it; empty where times name none.
    pub name: String,
    /// The offset that it was read as, in seconds east of UTC.
    pub offset_seconds: i32,
    /// Whether it means that offset for sure; the setting `log_timezone` resolves what does not.
    pub certain: bool,
}

/// Which of two timestamps of a line is read, so that each remembers its own last second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// When the record was written.
    Written,
    /// When its session began.
    Started,
}

/// Whether a timestamp has a fraction of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fraction {
    /// It has none: `%t`, `%s`.
    Absent,
    /// It has exactly three digits: `%m`.
    Milliseconds,
    /// It may have one of any length.
    Any,
}

/// Reads timestamps; it remembers the last second, since most records share it.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    zone: Option<TimeZone>,
    slots: [Slot; 2],
    zones: Vec<Zone>,
    /// A slot has another zone than the last time that was kept.
    fresh: bool,
}

#[derive(Clone, Debug)]
struct Slot {
    /// `YYYY-MM-DD HH:MM:SS`.
    second: [u8; SECOND_BYTES],
    zone: [u8; ZONE_BYTES_MAX],
    zone_bytes: usize,
    /// The instant in microseconds.
    at: i64,
    offset_seconds: i32,
    certain: bool,
    /// Whether the zone was not kept yet.
    fresh: bool,
}

const SECOND_BYTES: usize = 19;

impl Default for Slot {
    fn default() -> Slot {
        Slot {
            second: [0; SECOND_BYTES],
            zone: [0; ZONE_BYTES_MAX],
            // No zone is so long, so that no text is taken for the last one before there was one.
            zone_bytes: usize::MAX,
            at: 0,
            offset_seconds: 0,
            certain: false,
            fresh: false,
        }
    }
}

impl Clock {
    /// Returns a clock that resolves abbreviations by a zone, which is the server's `log_timezone`; without one, by a table.
    pub fn new(zone: Option<TimeZone>) -> Clock {
        Clock {
            zone,
            ..Clock::default()
        }
    }

    /// Returns the zones of the times that were kept.
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// Says that the times that were read last are those of a record, so that their zones are zones of the log.
    #[inline]
    pub fn keep(&mut self) {
        if self.fresh {
            self.keep_zones();
        }
    }

    #[cold]
    fn keep_zones(&mut self) {
        self.fresh = false;
        for slot in &mut self.slots {
            if !std::mem::take(&mut slot.fresh) {
                continue;
            }
            let name = &slot.zone[..slot.zone_bytes];
            let known = self.zones.iter().any(|zone| {
                zone.name.as_bytes() == name && zone.offset_seconds == slot.offset_seconds
            });
            if !known && self.zones.len() < ZONES_MAX {
                self.zones.push(Zone {
                    name: String::from_utf8_lossy(name).into_owned(),
                    offset_seconds: slot.offset_seconds,
                    certain: slot.certain,
                });
            }
        }
    }

    /// Reads `2026-11-22 04:23:06.226 WIB` at the beginning of a text: the instant in microseconds and how many bytes it takes.
    ///
    /// `colon` allows `-03:30`; without it a colon ends the zone, as in the prefix `%t:%r`.
    #[inline]
    pub fn log_time(
        &mut self,
        stamp: Stamp,
        text: &[u8],
        fraction: Fraction,
        colon: bool,
    ) -> Option<(i64, usize)> {
        let second: &[u8; SECOND_BYTES] = text.first_chunk()?;
        let mut position = SECOND_BYTES;
        let mut micros = 0;
        match fraction {
            Fraction::Absent => {}
            Fraction::Milliseconds => {
                let digits: &[u8; 4] = text[position..].first_chunk()?;
                if digits[0] != b'.' {
                    return None;
                }
                micros = digits_of(&digits[1..])? * 1000;
                position += 4;
            }
            Fraction::Any => {
                let (fraction, bytes) = fraction_of(&text[position..]);
                micros = fraction;
                position += bytes;
            }
        }
        let rest = &text[position..];
        let blank = usize::from(rest.first() == Some(&b' '));
        let zone_bytes = zone_bytes(&rest[blank..], colon);
        if zone_bytes > 0 {
            position += blank + zone_bytes;
        } else if fraction != Fraction::Any {
            return None;
        }
        let zone = &rest[blank..blank + zone_bytes];
        let at = self.second(stamp, second, zone)?;
        Some((at + micros, position))
    }

    /// Returns the instant of a whole field of csvlog or jsonlog, in microseconds.
    #[inline]
    pub fn instant(&mut self, text: &[u8]) -> Option<i64> {
        let (at, _) = self.log_time(Stamp::Written, text, Fraction::Any, true)?;
        Some(at)
    }

    /// Reads RFC 3339, `2026-11-22T04:23:06.226Z` or with `+07:00`.
    pub fn rfc3339(&mut self, text: &[u8]) -> Option<(i64, usize)> {
        self.log_time(Stamp::Written, text, Fraction::Any, true)
    }

    #[inline]
    fn second(&mut self, stamp: Stamp, second: &[u8; SECOND_BYTES], zone: &[u8]) -> Option<i64> {
        let slot = &self.slots[stamp as usize];
        if *second == slot.second && same_zone(zone, slot) {
            return Some(slot.at);
        }
        self.new_second(stamp, second, zone)
    }

    fn new_second(
        &mut self,
        stamp: Stamp,
        second: &[u8; SECOND_BYTES],
        zone: &[u8],
    ) -> Option<i64> {
        let local = local_seconds(second)?;
        let (offset, sure) = match numeric_offset(zone) {
            Some(offset) => (offset, true),
            None => self.named_offset(second, zone),
        };
        let at = (local - i64::from(offset)) * 1_000_000;
        let slot = &mut self.slots[stamp as usize];
        (slot.offset_seconds, slot.certain, slot.fresh) = (offset, sure, true);
        self.fresh = true;
        slot.second = *second;
        slot.zone_bytes = zone.len();
        slot.zone[..zone.len()].copy_from_slice(zone);
        slot.at = at;
        Some(at)
    }

    /// Returns the offset of an abbreviation, and whether it is sure.
    fn named_offset(&self, second: &[u8; SECOND_BYTES], name: &[u8]) -> (i32, bool) {
        let local = self.zone.as_ref().zip(civil_time(second));
        let offsets = local.map(|(zone, time)| {
            let offset = match zone.to_ambiguous_timestamp(time).offset() {
                jiff::tz::AmbiguousOffset::Unambiguous { offset } => [offset, offset],
                jiff::tz::AmbiguousOffset::Gap { before, after }
                | jiff::tz::AmbiguousOffset::Fold { before, after } => [before, after],
            };
            (zone, time, offset)
        });
        if let Some((zone, time, offsets)) = &offsets {
            let named = offsets.iter().find(|offset| {
                let at = offset.to_timestamp(*time);
                at.is_ok_and(|at| zone.to_offset_info(at).abbreviation().as_bytes() == name)
            });
            if let Some(offset) = named {
                return (offset.seconds(), true);
            }
            if name.is_empty() {
                return (offsets[0].seconds(), true);
            }
        }
        offset_by_table(name).unwrap_or((0, false))
    }
}

/// Reads `%n`, seconds since 1970 with milliseconds such as `1795296186.226`: the instant in microseconds and how many bytes it takes.
#[inline]
pub fn epoch(text: &[u8]) -> Option<(i64, usize)> {
    let digits = text
        .iter()
        .take(12)
        .take_while(|byte| byte.is_ascii_digit());
    let seconds_bytes = digits.count();
    if seconds_bytes == 0 || text.get(seconds_bytes) != Some(&b'.') {
        return None;
    }
    let millis = text.get(seconds_bytes + 1..seconds_bytes + 4)?;
    let seconds = digits_of(&text[..seconds_bytes])?;
    Some((
        seconds * 1_000_000 + digits_of(millis)? * 1000,
        seconds_bytes + 4,
    ))
}

/// Returns the microseconds of a timestamp whose zone means one thing only; one without zone is of UTC, one of any other zone is none.
pub fn sure_instant(text: &[u8]) -> Option<i64> {
    let second: &[u8; SECOND_BYTES] = text.first_chunk()?;
    let (micros, bytes) = fraction_of(&text[SECOND_BYTES..]);
    let rest = &text[SECOND_BYTES + bytes..];
    let zone = rest.strip_prefix(b" ").unwrap_or(rest);
    if zone_bytes(zone, true) != zone.len() {
        return None;
    }
    let offset = match numeric_offset(zone) {
        Some(offset) => offset,
        None if zone.is_empty() => 0,
        None => offset_by_table(zone).and_then(|(offset, sure)| sure.then_some(offset))?,
    };
    Some((local_seconds(second)? - i64::from(offset)) * 1_000_000 + micros)
}

/// Tells whether the bytes begin with `YYYY-MM-DD HH:MM:SS`.
pub fn begins(bytes: &[u8]) -> bool {
    bytes
        .first_chunk()
        .is_some_and(|second| fields(second).is_some())
}

/// Returns the number of a month by its English name of three letters, from 1 on.
pub(crate) fn month(name: &[u8]) -> Option<i64> {
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = MONTHS.chunks(3).position(|known| known == name)?;
    i64::try_from(month + 1).ok()
}

/// Returns the offset of an abbreviation by the table, and whether it means one thing only.
fn offset_by_table(name: &[u8]) -> Option<(i32, bool)> {
    let (zone, offset) = ZONES.iter().find(|(zone, _)| zone.as_bytes() == name)?;
    Some((*offset, !AMBIGUOUS.contains(zone)))
}

/// Tells whether an abbreviation means the zones of several places.
pub(crate) fn ambiguous(name: &str) -> bool {
    AMBIGUOUS.contains(&name)
}

/// Compares byte by byte: zones are shorter than what a call costs.
#[inline]
fn same_zone(zone: &[u8], slot: &Slot) -> bool {
    zone.len() == slot.zone_bytes && zone.iter().zip(&slot.zone).all(|(a, b)| a == b)
}

#[inline]
fn digits_of(text: &[u8]) -> Option<i64> {
    let mut value = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    (!text.is_empty()).then_some(value)
}

/// Returns a fraction of a second in microseconds, and its bytes; nothing when the text has none.
fn fraction_of(text: &[u8]) -> (i64, usize) {
    let Some((b'.' | b',', digits)) = text.split_first() else {
        return (0, 0);
    };
    let bytes = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let bytes = bytes.count();
    let mut micros = 0;
    for index in 0..6 {
        let digit = digits[..bytes].get(index).map_or(0, |byte| byte - b'0');
        micros = micros * 10 + i64::from(digit);
    }
    if bytes == 0 {
        (0, 0)
    } else {
        (micros, bytes + 1)
    }
}

/// Returns how many bytes the zone takes at the beginning of a text: letters, or a sign and digits; 0 when there is none.
#[inline]
fn zone_bytes(text: &[u8], colon: bool) -> usize {
    let Some(first) = text.first() else { return 0 };
    if first.is_ascii_alphabetic() {
        let letters = text.iter().take(ZONE_BYTES_MAX);
        return letters
            .take_while(|byte| byte.is_ascii_alphabetic())
            .count();
    }
    if !matches!(first, b'+' | b'-') {
        return 0;
    }
    let pair = |at: usize| {
        text.get(at..at + 2)
            .is_some_and(|pair| pair.iter().all(u8::is_ascii_digit))
    };
    if !pair(1) {
        0
    } else if pair(3) {
        5
    } else if colon && text.get(3) == Some(&b':') && pair(4) {
        6
    } else {
        3
    }
}

/// Returns the offset of `+07`, `+0545`, `-03:30` in seconds.
fn numeric_offset(zone: &[u8]) -> Option<i32> {
    let (sign, digits) = zone.split_first()?;
    let sign = match sign {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = digits_of(digits.get(..2)?)?;
    let minutes = match digits.len() {
        2 => 0,
        length => digits_of(&digits[length - 2..])?,
    };
    i32::try_from(hours * 3600 + minutes * 60)
        .ok()
        .map(|offset| sign * offset)
}

/// Returns year, month, day, hour, minute, second of `YYYY-MM-DD HH:MM:SS`, or with a `T`.
fn fields(second: &[u8; SECOND_BYTES]) -> Option<[i64; 6]> {
    if [second[4], second[7]] != *b"--" || !matches!(second[10], b' ' | b'T') {
        return None;
    }
    let (year, month, day) = (
        digits_of(&second[..4])?,
        digits_of(&second[5..7])?,
        digits_of(&second[8..10])?,
    );
    let [hour, minute, second] = time_of_day(&second[11..])?;
    let right = (1..=12).contains(&month) && (1..=31).contains(&day);
    right.then_some([year, month, day, hour, minute, second])
}

/// Returns hour, minute and second of `HH:MM:SS`.
fn time_of_day(text: &[u8]) -> Option<[i64; 3]> {
    let text: &[u8; 8] = text.try_into().ok()?;
    let (hour, minute) = (digits_of(&text[..2])?, digits_of(&text[3..5])?);
    let second = digits_of(&text[6..])?;
    let right = [text[2], text[5]] == *b"::" && hour < 24 && minute < 60 && second <= 60;
    right.then_some([hour, minute, second])
}

/// Returns the seconds of `HH:MM:SS`.
pub(crate) fn seconds_of_day(text: &[u8]) -> Option<i64> {
    let [hour, minute, second] = time_of_day(text)?;
    Some(hour * 3600 + minute * 60 + second)
}

/// Returns the seconds since 1970 of a local time, as if it were UTC.
fn local_seconds(second: &[u8; SECOND_BYTES]) -> Option<i64> {
    let [year, month, day, hour, minute, second] = fields(second)?;
    Some(civil_seconds(year, month, day) + hour * 3600 + minute * 60 + second)
}

/// Returns the seconds since 1970-01-01 at which a day of the civil calendar begins, as if it were UTC.
pub(crate) fn civil_seconds(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the day that some years add is their last one.
    let year = if month > 2 { year } else { year - 1 };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era - 719_468) * 86_400
}

fn civil_time(second: &[u8; SECOND_BYTES]) -> Option<civil::DateTime> {
    let [year, month, day, hour, minute, second] = fields(second)?;
    civil::DateTime::new(
        i16::try_from(year).ok()?,
        i8::try_from(month).ok()?,
        i8::try_from(day).ok()?,
        i8::try_from(hour).ok()?,
        i8::try_from(minute).ok()?,
        i8::try_from(second.min(59)).ok()?,
        0,
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> i64 {
        let at: jiff::Timestamp = text.parse().unwrap();
        at.as_microsecond()
    }

    #[track_caller]
    fn check(clock: &mut Clock, text: &str, expected: &str) {
        let (at, bytes) = clock
            .log_time(Stamp::Written, text.as_bytes(), Fraction::Any, true)
            .unwrap();
        assert_eq!((at, bytes), (instant(expected), text.len()), "{text}");
        clock.keep();
    }

    #[test]
    fn nul_bytes_are_no_time() {
        assert_eq!(Clock::default().instant(&[0; SECOND_BYTES]), None);
    }

    #[test]
    fn zones_are_names_and_numbers() {
        let mut clock = Clock::default();
        for (text, expected) in [
            ("2026-11-22 04:23:06.226 WIB", "2026-11-21T21:23:06.226Z"),
            ("2026-11-22 04:23:06 WIB", "2026-11-21T21:23:06Z"),
            ("2026-11-22 04:23:06 +07", "2026-11-21T21:23:06Z"),
            ("2026-11-22 04:23:06.001 +0545", "2026-11-21T22:38:06.001Z"),
            ("2026-11-22 04:23:06 -03:30", "2026-11-22T07:53:06Z"),
            ("2026-11-22T04:23:06.226Z", "2026-11-22T04:23:06.226Z"),
            (
                "2026-11-22T04:23:06.226123+07:00",
                "2026-11-21T21:23:06.226123Z",
            ),
            ("2024-02-29 23:59:59 UTC", "2024-02-29T23:59:59Z"),
            ("1999-12-31 23:59:59 EST", "2000-01-01T04:59:59Z"),
        ] {
            check(&mut clock, text, expected);
            check(&mut clock, text, expected);
        }
        assert!(clock.zones().iter().all(|zone| zone.certain));
    }

    #[test]
    fn a_zone_resolves_its_abbreviations_on_the_day_they_change() {
        let mut clock = Clock::new(Some(TimeZone::get("Europe/Berlin").unwrap()));
        check(
            &mut clock,
            "2026-10-25 02:30:00 CEST",
            "2026-10-25T00:30:00Z",
        );
        check(
            &mut clock,
            "2026-10-25 02:30:00 CET",
            "2026-10-25T01:30:00Z",
        );
        let mut clock = Clock::new(Some(TimeZone::get("Asia/Shanghai").unwrap()));
        check(
            &mut clock,
            "2026-10-25 02:30:00 CST",
            "2026-10-24T18:30:00Z",
        );
        let mut clock = Clock::new(Some(TimeZone::get("Asia/Jakarta").unwrap()));
        check(&mut clock, "2026-10-25 02:30:00", "2026-10-24T19:30:00Z");
        check(
            &mut clock,
            "2026-10-25 02:30:00 UTC",
            "2026-10-25T02:30:00Z",
        );
        assert!(clock.zones().iter().all(|zone| zone.certain));
    }

    #[test]
    fn what_is_not_sure_is_told() {
        let mut clock = Clock::default();
        for _ in 0..3 {
            check(
                &mut clock,
                "2026-11-22 04:23:06 XYZT",
                "2026-11-22T04:23:06Z",
            );
        }
        check(
            &mut clock,
            "2026-11-22 04:23:06 CST",
            "2026-11-22T10:23:06Z",
        );
        // What was read and is no time of a record is no zone of the log.
        let raw = b"2026-11-22 04:23:06 hello";
        clock.log_time(Stamp::Written, raw, Fraction::Any, true);
        let zones: Vec<_> = clock
            .zones()
            .iter()
            .map(|zone| (zone.name.as_str(), zone.offset_seconds, zone.certain))
            .collect();
        assert_eq!(zones, [("XYZT", 0, false), ("CST", -21_600, false)]);
    }

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
            assert_eq!(sure_instant(text.as_bytes()), instant, "{text}");
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
            "2026-11-22 04:23:06 CST",
        ] {
            assert_eq!(sure_instant(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn leap_days_and_centuries() {
        assert_eq!(sure_instant(b"1970-01-01 00:00:00 UTC"), Some(0));
        assert_eq!(
            sure_instant(b"2000-02-29 00:00:00 UTC"),
            Some(951_782_400_000_000)
        );
        assert_eq!(
            sure_instant(b"2024-03-01 00:00:00 UTC"),
            Some(1_709_251_200_000_000)
        );
    }

    #[test]
    fn epochs_are_read_and_what_is_no_time_is_not() {
        assert_eq!(
            epoch(b"1795296186.226 x"),
            Some((1_795_296_186_226_000, 14))
        );
        assert_eq!(epoch(b"1795296186 x"), None);
        let mut clock = Clock::default();
        let mut none = |text: &str, fraction| {
            let read = clock.log_time(Stamp::Written, text.as_bytes(), fraction, false);
            assert_eq!(read, None, "{text}");
        };
        none("2026-13-22 04:23:06 UTC", Fraction::Absent);
        none("2026-11-22 04:23:06 UTC", Fraction::Milliseconds);
        none("2026-11-22 04:23:06.226 UTC", Fraction::Absent);
        none("2026-11-22 04:23:06.22", Fraction::Milliseconds);
        none("2026-11-22 04:23:06.226 ", Fraction::Milliseconds);
        none("", Fraction::Any);
    }
}
