//! Times that come again: windows, batch times, hours of duty; with time zones, DST and across midnight.
//!
//! Occurrences that touch or overlap are one. The crate reads no environment: where no zone is written, the caller says which.

mod cron;
mod days;
mod parse;
mod rrule;
#[cfg(test)]
mod tests;
mod zone;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};
use pawang_core::Timestamp;

use days::Days;

/// Longest time that is looked through for the begin or end of one occurrence; longer is refused or means always.
const RUN_DAYS_MAX: i32 = 800;
/// Within so many days everything that ever happens has happened: 29 February on a given weekday.
const CYCLE_DAYS: i32 = 41 * 366;

/// A schedule, parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    text: String,
    zone: TimeZone,
    starts: Starts,
    length: Length,
    always: bool,
}

/// When it begins, by the clock of its zone.
#[derive(Clone, Debug, PartialEq)]
enum Starts {
    Once(DateTime),
    Again {
        days: Days,
        /// In order.
        times: Vec<Time>,
    },
}

/// How long it is on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Length {
    /// So long by any clock.
    Elapsed(SignedDuration),
    /// Until the clock of the zone shows this, on the same day or else on the next.
    Clock(Time),
    /// Until then.
    Until(DateTime),
}

/// One time that it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// From when on.
    pub from: Timestamp,
    /// Until when; not included.
    pub to: Timestamp,
    /// What is to know: a begin or end in the hour that DST leaves out or repeats.
    pub note: Option<String>,
}

