//! `cron 0 2 * * 0 for 4 h`: five fields as cron has them, with names, ranges, steps, `#` and `L`.

use jiff::civil::Time;

use super::days::{Days, NthWeekday, Period};
use super::parse::{MONTH_NAMES, WEEKDAY_NAMES, Words, recurring_length, such_as, weekday};
use super::{Length, Starts};

const EXAMPLE: &str = "cron 0 2 * * 0 for 4 h Asia/Jakarta";

/// One of the fields.
struct Field {
    name: &'static str,
    first: usize,
    last: usize,
    names: &'static [&'static str],
}

const MINUTE: Field = field("minute", 0, 59, &[]);
const HOUR: Field = field("hour", 0, 23, &[]);
const DAY: Field = field("day of the month", 1, 31, &[]);
const MONTH: Field = field("month", 1, 12, &MONTH_NAMES);
const WEEKDAY: Field = field("weekday", 0, 7, &WEEKDAY_NAMES);

const fn field(
    name: &'static str,
    first: usize,
    last: usize,
    names: &'static [&'static str],
) -> Field {
    Field {
        name,
        first,
        last,
        names,
    }
}

/// Reads the five fields and the length.
pub(super) fn read(words: &mut Words<'_>) -> Result<(Starts, Length), String> {
    words.next();
    let mut fields = Vec::with_capacity(5);
    while fields.len() < 5 {
        match words.next() {
            Some(word) if !word.eq_ignore_ascii_case("for") => {
                fields.push(word.to_ascii_lowercase());
            }
            _ => {
                let what = "cron has five fields: minute, hour, day of the month, month, weekday";
                return Err(such_as(what, EXAMPLE));
            }
        }
    }
    let minutes = MINUTE.values(&fields[0])?;
    let hours = HOUR.values(&fields[1])?;
    let mut months = 0;
    for month in MONTH.values(&fields[3])? {
        months |= 1 << month;
    }
    // As cron does it: a field that begins with a star says nothing about the day.
    let starred = |field: &str| field.starts_with(['*', '?']);
    let either = !starred(&fields[2]) && !starred(&fields[4]);
    let days = Days {
        months,
        month_days: if all(&fields[2]) {
            Vec::new()
        } else {
            month_days(&fields[2])?
        },
        weekdays: if all(&fields[4]) {
            Vec::new()
        } else {
            weekdays(&fields[4])?
        },
        either,
        ..Days::default()
    };
    let length = recurring_length(words, EXAMPLE)?;
    let mut times = Vec::new();
    for hour in hours {
        for minute in &minutes {
            let time = Time::new(hour as i8, *minute as i8, 0, 0);
            times.push(time.expect("fields hold hours and minutes of a day"));
        }
    }
    Ok((Starts::Again { days, times }, length))
}

fn all(field: &str) -> bool {
    field == "*" || field == "?"
}

fn month_days(field: &str) -> Result<Vec<i8>, String> {
    let mut days = Vec::new();
    for part in field.split(',') {
        match part {
            "l" => days.push(-1),
            part => days.extend(DAY.values(part)?.into_iter().map(|day| day as i8)),
        }
    }
    Ok(days)
}

fn weekdays(field: &str) -> Result<Vec<NthWeekday>, String> {
    let mut days = Vec::new();
    for part in field.split(',') {
        let (numbers, nth) = if let Some((day, nth)) = part.split_once('#') {
            let nth = nth.parse::<i16>().ok().filter(|nth| (1..=5).contains(nth));
            let nth = nth.ok_or_else(|| {
                let what = format!(
                    "\"{}\" is no weekday: after # comes 1 to 5",
                    part.escape_debug()
                );
                such_as(&what, "cron 0 0 * * sun#1 for 4 h Asia/Jakarta")
            })?;
            (vec![WEEKDAY.value(day)?], nth)
        } else if let Some(day) = part.strip_suffix('l') {
            (vec![WEEKDAY.value(day)?], -1)
        } else {
            (WEEKDAY.values(part)?, 0)
        };
        days.extend(numbers.into_iter().map(|number| NthWeekday {
            weekday: weekday(number),
            nth,
            period: Period::Month,
        }));
    }
    Ok(days)
}

impl Field {
    fn wrong(&self, part: &str) -> String {
        let Field {
            name, first, last, ..
        } = self;
        let what = format!(
            "\"{}\" is no {name} of cron ({first} to {last}, ranges, lists, steps)",
            part.escape_debug()
        );
        such_as(&what, EXAMPLE)
    }

    fn value(&self, text: &str) -> Result<usize, String> {
        let named = self.names.iter().position(|name| *name == text);
        named
            .map(|index| index + if self.first == 1 { 1 } else { 0 })
            .or_else(|| {
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                digits.then(|| text.parse().ok()).flatten()
            })
            .filter(|value| (self.first..=self.last).contains(value))
            .ok_or_else(|| self.wrong(text))
    }

    fn values(&self, field: &str) -> Result<Vec<usize>, String> {
        let mut values = Vec::new();
        for part in field.split(',') {
            let (range, step) = match part.split_once('/') {
                None => (part, None),
                Some((range, step)) => {
                    let step = step.parse::<usize>().ok().filter(|step| *step > 0);
                    (range, Some(step.ok_or_else(|| self.wrong(part))?))
                }
            };
            let (from, to) = match range.split_once('-') {
                None if all(range) => (self.first, self.last),
                None if step.is_some() => (self.value(range)?, self.last),
                None => (self.value(range)?, self.value(range)?),
                Some((from, to)) => (self.value(from)?, self.value(to)?),
            };
            if from > to {
                return Err(self.wrong(part));
            }
            values.extend((from..=to).step_by(step.unwrap_or(1)));
        }
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }
}
