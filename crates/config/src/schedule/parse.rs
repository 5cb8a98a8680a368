//! The forms of a schedule that people write.

use std::str::FromStr;

use crate::Quantity;
use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;

use super::days::{Days, MONTHS, NthWeekday, Period};
use super::{Length, Schedule, Starts, cron, rrule};

/// Longest text that is read as a schedule.
const TEXT_LENGTH_MAX: usize = 512;
/// Longest length that comes again and again; one span may be longer.
const LENGTH_DAYS_MAX: i64 = 31;
/// Most begins on one day.
const BEGINS_MAX: usize = 48;

const EXAMPLE: &str = "sun 02:00-06:00 Asia/Jakarta";
pub(super) const MONTH_NAMES: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
pub(super) const WEEKDAY_NAMES: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Reads a schedule.
pub(super) fn schedule(text: &str, zone: &TimeZone) -> Result<Schedule, String> {
    if text.len() > TEXT_LENGTH_MAX {
        return Err(format!(
            "it is longer than {TEXT_LENGTH_MAX} bytes; write several"
        ));
    }
    let plain = text.replace(", ", ",");
    let mut words = Words {
        words: plain.split_whitespace().collect(),
        at: 0,
    };
    let (starts, length) = match words.peek() {
        None => return Err(such_as("it is empty", EXAMPLE)),
        Some("cron") => cron::read(&mut words)?,
        Some("rrule") => rrule::read(&mut words)?,
        Some("now") => {
            let what = "\"now\" has a meaning only where it is said";
            return Err(such_as(what, "2026-12-01 22:00 for 2 h Asia/Jakarta"));
        }
        Some(word) if Date::from_str(word).is_ok() => span(&mut words)?,
        Some(_) => by_day(&mut words)?,
    };
    let zone = match words.next() {
        None => zone.clone(),
        Some(name) => named_zone(name)?,
    };
    if let Some(word) = words.next() {
        return Err(such_as(
            &format!("\"{}\" is too much", word.escape_debug()),
            EXAMPLE,
        ));
    }
    let mut starts = starts;
    if let Starts::Again { days, times } = &mut starts {
        times.sort_unstable();
        times.dedup();
        if times.len() > BEGINS_MAX {
            return Err(format!(
                "it begins more than {BEGINS_MAX} times a day; write it from when to when, such as `{EXAMPLE}`"
            ));
        }
        rrule::settle(days, times, &zone);
    }
    Ok(Schedule {
        text: text.to_owned(),
        zone,
        starts,
        length,
        always: false,
    })
}

/// Returns a complaint with an example of what is right.
pub(super) fn such_as(what: &str, example: &str) -> String {
    format!("{what}; write it such as `{example}`")
}

/// The words of a schedule, read from left to right.
pub(super) struct Words<'a> {
    words: Vec<&'a str>,
    at: usize,
}

impl<'a> Words<'a> {
    pub(super) fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    pub(super) fn next(&mut self) -> Option<&'a str> {
        let word = self.peek();
        self.at += 1;
        word
    }

    fn take(&mut self, word: &str) -> bool {
        let there = self
            .peek()
            .is_some_and(|next| next.eq_ignore_ascii_case(word));
        self.at += usize::from(there);
        there
    }
}

fn named_zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| {
        let what = format!(
            "time zone \"{}\" is not in the time zone database of this machine",
            name.escape_debug()
        );
        such_as(&what, EXAMPLE)
    })
}

/// Reads `for 4 h`, `for 1 h 30 min`.
pub(super) fn length(words: &mut Words<'_>, example: &str) -> Result<Length, String> {
    if !words.take("for") {
        return Err(such_as("it does not say for how long", example));
    }
    let mut seconds = 0.0;
    while let Some(word) = words
        .peek()
        .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
    {
        words.next();
        let mut text = word.to_owned();
        if word.ends_with(|c: char| c.is_ascii_digit()) {
            text.push_str(words.next().unwrap_or_default());
        }
        match text.parse::<Quantity>() {
            Ok(Quantity::Seconds(more)) => seconds += more,
            _ => {
                let what = format!("\"{}\" is no length of time", text.escape_debug());
                return Err(such_as(&what, example));
            }
        }
    }
    let length = SignedDuration::try_from_secs_f64(seconds).unwrap_or(SignedDuration::MAX);
    if length < SignedDuration::from_secs(1) {
        return Err(such_as("it does not say for how long", example));
    }
    Ok(Length::Elapsed(length))
}

/// Refuses lengths that hardly come to an end before the next begin.
pub(super) fn recurring_length(words: &mut Words<'_>, example: &str) -> Result<Length, String> {
    let length = length(words, example)?;
    match length {
        Length::Elapsed(elapsed) if elapsed.as_hours() >= 24 * LENGTH_DAYS_MAX => Err(such_as(
            &format!("what comes again lasts less than {LENGTH_DAYS_MAX} days"),
            example,
        )),
        _ => Ok(length),
    }
}

