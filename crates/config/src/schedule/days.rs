//! Which days are meant.

use jiff::civil::{Date, DateTime, Weekday};

/// All months, January in bit 1.
pub(super) const MONTHS: u16 = 0b1_1111_1111_1110;

/// Which days are meant: those of the months, and of the weekdays and days of the month where some are named.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Days {
    /// January in bit 1.
    pub(super) months: u16,
    /// Days of the month; -1 is the last; all when empty.
    pub(super) month_days: Vec<i8>,
    /// Weekdays; all when empty.
    pub(super) weekdays: Vec<NthWeekday>,
    /// A weekday or a day of the month is enough: what cron does when both are named.
    pub(super) either: bool,
    /// Only in every so many-th period.
    pub(super) every: Option<Every>,
    /// Nothing begins before.
    pub(super) first: Option<DateTime>,
    /// Nothing begins after.
    pub(super) last: Option<DateTime>,
    /// Whether `last` is still UTC: the zone is written after it.
    pub(super) until_utc: bool,
    /// How often it begins at all, until that is turned into `last`.
    pub(super) count: Option<u32>,
}

/// A weekday, or only one of those within a period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct NthWeekday {
    pub(super) weekday: Weekday,
    /// 1 is the first, -1 the last; 0 is every one.
    pub(super) nth: i16,
    /// What it is counted in.
    pub(super) period: Period,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Period {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// Every so many periods, counted from a day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Every {
    pub(super) period: Period,
    pub(super) interval: i32,
    pub(super) from: Date,
}

impl Default for Days {
    fn default() -> Days {
        Days {
            months: MONTHS,
            month_days: Vec::new(),
            weekdays: Vec::new(),
            either: false,
            every: None,
            first: None,
            last: None,
            until_utc: false,
            count: None,
        }
    }
}

impl Days {
    /// Says whether a day is meant.
    pub(super) fn hold(&self, date: Date) -> bool {
        if self.months & (1 << date.month()) == 0 {
            return false;
        }
        let from_end = date.day() - date.days_in_month() - 1;
        let month_day = self
            .month_days
            .iter()
            .any(|day| *day == date.day() || *day == from_end);
        let weekday = self.weekdays.iter().any(|weekday| weekday.hold(date));
        let meant = if self.either {
            month_day || weekday
        } else {
            (month_day || self.month_days.is_empty()) && (weekday || self.weekdays.is_empty())
        };
        meant && self.every.is_none_or(|every| every.hold(date))
    }

    /// Says whether a begin lies within the first and the last one.
    pub(super) fn within(&self, begin: DateTime) -> bool {
        self.first.is_none_or(|first| first <= begin) && self.last.is_none_or(|last| begin <= last)
    }
}

impl NthWeekday {
    fn hold(self, date: Date) -> bool {
        if date.weekday() != self.weekday {
            return false;
        }
        let (first, last) = self.period.around(date);
        match self.nth {
            0 => true,
            nth if nth > 0 => distance(first, date) / 7 + 1 == i32::from(nth),
            nth => distance(date, last) / 7 + 1 == -i32::from(nth),
        }
    }
}

impl Period {
    /// Returns the first and the last day of the period that a day lies in.
    fn around(self, date: Date) -> (Date, Date) {
        let quarter = |month: i8| (month - 1) / 3 * 3 + 1;
        let month = |month: i8| {
            Date::new(date.year(), month, 1).expect("every month of a valid year has a first day")
        };
        match self {
            Period::Day | Period::Week => (date, date),
            Period::Month => (date.first_of_month(), date.last_of_month()),
            Period::Quarter => {
                let first = quarter(date.month());
                (month(first), month(first + 2).last_of_month())
            }
            Period::Year => (date.first_of_year(), date.last_of_year()),
        }
    }

    /// Returns the number of the period that a day lies in.
    fn number(self, date: Date) -> i32 {
        let months = i32::from(date.year()) * 12 + i32::from(date.month()) - 1;
        match self {
            Period::Day => distance(Date::ZERO, date),
            // Day zero of the calendar is a Saturday; weeks begin on Monday.
            Period::Week => (distance(Date::ZERO, date) + 5).div_euclid(7),
            Period::Month => months,
            Period::Quarter => months / 3,
            Period::Year => i32::from(date.year()),
        }
    }
}

impl Every {
    fn hold(self, date: Date) -> bool {
        (self.period.number(date) - self.period.number(self.from)).rem_euclid(self.interval) == 0
    }
}

fn distance(from: Date, to: Date) -> i32 {
    i32::try_from(from.duration_until(to).as_hours() / 24)
        .expect("the calendar has fewer days than i32 counts")
}
