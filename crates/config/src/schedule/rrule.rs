//! `rrule FREQ=MONTHLY;BYDAY=1SU;BYHOUR=0;BYMINUTE=0 for 4 h`: the part of RFC 5545 that maintenance needs.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use super::days::{Days, Every, NthWeekday, Period};
use super::parse::{Words, recurring_length, such_as, weekday};
use super::{Length, Starts};

const EXAMPLE: &str = "rrule FREQ=MONTHLY;BYDAY=1SU;BYHOUR=0;BYMINUTE=0 for 4 h Asia/Jakarta";
const WEEKDAYS: [&str; 7] = ["SU", "MO", "TU", "WE", "TH", "FR", "SA"];
/// Most repetitions that are counted.
const COUNT_MAX: u32 = 10_000;

/// The parts of a rule as they are written.
#[derive(Default)]
struct Parts {
    period: Option<Period>,
    interval: Option<i32>,
    count: Option<u32>,
    until: Option<Until>,
    start: Option<DateTime>,
    by_day: Vec<(i16, usize)>,
    by_month_day: Vec<i8>,
    by_month: Vec<i8>,
    by_hour: Vec<i8>,
    by_minute: Vec<i8>,
}

/// The last moment at which something may begin.
#[derive(Clone, Copy)]
struct Until {
    at: DateTime,
    utc: bool,
}

/// Reads the rule and the length.
pub(super) fn read(words: &mut Words<'_>) -> Result<(Starts, Length), String> {
    words.next();
    let rule = words.next().unwrap_or_default().to_ascii_uppercase();
    let mut parts = Parts::default();
    for part in rule
        .trim_start_matches("RRULE:")
        .split(';')
        .filter(|part| !part.is_empty())
    {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        parts.read(name, value)?;
    }
    let length = recurring_length(words, EXAMPLE)?;
    Ok((parts.starts()?, length))
}

fn wrong(name: &str, value: &str) -> String {
    let what = format!("\"{}\" is no {name} of a rule", value.escape_debug());
    such_as(&what, EXAMPLE)
}

impl Parts {
    fn read(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = || wrong(name, value);
        match name {
            "FREQ" => {
                self.period = Some(match value {
                    "DAILY" => Period::Day,
                    "WEEKLY" => Period::Week,
                    "MONTHLY" => Period::Month,
                    "YEARLY" => Period::Year,
                    _ => {
                        return Err(such_as(
                            &format!(
                                "FREQ is DAILY, WEEKLY, MONTHLY or YEARLY, not \"{}\"",
                                value.escape_debug()
                            ),
                            EXAMPLE,
                        ));
                    }
                });
            }
            "INTERVAL" => {
                let interval = value
                    .parse()
                    .ok()
                    .filter(|every| (1..=1000).contains(every));
                self.interval = Some(interval.ok_or_else(wrong)?);
            }
            "COUNT" => {
                let count = value
                    .parse()
                    .ok()
                    .filter(|count| (1..=COUNT_MAX).contains(count));
                self.count = Some(count.ok_or_else(wrong)?);
            }
            "UNTIL" => self.until = Some(until(value).ok_or_else(wrong)?),
            "DTSTART" => {
                let start = until(value).filter(|start| !start.utc).ok_or_else(wrong)?;
                // A day begins at midnight; seconds are not kept anywhere else either.
                let time = if value.contains('T') {
                    start.at.time()
                } else {
                    Time::midnight()
                };
                self.start = Some(start.at.date().at(time.hour(), time.minute(), 0, 0));
            }
            "BYDAY" => self.by_day = list(value, by_day).ok_or_else(wrong)?,
            "BYMONTHDAY" => {
                self.by_month_day = numbers(value, -31, 31)
                    .filter(|days| !days.contains(&0))
                    .ok_or_else(wrong)?;
            }
            "BYMONTH" => self.by_month = numbers(value, 1, 12).ok_or_else(wrong)?,
            "BYHOUR" => self.by_hour = numbers(value, 0, 23).ok_or_else(wrong)?,
            "BYMINUTE" => self.by_minute = numbers(value, 0, 59).ok_or_else(wrong)?,
            _ => {
                return Err(format!(
                    "\"{}\" of a rule is not supported; FREQ, INTERVAL, BYDAY, BYMONTHDAY, BYMONTH, BYHOUR, BYMINUTE, \
                     COUNT, UNTIL and DTSTART are, as in `{EXAMPLE}`",
                    name.escape_debug()
                ));
            }
        }
        Ok(())
    }