/// Reads `2026-12-01 22:00 - 2026-12-02 02:00`, `2026-12-01 22:00 for 2 h`, `2026-12-01 22:00-23:00`.
fn span(words: &mut Words<'_>) -> Result<(Starts, Length), String> {
    const EXAMPLE: &str = "2026-12-01 22:00 - 2026-12-02 02:00 Asia/Jakarta";
    let date = words.next().unwrap_or_default();
    let wrong = |word: &str| {
        such_as(
            &format!("\"{}\" is no date and time", word.escape_debug()),
            EXAMPLE,
        )
    };
    let date: Date = date.parse().map_err(|_| wrong(date))?;
    let time = words.next().unwrap_or_default();
    if let Some((from, to)) = time.split_once('-') {
        let from = clock(from).ok_or_else(|| wrong(time))?;
        let to = end_clock(to).ok_or_else(|| wrong(time))?;
        return Ok((Starts::Once(date.to_datetime(from)), Length::Clock(to)));
    }
    let begin = date.to_datetime(clock(time).ok_or_else(|| wrong(time))?);
    if !words.take("-") {
        return Ok((Starts::Once(begin), length(words, EXAMPLE)?));
    }
    let word = words.next().unwrap_or_default();
    let end = match word.parse::<Date>() {
        Ok(date) => {
            let time = words.next().unwrap_or_default();
            day_end(date, time).ok_or_else(|| wrong(time))?
        }
        Err(_) => day_end(begin.date(), word).ok_or_else(|| wrong(word))?,
    };
    if end <= begin {
        return Err(such_as("it ends before it begins", EXAMPLE));
    }
    Ok((Starts::Once(begin), Length::Until(end)))
}

fn day_end(date: Date, time: &str) -> Option<DateTime> {
    match time {
        "24:00" => Some(date.tomorrow().ok()?.to_datetime(Time::midnight())),
        time => Some(date.to_datetime(clock(time)?)),
    }
}

/// Reads `2:00`, `02:00`, `02:00:30`.
fn clock(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let mut part = |digits: std::ops::RangeInclusive<usize>| -> Option<Option<i8>> {
        let Some(part) = parts.next() else {
            return Some(None);
        };
        let fits = digits.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| part.parse().ok())
    };
    let (hour, minute, second) = (part(1..=2)??, part(2..=2)??, part(2..=2)?.unwrap_or(0));
    if parts.next().is_some() {
        return None;
    }
    Time::new(hour, minute, second, 0).ok()
}

/// Reads the end of a day too: `24:00` is the midnight that follows.
fn end_clock(text: &str) -> Option<Time> {
    if text == "24:00" {
        return Some(Time::midnight());
    }
    clock(text)
}

/// Reads `mon-fri 08:00-17:00`, `last sat of quarter 22:00-02:00`, `day 1 00:00-02:00`, with `for 4 h` in place of the end.
fn by_day(words: &mut Words<'_>) -> Result<(Starts, Length), String> {
    let days = days(words)?;
    let wrong = |word: &str| {
        let what = if word.is_empty() {
            "it does not say from when to when".to_owned()
        } else {
            format!("\"{}\" does not say from when to when", word.escape_debug())
        };
        such_as(&what, EXAMPLE)
    };
    let word = words.next().unwrap_or_default();
    let (begin, end) = match word.split_once('-') {
        Some((begin, "")) => (begin, words.next()),
        Some((begin, end)) => (begin, Some(end)),
        None if words.take("-") => (word, words.next()),
        None => match words.peek().and_then(|next| next.strip_prefix('-')) {
            Some(end) => {
                words.next();
                (word, Some(end))
            }
            None => (word, None),
        },
    };
    let begin = clock(begin).ok_or_else(|| wrong(word))?;
    let length = match end {
        None => recurring_length(words, EXAMPLE)?,
        Some(text) => {
            let end = end_clock(text).ok_or_else(|| wrong(text))?;
            if end == begin && text != "24:00" {
                let what = "it ends when it begins; a whole day is 00:00-24:00";
                return Err(such_as(what, EXAMPLE));
            }
            Length::Clock(end)
        }
    };
    let times = vec![begin];
    Ok((Starts::Again { days, times }, length))
}

