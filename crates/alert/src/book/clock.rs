//! What a clock that was put back must not do: make anything wait until it has caught up.

use std::sync::Arc;
use std::time::Duration;

use pawang_core::Timestamp;
use pawang_core::alert::Saved;

use super::Book;
use crate::span::{later, since};

/// A step that comes so much later than it was asked for: the machine or the process stood still, or the clock jumped.
const LATE: Duration = Duration::from_secs(30);

impl Book {
    /// Returns the newest time that was saved: the clock may be put back, or time go by, while nothing runs.
    pub(super) fn saved_until(saved: &Saved) -> Option<Timestamp> {
        let alerts = saved.alerts.iter().map(|(alert, _)| alert.changed_at);
        let told = saved.groups.iter().flat_map(|group| group.told.values());
        alerts.chain(told.map(|told| told.at)).max()
    }

    /// Notices that nothing happened for a while though it should have.
    pub(super) fn mend_gap(&mut self, now: Timestamp) {
        if since(self.last_at, now) < LATE {
            return;
        }
        let due = self.next_at().map(|at| at.max(self.last_at));
        let late = due.map_or(Duration::ZERO, |at| since(at, now));
        if late >= LATE {
            self.forgive(late, now);
        }
    }

    /// Puts times that lie in the future because the clock was put back to now.
    pub(super) fn mend_clock(&mut self, now: Timestamp) {
        self.mend_gap(now);
        let last = std::mem::replace(&mut self.last_at, now);
        if now >= last {
            return;
        }
        self.senders_at = self.senders_at.min(now);
        for watched in self.instances.values_mut() {
            watched.mend_clock(now);
        }
        let soon = later(now, self.setup.config.group_wait.0);
        for (key, circle) in &mut self.groups {
            let group = &mut circle.group;
            let next = group.next_at.min(soon);
            if self.ticks.remove(&(group.next_at, key.clone())) {
                self.ticks.insert((next, key.clone()));
            }
            group.next_at = next;
            for told in group.told.values_mut() {
                told.at = told.at.min(now);
            }
            self.news.groups.insert(key.clone());
        }
        let names: Vec<String> = self.held.keys().cloned().collect();
        for name in names {
            let Some(held) = self.held.get_mut(&name) else {
                continue;
            };
            held.saved_at = held.saved_at.min(now);
            held.climbed_at = held.climbed_at.min(now);
            held.tell_at = held.tell_at.map(|at| at.min(now));
            if held
                .alert
                .handling
                .escalation
                .as_ref()
                .is_some_and(|ladder| ladder.started_at > now)
            {
                let alert = Arc::make_mut(&mut held.alert);
                if let Some(ladder) = &mut alert.handling.escalation {
                    ladder.started_at = now;
                }
                held.ladders.clear();
            }
            self.retime(&name);
            self.news.reroute.insert(name);
        }
        self.quiet.stir();
        self.routes_change_at = Some(now);
    }
}