impl Schedule {
    /// Parses a schedule whose times are UTC where it names no zone; see `docs/guide/alerts.md` for the forms.
    ///
    /// # Errors
    /// What is wrong with it, in words, with an example of what is right.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        Schedule::parse_in(text, &TimeZone::UTC)
    }

    /// Parses a schedule whose times are those of `zone` where it names none.
    ///
    /// # Errors
    /// As [`Schedule::parse`].
    pub fn parse_in(text: &str, zone: &TimeZone) -> Result<Schedule, String> {
        let mut schedule = parse::schedule(text, zone)?;
        schedule.examine()?;
        Ok(schedule)
    }

    /// Returns `now for 2 h` with the time itself in place of `now`, and everything else as it is.
    ///
    /// # Errors
    /// As [`Schedule::parse`].
    pub fn anchor(text: &str, now: Timestamp, zone: &TimeZone) -> Result<String, String> {
        let Some(rest) = text.trim().strip_prefix("now ") else {
            return Ok(text.to_owned());
        };
        let rest = rest.trim();
        let written = |zone: &TimeZone| {
            let at = zone.to_datetime(now);
            format!("{} {rest}", at.strftime("%Y-%m-%d %H:%M:%S"))
        };
        let found = Schedule::parse_in(&written(zone), zone)?.zone;
        let found = if found.iana_name().is_some() {
            found
        } else {
            TimeZone::UTC
        };
        let name = found.iana_name().unwrap_or("UTC");
        let named = rest
            .rsplit(' ')
            .next()
            .is_some_and(|last| last.eq_ignore_ascii_case(name));
        let suffix = if named {
            String::new()
        } else {
            format!(" {name}")
        };
        Ok(format!("{}{suffix}", written(&found)))
    }

    /// Returns the text that it was parsed from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the zone whose clock counts.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Says whether it is never off.
    pub fn always(&self) -> bool {
        self.always
    }

    /// Returns the time that is on now, if one is; of a schedule that is never off, the day.
    pub fn open(&self, now: Timestamp) -> Option<Occurrence> {
        if self.always {
            let today = self.date(now);
            return Some(Occurrence {
                from: zone::instant(&self.zone, today.at(0, 0, 0, 0))?.0,
                to: zone::instant(&self.zone, today.tomorrow().ok()?.at(0, 0, 0, 0))?.0,
                note: None,
            });
        }
        let next = now.checked_add(SignedDuration::from_nanos(1)).ok()?;
        self.between(now, next, 1).pop()
    }

    /// Returns the times that touch a span, the earliest first, at most `most`; each whole, but of a schedule that is never
    /// off the span itself.
    pub fn between(&self, from: Timestamp, to: Timestamp, most: usize) -> Vec<Occurrence> {
        if from >= to || most == 0 {
            return Vec::new();
        }
        if self.always {
            let note = None;
            return vec![Occurrence { from, to, note }];
        }
        let first = days_later(self.date(from), -self.reach());
        let mut runs = self.runs(first, self.date(to), |run| run.to > from, most);
        runs.retain(|run| run.to > from && run.from < to);
        runs.truncate(most);
        if let Some(run) = runs.first_mut() {
            self.extend_back(run);
        }
        runs
    }

    /// Returns when it is next switched on or off after `now`.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        if self.always {
            return None;
        }
        if let Some(open) = self.open(now) {
            return Some(open.to);
        }
        self.next_begin(now)
    }

    /// Returns the first begin after `now` of a schedule that is off.
    fn next_begin(&self, now: Timestamp) -> Option<Timestamp> {
        let (days, mut date) = match &self.starts {
            Starts::Once(begin) => {
                return self
                    .occurrence(*begin)
                    .map(|once| once.from)
                    .filter(|from| *from > now);
            }
            Starts::Again { days, .. } => (days, days_later(self.date(now), -1)),
        };
        if let Some(first) = days.first {
            date = date.max(first.date());
        }
        let last = days_later(date, CYCLE_DAYS).min(days.last.map_or(Date::MAX, DateTime::date));
        while date <= last {
            let begun = self.begun_on(date).into_iter().find(|raw| raw.from > now);
            if let Some(raw) = begun {
                return Some(raw.from);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// Returns what begins on one day, in order; nothing is merged yet.
    fn begun_on(&self, date: Date) -> Vec<Occurrence> {
        let times = match &self.starts {
            Starts::Once(begin) if begin.date() == date => std::slice::from_ref(begin)
                .iter()
                .map(|begin| begin.time())
                .collect(),
            Starts::Again { days, times } if days.hold(date) => times.clone(),
            _ => Vec::new(),
        };
        let within = |begin: &DateTime| match &self.starts {
            Starts::Again { days, .. } => days.within(*begin),
            Starts::Once(_) => true,
        };
        times
            .into_iter()
            .map(|time| date.to_datetime(time))
            .filter(within)
            .filter_map(|begin| self.occurrence(begin))
            .collect()
    }

    /// Returns the occurrence that begins when the clock of the zone shows `begin`; `None` at the ends of time.
    fn occurrence(&self, begin: DateTime) -> Option<Occurrence> {
        let (from, note) = zone::instant(&self.zone, begin)?;
        let end = match self.length {
            Length::Elapsed(length) => {
                let to = from.checked_add(length).ok()?;
                return Some(Occurrence { from, to, note });
            }
            Length::Clock(end) if end > begin.time() => begin.date().to_datetime(end),
            Length::Clock(end) => begin.date().tomorrow().ok()?.to_datetime(end),
            Length::Until(end) => end,
        };
        let (mut to, end_note) = zone::instant(&self.zone, end)?;
        if to <= from {
            // All of it lies in the hour that is left out: it takes place right after, as long as it was meant.
            to = from.checked_add(begin.duration_until(end)).ok()?;
        }
        let note = joined(note, end_note);
        Some(Occurrence { from, to, note })
    }

    /// Returns merged occurrences that begin from one day on, until one begins after `horizon` or more than `most` count.
    fn runs(
        &self,
        first: Date,
        horizon: Date,
        counts: impl Fn(&Occurrence) -> bool,
        most: usize,
    ) -> Vec<Occurrence> {
        if let Starts::Once(begin) = &self.starts {
            return self.occurrence(*begin).into_iter().collect();
        }
        let end = days_later(horizon, RUN_DAYS_MAX);
        let mut runs: Vec<Occurrence> = Vec::new();
        let mut counted = 0;
        let mut date = first;
        loop {
            let last_ended = runs.last().is_none_or(|run| self.date(run.to) < date);
            if date >= end || (date > horizon && last_ended) {
                return runs;
            }
            for raw in self.begun_on(date) {
                match runs.last_mut() {
                    Some(run) if raw.from <= run.to => merge(run, raw),
                    last => {
                        counted += usize::from(last.is_some_and(|run| counts(run)));
                        if counted >= most {
                            return runs;
                        }
                        runs.push(raw);
                    }
                }
            }
            match date.tomorrow() {
                Ok(next) => date = next,
                Err(_) => return runs,
            }
        }
    }

    /// Adds what touches the begin of a run from before.
    fn extend_back(&self, run: &mut Occurrence) {
        let limit = days_later(self.date(run.to), -2 * RUN_DAYS_MAX);
        let reach = self.reach();
        let mut looked = self.date(run.from);
        loop {
            let begin = self.date(run.from);
            let mut date = days_later(begin, -reach);
            let mut found: Option<Occurrence> = None;
            while date <= begin && found.is_none() {
                found = self
                    .begun_on(date)
                    .into_iter()
                    .find(|raw| raw.from < run.from && raw.to >= run.from);
                date = days_later(date, 1);
            }
            match found {
                Some(raw) if looked > limit => {
                    run.from = raw.from;
                    run.note = joined(raw.note, run.note.take());
                    looked = self.date(run.from);
                }
                _ => return,
            }
        }
    }

    /// Finds out whether it is ever on, and ever off.
    fn examine(&mut self) -> Result<(), String> {
        let Starts::Again { days, .. } = &self.starts else {
            return Ok(());
        };
        let (first, last) = (days.first, days.last);
        let origin = first.map_or(jiff::civil::date(2000, 1, 1), DateTime::date);
        let before = origin.at(0, 0, 0, 0).saturating_sub(1.day());
        let Some(begin) = zone::instant(&self.zone, before).and_then(|(at, _)| self.next_begin(at))
        else {
            return Err("it is never on: no such day or time comes".to_owned());
        };
        let date = self.date(begin);
        let runs = self.runs(date, date, |_| true, 1);
        let long = runs.first().is_some_and(|run| {
            run.to.duration_since(run.from)
                > SignedDuration::from_hours(24 * i64::from(RUN_DAYS_MAX - 10))
        });
        if long && last.is_some() {
            return Err(format!(
                "it is on for more than {RUN_DAYS_MAX} days without a break; write one span, such as \
                 `2026-12-01 22:00 - 2027-01-02 02:00`"
            ));
        }
        self.always = long;
        Ok(())
    }

    fn date(&self, at: Timestamp) -> Date {
        self.zone.to_datetime(at).date()
    }

    /// Returns how many days before an instant something may have begun that is still on.
    fn reach(&self) -> i32 {
        match self.length {
            Length::Elapsed(length) => {
                i32::try_from(length.as_hours() / 24).map_or(RUN_DAYS_MAX, |days| days + 2)
            }
            Length::Clock(_) | Length::Until(_) => 2,
        }
    }
}

fn merge(run: &mut Occurrence, raw: Occurrence) {
    run.to = run.to.max(raw.to);
    run.note = joined(run.note.take(), raw.note);
}

/// Returns two notes as one; a long run keeps the first ones.
fn joined(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) if one.len() < 200 && !one.contains(&other) => {
            Some(format!("{one}; {other}"))
        }
        (one, other) => one.or(other),
    }
}

fn days_later(date: Date, days: i32) -> Date {
    date.saturating_add(days.days())
}
