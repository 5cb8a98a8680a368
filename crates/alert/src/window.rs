//! Maintenance windows and batch times: which are open, and for which alerts.

use std::collections::BTreeMap;

use pawang_core::Timestamp;
use pawang_core::alert::{Window, WindowTime};

use crate::matcher::Matchers;
use pawang_config::schedule::{Occurrence, Schedule};

/// A window made ready to be asked often.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The window.
    pub window: Window,
    /// When.
    pub schedule: Schedule,
    /// Which alerts.
    pub matchers: Matchers,
}

impl Ready {
    /// Makes a window ready.
    ///
    /// # Errors
    /// Its schedule or a matcher is wrong, in words; or it would never close.
    pub fn new(window: Window) -> Result<Ready, String> {
        let schedule = Schedule::parse(&window.schedule)?;
        if schedule.always() {
            return Err(
                "it never closes, and what never closes hides every alert; write from when to when, such as \
                 `sun 02:00-06:00 Asia/Jakarta`"
                    .to_owned(),
            );
        }
        Ok(Ready {
            schedule,
            matchers: Matchers::new(window.matchers.clone())?,
            window,
        })
    }

    /// Returns the time that it is open at, if it is: not before it was made, not after it was removed.
    pub fn open(&self, now: Timestamp) -> Option<WindowTime> {
        let time = self.cut(self.schedule.open(now)?)?;
        (time.from <= now && now < time.to).then_some(time)
    }

    /// Says whether it keeps an alert with these labels quiet now.
    pub fn covers(&self, labels: &BTreeMap<String, String>, now: Timestamp) -> bool {
        self.matchers.hold(labels) && self.open(now).is_some()
    }

    /// Returns when it opens or closes next after `now`.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        if let Some(open) = self.open(now) {
            return Some(open.to);
        }
        let after = now.max(self.window.created_at);
        if after > now && self.open(after).is_some() {
            return Some(after);
        }
        self.schedule
            .next_change(after)
            .filter(|next| self.window.removed_at.is_none_or(|removed| *next < removed))
    }

    /// Says whether it will never be open again: it may be forgotten.
    pub fn over(&self, now: Timestamp) -> bool {
        self.open(now).is_none() && self.next_change(now).is_none()
    }

    /// Cuts a time to what the window counts; `None` when nothing is left.
    fn cut(&self, time: Occurrence) -> Option<WindowTime> {
        let from = time.from.max(self.window.created_at);
        let to = self
            .window
            .removed_at
            .map_or(time.to, |removed| time.to.min(removed));
        (from < to).then(|| WindowTime {
            window: self.window.name.clone(),
            from,
            to,
            note: time.note,
        })
    }
}

/// Returns the times of several windows in a span, the earliest first, at most `most`.
pub fn calendar(windows: &[Ready], from: Timestamp, to: Timestamp, most: usize) -> Vec<WindowTime> {
    let mut times: Vec<WindowTime> = windows
        .iter()
        .flat_map(|window| {
            let found = window.schedule.between(from, to, most);
            found.into_iter().filter_map(|time| window.cut(time))
        })
        .filter(|time| time.from < to && from < time.to)
        .collect();
    times.sort_by(|a, b| (a.from, &a.window).cmp(&(b.from, &b.window)));
    times.truncate(most);
    times
}

#[cfg(test)]
mod tests {
    use pawang_core::alert::{Matcher, Operator};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn window(name: &str, schedule: &str, created_at: &str) -> Window {
        Window {
            name: name.to_owned(),
            schedule: schedule.to_owned(),
            matchers: vec![Matcher {
                label: "group".to_owned(),
                operator: Operator::Equal,
                value: "prod".to_owned(),
            }],
            by: "ayu".to_owned(),
            reason: "index rebuild".to_owned(),
            created_at: at(created_at),
            removed_at: None,
        }
    }

    #[test]
    fn a_window_counts_from_when_it_was_made_to_when_it_was_removed() {
        let mut made = window("weekly", "sun 02:00-06:00", "2026-11-22T03:00:00Z");
        let ready = Ready::new(made.clone()).unwrap();
        assert!(ready.open(at("2026-11-22T02:30:00Z")).is_none());
        assert_eq!(
            ready.next_change(at("2026-11-22T02:30:00Z")),
            Some(at("2026-11-22T03:00:00Z"))
        );
        let open = ready.open(at("2026-11-22T03:00:00Z")).unwrap();
        assert_eq!(
            (open.from, open.to),
            (at("2026-11-22T03:00:00Z"), at("2026-11-22T06:00:00Z"))
        );
        made.removed_at = Some(at("2026-11-22T04:00:00Z"));
        let ready = Ready::new(made).unwrap();
        assert_eq!(
            ready.next_change(at("2026-11-22T03:30:00Z")),
            Some(at("2026-11-22T04:00:00Z"))
        );
        assert!(ready.open(at("2026-11-22T04:00:00Z")).is_none());
        assert!(!ready.over(at("2026-11-22T03:59:00Z")));
        assert!(ready.over(at("2026-11-22T04:00:00Z")));
    }

    #[test]
    fn overlapping_windows_are_both_in_the_calendar() {
        let ready = |name, schedule| Ready::new(window(name, schedule, "2026-01-01T00:00:00Z"));
        let windows = [
            ready("b", "sun 02:00-06:00").unwrap(),
            ready("a", "sun 02:00-04:00").unwrap(),
        ];
        let times = calendar(
            &windows,
            at("2026-11-20T00:00:00Z"),
            at("2026-12-01T00:00:00Z"),
            3,
        );
        let names: Vec<&str> = times.iter().map(|time| time.window.as_str()).collect();
        assert_eq!(names, ["a", "b", "a"]);
    }

    #[test]
    fn a_window_covers_only_what_it_matches_while_it_is_open() {
        let ready = Ready::new(window("w", "sun 02:00-06:00", "2026-01-01T00:00:00Z")).unwrap();
        let labels = |group: &str| BTreeMap::from([("group".to_owned(), group.to_owned())]);
        let (open, shut) = (at("2026-11-22T02:00:00Z"), at("2026-11-22T06:00:00Z"));
        assert!(ready.covers(&labels("prod"), open));
        assert!(!ready.covers(&labels("prod"), shut));
        assert!(!ready.covers(&labels("test"), open));
    }

    #[test]
    fn a_window_that_never_closes_is_refused() {
        let never = Ready::new(window("w", "daily 00:00-24:00", "2026-01-01T00:00:00Z"));
        assert!(never.unwrap_err().contains("never closes"));
    }
}