fn days(words: &mut Words<'_>) -> Result<Days, String> {
    let word = words.next().unwrap_or_default().to_ascii_lowercase();
    match word.as_str() {
        "daily" => return Ok(Days::default()),
        "day" => {
            let list = words.next().unwrap_or_default();
            return month_days(list, of(words)?);
        }
        _ => {}
    }
    let Some(nth) = ordinal(&word) else {
        return Ok(Days {
            weekdays: weekdays(&word, 0, Period::Month)?,
            ..Days::default()
        });
    };
    let what = words.next().unwrap_or_default().to_ascii_lowercase();
    let (months, period) = of(words)?;
    if what != "day" {
        return Ok(Days {
            months,
            weekdays: weekdays(&what, nth, period)?,
            ..Days::default()
        });
    }
    let months = match (period, nth) {
        (Period::Quarter, -1) => bits([3, 6, 9, 12]),
        (Period::Quarter, _) => bits([1, 4, 7, 10]),
        (Period::Year, -1) => bits([12]),
        (Period::Year, _) => bits([1]),
        _ => months,
    };
    Ok(Days {
        months,
        month_days: vec![nth as i8],
        ..Days::default()
    })
}

fn bits<const N: usize>(months: [u32; N]) -> u16 {
    months.iter().fold(0, |bits, month| bits | 1 << month)
}

fn ordinal(word: &str) -> Option<i16> {
    match word {
        "first" | "1st" => Some(1),
        "second" | "2nd" => Some(2),
        "third" | "3rd" => Some(3),
        "fourth" | "4th" => Some(4),
        "fifth" | "5th" => Some(5),
        "last" => Some(-1),
        _ => None,
    }
}

/// Reads `of quarter`, `of mar,jun`, where it is written.
fn of(words: &mut Words<'_>) -> Result<(u16, Period), String> {
    if !words.take("of") {
        return Ok((MONTHS, Period::Month));
    }
    let word = words.next().unwrap_or_default().to_ascii_lowercase();
    match word.as_str() {
        "month" => Ok((MONTHS, Period::Month)),
        "quarter" => Ok((MONTHS, Period::Quarter)),
        "year" => Ok((MONTHS, Period::Year)),
        _ => {
            let mut months = 0;
            for number in list(&word, 12, |name| index(&MONTH_NAMES, name, "month"))? {
                months |= 1 << (number + 1);
            }
            Ok((months, Period::Month))
        }
    }
}

fn month_days(list: &str, (months, period): (u16, Period)) -> Result<Days, String> {
    const EXAMPLE: &str = "day 1,15 00:00-02:00 Asia/Jakarta";
    if period != Period::Month {
        let what = "days are counted within a month";
        return Err(such_as(what, "first day of quarter 00:00-02:00"));
    }
    let mut days = Vec::new();
    for part in list.split(',') {
        let number = |text: &str| text.parse::<i8>().ok().filter(|day| (1..=31).contains(day));
        let range = match part.split_once('-') {
            Some((from, to)) => number(from).zip(number(to)).filter(|(from, to)| from <= to),
            None if part.eq_ignore_ascii_case("last") => Some((-1, -1)),
            None => number(part).map(|day| (day, day)),
        };
        let Some((from, to)) = range else {
            let what = format!("\"{}\" is no day of a month", part.escape_debug());
            return Err(such_as(&what, EXAMPLE));
        };
        days.extend(from..=to);
    }
    Ok(Days {
        months,
        month_days: days,
        ..Days::default()
    })
}

fn weekdays(word: &str, nth: i16, period: Period) -> Result<Vec<NthWeekday>, String> {
    let days = list(word, 7, |name| index(&WEEKDAY_NAMES, name, "day"))?;
    Ok(days
        .into_iter()
        .map(|day| NthWeekday {
            weekday: weekday(day),
            nth,
            period,
        })
        .collect())
}

/// Returns a weekday by its number; Sunday is 0, and 7 too.
pub(super) fn weekday(number: usize) -> Weekday {
    Weekday::from_sunday_zero_offset((number % 7) as i8).expect("a remainder of 7 is a weekday")
}

/// Reads names and ranges of names; a range may go around the end, as `sat-mon` does.
fn list(
    word: &str,
    count: usize,
    index: impl Fn(&str) -> Result<usize, String>,
) -> Result<Vec<usize>, String> {
    let mut found = Vec::new();
    for part in word.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (index(from)?, index(to)?);
        let length = (to + count - from) % count;
        found.extend((0..=length).map(|step| (from + step) % count));
    }
    Ok(found)
}

/// Finds a name, written short or in full.
fn index(names: &[&str], name: &str, kind: &str) -> Result<usize, String> {
    const FULL: [&str; 19] = [
        "sunday",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let found = names
        .iter()
        .position(|short| *short == name || (FULL.contains(&name) && name.starts_with(short)));
    found.ok_or_else(|| {
        let example = if kind == "day" {
            EXAMPLE
        } else {
            "last sat of mar,jun 22:00-02:00 Asia/Jakarta"
        };
        such_as(
            &format!("\"{}\" is no {kind}", name.escape_debug()),
            example,
        )
    })
}
