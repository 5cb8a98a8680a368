//! What a clock that was put back must not do: make anything wait until it has caught up.

use std::sync::Arc;

use pawang_core::Timestamp;

use super::Book;
use crate::span::later;

impl Book {
    /// Puts times that lie in the future because the clock was put back to now.
    pub(super) fn mend_clock(&mut self, now: Timestamp) {
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
