//! Alerts: findings over time, how people handle them, and what is told to whom.
//!
//! Only nouns; what turns one into the next is in crate `alert`.

mod change;
mod condition;
mod group;
mod handling;
mod incident;
mod message;
mod order;
mod present;
mod silence;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use change::{AlertEvent, Changes, EventKind, Saved};
pub use condition::{Condition, Tally};
pub use group::{Group, Told};
pub use handling::{Acknowledgement, Escalation, Handling, HandlingState, Mute, Snooze};
pub use incident::{Entry, EntryKind, Incident, IncidentState};
pub use message::{Message, MessageKind, Notice, Parcel, ParcelState, Recipient};
pub use order::{Done, Draft, Order, Request};
pub use present::{AlertsPresent, ChannelStatus, WindowTime};
pub use silence::{Matcher, Operator, Silence, Window};

use crate::{Finding, Level};

/// How soon somebody has to respond, from level and role of the instance; `P1` is the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Priority {
    /// Database down, data at risk.
    P1,
    /// Severe degradation, replication or backup broken.
    P2,
    /// Somebody should act today.
    P3,
    /// Worth knowing.
    P4,
}

impl Priority {
    /// All, the most urgent first.
    pub const ALL: [Priority; 4] = [Priority::P1, Priority::P2, Priority::P3, Priority::P4];

    /// Returns `P1` to `P4`.
    pub fn as_str(self) -> &'static str {
        match self {
            Priority::P1 => "P1",
            Priority::P2 => "P2",
            Priority::P3 => "P3",
            Priority::P4 => "P4",
        }
    }
}

impl std::fmt::Display for Priority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A finding's life over time: the state of its condition and the state of its handling, kept apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Stable identity: that of the finding.
    pub fingerprint: String,
    /// The instance; empty for what concerns Pawang itself or came from elsewhere.
    pub instance: String,
    /// What matchers see: `check`, `instance`, `group`, `database`, `object`, `level`, `priority`, `host`, `cluster`,
    /// `role`, and the labels of the instance. A label that is missing equals the empty text.
    pub labels: BTreeMap<String, String>,
    /// How soon somebody has to respond.
    pub priority: Priority,
    /// The finding as it was seen last while it was bad.
    pub finding: Finding,
    /// What is the case.
    pub condition: Condition,
    /// What people and rules do about it.
    pub handling: Handling,
    /// When it was first seen to be bad.
    pub opened_at: Timestamp,
    /// When it was last seen, good or bad.
    pub seen_at: Timestamp,
    /// When condition or handling changed last.
    pub changed_at: Timestamp,
    /// The value when it was first seen, in the check's unit: what the trend is told against.
    #[serde(default)]
    pub first_value: Option<f64>,
    /// How often it cleared and came back since it was opened.
    #[serde(default)]
    pub flaps: u32,
    /// The incident that it belongs to.
    #[serde(default)]
    pub incident: Option<i64>,
    /// Where it came from, when Pawang did not see it itself: the sender's name.
    #[serde(default)]
    pub source: Option<String>,
}

impl Alert {
    /// Returns a label; a missing one is the empty text.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// Returns the level that it fires at; `None` while it does not fire.
    pub fn firing(&self) -> Option<Level> {
        self.condition.firing()
    }
}