    fn starts(mut self) -> Result<Starts, String> {
        let period = self
            .period
            .ok_or_else(|| such_as("the rule does not say FREQ", EXAMPLE))?;
        let interval = self.interval.unwrap_or(1);
        if self.start.is_none() && (interval > 1 || self.count.is_some()) {
            return Err(such_as(
                "INTERVAL and COUNT need a first day to count from, DTSTART",
                "rrule DTSTART=20261206T020000;FREQ=WEEKLY;INTERVAL=2 for 4 h Asia/Jakarta",
            ));
        }
        self.fill(period)?;
        let mut times = Vec::new();
        for hour in &self.by_hour {
            for minute in &self.by_minute {
                let time = Time::new(*hour, *minute, 0, 0);
                times.push(time.expect("the parts hold hours and minutes of a day"));
            }
        }
        let counted_in = match period {
            Period::Year if self.by_month.is_empty() => Period::Year,
            _ => Period::Month,
        };
        let mut days = Days {
            month_days: self.by_month_day,
            weekdays: self
                .by_day
                .iter()
                .map(|(nth, number)| NthWeekday {
                    weekday: weekday(*number),
                    nth: *nth,
                    period: counted_in,
                })
                .collect(),
            every: self.start.map(|start| Every {
                period,
                interval,
                from: start.date(),
            }),
            first: self.start,
            last: self.until.map(|until| until.at),
            until_utc: self.until.is_some_and(|until| until.utc),
            count: self.count,
            ..Days::default()
        };
        if !self.by_month.is_empty() {
            days.months = self
                .by_month
                .iter()
                .fold(0, |bits, month| bits | 1 << month);
        }
        Ok(Starts::Again { days, times })
    }

    /// Fills in what the rule leaves to its first day.
    fn fill(&mut self, period: Period) -> Result<(), String> {
        let ordinals = self.by_day.iter().any(|(nth, _)| *nth != 0);
        if ordinals && matches!(period, Period::Day | Period::Week) {
            let what = "BYDAY with a number needs FREQ=MONTHLY or YEARLY";
            return Err(such_as(what, EXAMPLE));
        }
        if period == Period::Week && !self.by_month_day.is_empty() {
            return Err(such_as(
                "BYMONTHDAY needs another FREQ than WEEKLY",
                EXAMPLE,
            ));
        }
        let missing = |what: &str| {
            such_as(
                &format!("the rule says neither {what} nor DTSTART"),
                EXAMPLE,
            )
        };
        if self.by_hour.is_empty() {
            let start = self.start.ok_or_else(|| missing("BYHOUR"))?;
            self.by_hour.push(start.hour());
        }
        if self.by_minute.is_empty() {
            self.by_minute.push(self.start.map_or(0, DateTime::minute));
        }
        if !self.by_day.is_empty() || !self.by_month_day.is_empty() {
            return Ok(());
        }
        match (period, self.start) {
            (Period::Day, _) => {}
            (Period::Week, Some(start)) => {
                let day = start.weekday().to_sunday_zero_offset();
                self.by_day.push((0, day as usize));
            }
            (_, Some(start)) => {
                if period == Period::Year && self.by_month.is_empty() {
                    self.by_month.push(start.month());
                }
                self.by_month_day.push(start.day());
            }
            (Period::Week, None) => return Err(missing("BYDAY")),
            (_, None) => return Err(missing("BYDAY, BYMONTHDAY")),
        }
        Ok(())
    }
}

/// Turns what depends on the zone, or on counting, into a last begin.
pub(super) fn settle(days: &mut Days, times: &[Time], zone: &TimeZone) {
    if std::mem::take(&mut days.until_utc)
        && let Some(last) = days.last
        && let Ok(at) = TimeZone::UTC.to_timestamp(last)
    {
        days.last = Some(zone.to_datetime(at));
    }
    let (Some(count), Some(first)) = (days.count.take(), days.first) else {
        return;
    };
    let mut left = count as usize;
    let begins = first
        .date()
        .series(jiff::ToSpan::days(1))
        .take(super::CYCLE_DAYS as usize)
        .filter(|date| days.hold(*date))
        .flat_map(|date| times.iter().map(move |time| date.to_datetime(*time)))
        .filter(|begin| days.within(*begin));
    for begin in begins {
        left -= 1;
        if left == 0 {
            days.last = Some(begin);
            return;
        }
    }
}

/// Reads `20261231`, `20261231T235900`, `20261231T235900Z`.
fn until(value: &str) -> Option<Until> {
    let utc = value.ends_with('Z');
    let value = value.trim_end_matches('Z');
    let (date, time) = value.split_once('T').unwrap_or((value, "235959"));
    let number = |text: &str, range: std::ops::Range<usize>| -> Option<i16> {
        let part = text.get(range)?;
        part.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| part.parse().ok())?
    };
    if date.len() != 8 || time.len() != 6 {
        return None;
    }
    let part = |text: &str, from: usize| Some(number(text, from..from + 2)? as i8);
    let date = Date::new(number(date, 0..4)?, part(date, 4)?, part(date, 6)?).ok()?;
    let time = Time::new(part(time, 0)?, part(time, 2)?, part(time, 4)?, 0).ok()?;
    Some(Until {
        at: date.to_datetime(time),
        utc,
    })
}

fn list<T>(value: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    value.split(',').map(read).collect()
}

fn numbers(value: &str, least: i8, most: i8) -> Option<Vec<i8>> {
    list(value, |part| {
        part.parse()
            .ok()
            .filter(|number| (least..=most).contains(number))
    })
}

/// Reads `SU`, `1SU`, `-1SA`.
fn by_day(part: &str) -> Option<(i16, usize)> {
    let at = part.len().checked_sub(2)?;
    let day = WEEKDAYS
        .iter()
        .position(|name| part.get(at..) == Some(*name))?;
    let nth = match part.get(..at)? {
        "" => 0,
        nth => nth
            .parse()
            .ok()
            .filter(|nth: &i16| *nth != 0 && (-53..=53).contains(nth))?,
    };
    Some((nth, day))
}
