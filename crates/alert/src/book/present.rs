//! What readers see.

use std::cmp::Reverse;

use pawang_core::Timestamp;
use pawang_core::alert::{AlertsPresent, Condition, WindowTime};

use super::{ALERTS_MAX, Book};
use crate::window::{Ready, calendar};

/// Times of windows that are told at once.
const TIMES_MAX: usize = 10_000;

impl Book {
    /// Returns what readers see; the caller adds channels and notes of its own.
    pub fn present(&self, now: Timestamp) -> AlertsPresent {
        let shown = self.held.values().filter(|held| !held.is_nothing());
        let mut alerts: Vec<_> = shown.map(|held| held.alert.clone()).collect();
        alerts.sort_by_key(|alert| {
            let rank = match alert.condition {
                _ if alert.firing().is_some() => 0,
                Condition::Resolved { .. } => 2,
                _ => 1,
            };
            (
                rank,
                alert.priority,
                Reverse(alert.firing()),
                alert.opened_at,
            )
        });
        AlertsPresent {
            alerts,
            silences: self
                .quiet
                .silences
                .iter()
                .map(|(silence, _)| silence)
                .filter(|silence| silence.expired.is_none() && silence.ends_at > now)
                .cloned()
                .collect(),
            windows: self.windows().map(|ready| ready.window.clone()).collect(),
            open_windows: self.windows().filter_map(|ready| ready.open(now)).collect(),
            incidents: self.incidents.present(),
            channels: Vec::new(),
            notes: self.notes(),
            running: self.setup.config.enabled,
        }
    }

    /// Returns the times of all windows in a span, the earliest first.
    pub fn calendar(&self, from: Timestamp, to: Timestamp) -> Vec<WindowTime> {
        let windows: Vec<Ready> = self.windows().cloned().collect();
        calendar(&windows, from, to, TIMES_MAX)
    }

    /// Returns all windows, those of the configuration first.
    pub(super) fn windows(&self) -> impl Iterator<Item = &Ready> {
        let added = self
            .quiet
            .windows
            .iter()
            .filter(|ready| ready.window.removed_at.is_none());
        self.setup.windows.iter().chain(added)
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.setup.config.channels.is_empty() {
            notes.push("no channel is configured: nobody is told of alerts".to_owned());
        }
        notes.extend(self.posted.lost.iter().cloned());
        if self.refused > 0 {
            notes.push(format!(
                "there are {ALERTS_MAX} alerts, and {} times a finding did not become one since the start",
                self.refused
            ));
        }
        notes
    }
}
