//! What people and rules do about an alert, whatever is the case.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Level;

/// Somebody takes care.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Until when it counts; after that the alert is new again.
    pub until: Option<Timestamp>,
    /// Why, or what is being done.
    pub note: String,
    /// The level that was acknowledged; a worse one is new again.
    pub level: Level,
}

/// Somebody wants to be reminded later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snooze {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Until when nothing is told.
    pub until: Timestamp,
    /// Why.
    pub note: String,
}

/// Why nothing is told of an alert.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Mute {
    /// A silence matches.
    Silenced {
        /// Its number.
        silence: i64,
    },
    /// Another alert explains it.
    Inhibited {
        /// Fingerprint of the other one.
        by: String,
        /// The rule, such as `topology: instance` or `disk full mutes archiver`.
        rule: String,
    },
    /// A maintenance window is open.
    Maintenance {
        /// Its name.
        window: String,
    },
}

/// How far the ladder of an escalation policy was climbed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Escalation {
    /// The policy.
    pub policy: String,
    /// When the ladder was begun: since then nobody has acknowledged.
    pub started_at: Timestamp,
    /// The steps that were reached; 0 is the first one.
    pub step: usize,
    /// Rounds through all steps that are done.
    pub rounds: u32,
}

/// What people and rules do about an alert; several things may be so at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Handling {
    /// Somebody takes care.
    pub acknowledged: Option<Acknowledgement>,
    /// Somebody wants to be reminded later.
    pub snoozed: Option<Snooze>,
    /// Why nothing is told, if anything keeps it quiet.
    pub mutes: Vec<Mute>,
    /// How far it was escalated.
    pub escalation: Option<Escalation>,
}

/// The one word for how an alert is handled, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HandlingState {
    /// A maintenance window is open.
    InMaintenance,
    /// A silence matches.
    Silenced,
    /// Another alert explains it.
    Inhibited,
    /// Somebody wants to be reminded later.
    Snoozed,
    /// Somebody takes care.
    Acknowledged,
    /// It was told to more than the first.
    Escalated,
    /// Nobody does anything yet.
    New,
}

impl Handling {
    /// Returns the one word for it.
    pub fn state(&self) -> HandlingState {
        let mut found = HandlingState::New;
        for mute in &self.mutes {
            found = found.min(match mute {
                Mute::Silenced { .. } => HandlingState::Silenced,
                Mute::Inhibited { .. } => HandlingState::Inhibited,
                Mute::Maintenance { .. } => HandlingState::InMaintenance,
            });
        }
        if found != HandlingState::New {
            return found;
        }
        match (&self.snoozed, &self.acknowledged, &self.escalation) {
            (Some(_), ..) => HandlingState::Snoozed,
            (_, Some(_), _) => HandlingState::Acknowledged,
            (_, _, Some(escalation)) if escalation.step > 0 || escalation.rounds > 0 => {
                HandlingState::Escalated
            }
            _ => HandlingState::New,
        }
    }

    /// Says whether nothing new is told of it: muted or snoozed. An acknowledged alert is quiet too, but not muted.
    pub fn muted(&self) -> bool {
        !self.mutes.is_empty() || self.snoozed.is_some()
    }
}

impl HandlingState {
    /// Returns the kebab-case name used on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            HandlingState::InMaintenance => "in-maintenance",
            HandlingState::Silenced => "silenced",
            HandlingState::Inhibited => "inhibited",
            HandlingState::Snoozed => "snoozed",
            HandlingState::Acknowledged => "acknowledged",
            HandlingState::Escalated => "escalated",
            HandlingState::New => "new",
        }
    }
}
