//! What one step changes, all of it or nothing; and what is read back at the start.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Alert, Entry, Group, Incident, Message, Parcel, Silence, Tally, Window};

/// What kind of thing happened to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// Seen to be bad for the first time.
    Opened,
    /// Bad for long enough.
    Fired,
    /// Worse than before.
    Rose,
    /// Less bad than before, for long enough.
    Fell,
    /// Good, but it may come back.
    Recovering,
    /// Bad again before it was over.
    Returned,
    /// Over.
    Resolved,
    /// Was never bad for long enough.
    Dropped,
    /// It can no longer be seen.
    Lost,
    /// It can be seen again.
    Found,
    /// Somebody takes care.
    Acknowledged,
    /// Nobody takes care any more: taken back, timed out, or the alert became worse.
    Unacknowledged,
    /// Quiet until later.
    Snoozed,
    /// No longer quiet.
    Woken,
    /// Quiet by a silence, another alert, or a window.
    Muted,
    /// No longer so.
    Unmuted,
    /// The next step of the ladder.
    Escalated,
    /// A message about it was taken by its target, or given up: see `outcome`.
    Told,
}

/// One line of the log of an alert; never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertEvent {
    /// The alert.
    pub fingerprint: String,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// Who, where somebody did it.
    pub by: Option<String>,
    /// The facts: levels, reasons, recipients.
    pub detail: BTreeMap<String, String>,
}

/// What one step changes: on disk all of it, or nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Alerts that are new or changed, with what their samples told.
    pub alerts: Vec<(Alert, Tally)>,
    /// Alerts that are over and told; they stay in the record, but are no longer kept in mind.
    pub forgotten: Vec<String>,
    /// New lines of the log.
    pub events: Vec<AlertEvent>,
    /// Groups that are new or changed.
    pub groups: Vec<Group>,
    /// Groups without alerts.
    pub groups_gone: Vec<String>,
    /// Silences that are new or changed.
    pub silences: Vec<Silence>,
    /// Windows that are new or changed.
    pub windows: Vec<Window>,
    /// Incidents that are new or changed.
    pub incidents: Vec<Incident>,
    /// New lines of timelines.
    pub entries: Vec<Entry>,
    /// Messages to send.
    pub messages: Vec<Message>,
}

impl Changes {
    /// Says whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }

    /// Adds what a later step changes; what is there twice counts as the later one says.
    pub fn absorb(&mut self, later: Changes) {
        fn put<T>(all: &mut Vec<T>, later: Vec<T>, same: impl Fn(&T, &T) -> bool) {
            // A handful at most is changed twice in one batch; a storm changes each thing once.
            const COMPARED_MAX: usize = 64;
            if all.len() <= COMPARED_MAX {
                all.retain(|one| !later.iter().any(|other| same(one, other)));
            }
            all.extend(later);
        }
        if !self.forgotten.is_empty() {
            let back = |gone: &String| later.alerts.iter().any(|(a, _)| a.fingerprint == *gone);
            self.forgotten.retain(|gone| !back(gone));
        }
        if !self.groups_gone.is_empty() {
            let back = |gone: &String| later.groups.iter().any(|group| group.key == *gone);
            self.groups_gone.retain(|gone| !back(gone));
        }
        put(&mut self.alerts, later.alerts, |(a, _), (b, _)| {
            a.fingerprint == b.fingerprint
        });
        put(&mut self.groups, later.groups, |a, b| a.key == b.key);
        put(&mut self.silences, later.silences, |a, b| a.id == b.id);
        put(&mut self.windows, later.windows, |a, b| a.name == b.name);
        put(&mut self.incidents, later.incidents, |a, b| a.id == b.id);
        self.forgotten.extend(later.forgotten);
        self.groups_gone.extend(later.groups_gone);
        self.events.extend(later.events);
        self.entries.extend(later.entries);
        self.messages.extend(later.messages);
    }
}

/// What is read back at the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// Alerts that are not forgotten.
    pub alerts: Vec<(Alert, Tally)>,
    /// Groups.
    pub groups: Vec<Group>,
    /// Silences that have not ended for long.
    pub silences: Vec<Silence>,
    /// Windows that were added by commands and not removed for long.
    pub windows: Vec<Window>,
    /// Incidents that are not closed.
    pub incidents: Vec<Incident>,
    /// When alerts that are over began and ended last, by fingerprint; the newest, bounded.
    pub past: BTreeMap<String, (Timestamp, Timestamp)>,
    /// The highest numbers given to silences, windows and incidents.
    pub last_silence: i64,
    /// As above.
    pub last_window: i64,
    /// As above.
    pub last_incident: i64,
    /// Messages that wait.
    pub parcels: Vec<Parcel>,
}
