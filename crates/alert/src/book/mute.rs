//! What keeps alerts quiet: silences, windows, and alerts that explain others.

use std::collections::BTreeMap;
use std::sync::Arc;

use pawang_core::Timestamp;
use pawang_core::alert::{Alert, Condition, MessageKind, Mute};

use super::Book;
use crate::handling::Happened;
use crate::inhibit::inhibited;
use crate::span::later;

impl Book {
    /// Looks at what keeps alerts quiet, as far as that may have changed.
    pub(super) fn mute(&mut self, now: Timestamp) {
        let all = self.quiet.refresh(&self.setup, now);
        let concerned: Vec<String> = if all {
            self.held.keys().cloned().collect()
        } else {
            self.news.moved.iter().cloned().collect()
        };
        // What was before is needed to tell what happened; the new silences and windows, to tell who explains whom.
        let mut before: BTreeMap<String, Vec<Mute>> = BTreeMap::new();
        for fingerprint in concerned {
            let Some(held) = self.held.get_mut(&fingerprint) else {
                continue;
            };
            let mut mutes = match held.alert.condition {
                Condition::Ok | Condition::Resolved { .. } => Vec::new(),
                _ => self.quiet.mutes(&held.alert),
            };
            let old = &held.alert.handling.mutes;
            mutes.extend(old.iter().filter(|mute| inhibits(mute)).cloned());
            mutes.sort();
            if mutes != *old {
                let alert = Arc::make_mut(&mut held.alert);
                before.insert(
                    fingerprint,
                    std::mem::replace(&mut alert.handling.mutes, mutes),
                );
            }
        }
        if self.news.firing || !before.is_empty() {
            self.inhibit(&mut before);
        }
        for (fingerprint, before) in before {
            self.silence(&fingerprint, before, now);
        }
    }

    /// Looks up which alerts explain others.
    fn inhibit(&mut self, before: &mut BTreeMap<String, Vec<Mute>>) {
        let firing: Vec<Arc<Alert>> = self
            .held
            .values()
            .filter(|held| held.alert.firing().is_some())
            .map(|held| held.alert.clone())
            .collect();
        let mut explained = inhibited(&self.setup, &firing);
        drop(firing);
        let mut explains: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (fingerprint, held) in &mut self.held {
            held.explains.clear();
            let mute = explained.remove(fingerprint);
            if let Some(Mute::Inhibited { by, .. }) = &mute {
                explains
                    .entry(by.clone())
                    .or_default()
                    .push(fingerprint.clone());
            }
            if held.alert.handling.mutes.iter().find(|mute| inhibits(mute)) == mute.as_ref() {
                continue;
            }
            let alert = Arc::make_mut(&mut held.alert);
            let old = alert.handling.mutes.clone();
            before.entry(fingerprint.clone()).or_insert(old);
            alert.handling.mutes.retain(|mute| !inhibits(mute));
            alert.handling.mutes.extend(mute);
            alert.handling.mutes.sort();
        }
        for (by, names) in explains {
            if let Some(held) = self.held.get_mut(&by) {
                held.explains = names;
            }
        }
    }

    /// Tells the handling of an alert what keeps it quiet now.
    fn silence(&mut self, fingerprint: &str, before: Vec<Mute>, now: Timestamp) {
        let Some(held) = self.held.get_mut(fingerprint) else {
            return;
        };
        let alert = Arc::make_mut(&mut held.alert);
        let after = std::mem::replace(&mut alert.handling.mutes, before.clone());
        let fires = alert.firing().is_some() && alert.condition.good_since().is_none();
        let over = after.is_empty() && fires;
        self.handle(fingerprint, Happened::Mutes(after), None, now);
        if !over {
            return;
        }
        let window = before
            .iter()
            .any(|mute| matches!(mute, Mute::Maintenance { .. }));
        let wait = self.wait_of(fingerprint);
        let Some(held) = self.held.get_mut(fingerprint) else {
            return;
        };
        if window {
            held.again = Some(MessageKind::WindowOver);
            self.urge(fingerprint, true);
        } else if !before.is_empty() {
            held.tell_at = Some(later(now, wait)).filter(|at| *at > now);
            self.retime(fingerprint);
        }
    }
}

fn inhibits(mute: &Mute) -> bool {
    matches!(mute, Mute::Inhibited { .. })
}
