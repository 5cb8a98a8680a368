//! The calendar of the next weeks: which window is open when, in UTC.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use maud::{Markup, html};
use pawang_alert::window::{Ready, calendar};
use pawang_core::alert::{AlertsPresent, WindowTime};

use crate::page::Visit;
use crate::words::{exact, instant};

/// Days that the calendar covers.
const DAYS: i64 = 30;
/// Times that the calendar shows.
const TIMES_MAX: usize = 500;
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// One day and the times that touch it.
struct Day<'a> {
    date: Date,
    times: Vec<&'a WindowTime>,
}

/// Draws the calendar; nothing where no window opens.
pub(super) fn draw(visit: &Visit<'_>, present: &AlertsPresent) -> Markup {
    let ready: Vec<Ready> = present
        .windows
        .iter()
        .filter_map(|window| Ready::new(window.clone()).ok())
        .collect();
    let to = visit
        .now
        .saturating_add(SignedDuration::from_hours(24 * DAYS));
    let times = calendar(&ready, visit.now, to.unwrap_or(visit.now), TIMES_MAX);
    let days = days(visit.now, &times);
    html! {
        @if !times.is_empty() {
            h2 { "The next 30 days" small { "days and times in UTC" } }
            ol .calendar {
                @for day in WEEKDAYS { li .weekday aria-hidden="true" { (day) } }
                @for day in &days { (cell(visit.now, day)) }
            }
        }
    }
}

/// Returns whole weeks, from the Monday of this one.
fn days(now: Timestamp, times: &[WindowTime]) -> Vec<Day<'_>> {
    let today = date(now);
    let monday = today
        .checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days())
        .unwrap_or(today);
    let weeks = (i64::from(today.weekday().to_monday_zero_offset()) + DAYS) / 7 + 1;
    let dates = (0..weeks * 7).filter_map(|offset| monday.checked_add(offset.days()).ok());
    dates
        .map(|date| Day {
            date,
            times: times.iter().filter(|time| touches(time, date)).collect(),
        })
        .collect()
}

fn date(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// Says whether a time touches a day; one that ends at midnight does not touch the day that begins then.
fn touches(time: &WindowTime, day: Date) -> bool {
    let last = time.to.saturating_sub(SignedDuration::from_nanos(1));
    date(time.from) <= day && day <= date(last.unwrap_or(time.to))
}

fn cell(now: Timestamp, day: &Day<'_>) -> Markup {
    let today = date(now);
    html! {
        li .day.today[day.date == today].past[day.date < today].free[day.times.is_empty()] {
            span .date { span .name { (day.date.strftime("%a ").to_string()) } (day.date.strftime("%-d %b").to_string()) }
            @for time in &day.times {
                span .time title={ (time.window) ": " (exact(time.from)) " to " (exact(time.to)) @if let Some(note) = &time.note { "; " (note) } } {
                    b { (time.window) } " "
                    time datetime=(instant(time.from)) { (clock(time.from, day.date, "00:00")) } "–"
                    time datetime=(instant(time.to)) { (clock(time.to, day.date, "24:00")) }
                    @if time.note.is_some() { " *" }
                }
            }
        }
    }
}

/// Returns the time of day, or the edge of the day where it lies on another one.
fn clock(at: Timestamp, day: Date, edge: &str) -> String {
    match date(at) == day {
        true => at.strftime("%H:%M").to_string(),
        false => edge.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(from: &str, to: &str) -> WindowTime {
        WindowTime {
            window: "w".to_owned(),
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            note: None,
        }
    }

    #[test]
    fn days_are_whole_weeks_and_have_their_times() {
        let now: Timestamp = "2026-11-21T15:00:00Z".parse().unwrap();
        let times = [
            time("2026-11-21T22:00:00Z", "2026-11-22T02:00:00Z"),
            time("2026-11-24T20:00:00Z", "2026-11-25T00:00:00Z"),
        ];
        let days = days(now, &times);
        assert_eq!(days.len() % 7, 0);
        assert_eq!(days[0].date.to_string(), "2026-11-16");
        let last = days.last().unwrap().date;
        assert!(last >= "2026-12-21".parse().unwrap(), "{last}");
        let with: Vec<String> = days
            .iter()
            .filter(|day| !day.times.is_empty())
            .map(|day| day.date.to_string())
            .collect();
        assert_eq!(with, ["2026-11-21", "2026-11-22", "2026-11-24"]);
        let sunday = "2026-11-22".parse().unwrap();
        assert_eq!(clock(times[0].from, sunday, "00:00"), "00:00");
        assert_eq!(clock(times[0].to, sunday, "24:00"), "02:00");
    }
}
