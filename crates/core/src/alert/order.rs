//! What people ask for.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Matcher, Priority};

/// A silence or a window before it is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// Which alerts are meant.
    pub matchers: Vec<Matcher>,
    /// Why.
    pub reason: String,
    /// It matches everything, and that is meant.
    #[serde(default)]
    pub everything: bool,
}

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Request {
    /// Take care of alerts.
    Acknowledge {
        /// Fingerprints, or beginnings of them that mean only one.
        alerts: Vec<String>,
        /// Until when.
        until: Option<Timestamp>,
        /// Why, or what is being done.
        note: String,
    },
    /// Take care no longer.
    Unacknowledge {
        /// Fingerprints.
        alerts: Vec<String>,
    },
    /// Be reminded later.
    Snooze {
        /// Fingerprints.
        alerts: Vec<String>,
        /// Until when.
        until: Timestamp,
        /// Why.
        note: String,
    },
    /// Keep one alert quiet: a silence of its fingerprint.
    Mute {
        /// Its fingerprint.
        alert: String,
        /// Until when.
        until: Timestamp,
        /// Why.
        reason: String,
    },
    /// End what keeps one alert quiet: its silence of its own, and its snooze.
    Unmute {
        /// Its fingerprint.
        alert: String,
    },
    /// Keep alerts quiet.
    AddSilence {
        /// Which, and why.
        draft: Draft,
        /// From when on; now when not set.
        starts_at: Option<Timestamp>,
        /// Until when.
        ends_at: Timestamp,
    },
    /// End a silence.
    ExpireSilence {
        /// Its number.
        silence: i64,
    },
    /// Add a maintenance window.
    AddWindow {
        /// Which alerts, and what is done.
        draft: Draft,
        /// When, such as `sun 02:00-06:00 Asia/Jakarta`.
        schedule: String,
        /// Its name; `window-N` when not set.
        name: Option<String>,
    },
    /// Remove a maintenance window, or end it before its time.
    RemoveWindow {
        /// Its name.
        window: String,
    },
    /// Open an incident by hand.
    OpenIncident {
        /// One sentence.
        title: String,
        /// How urgent.
        priority: Priority,
        /// The instances that are concerned.
        instances: Vec<String>,
        /// Fingerprints of alerts that belong to it.
        alerts: Vec<String>,
    },
    /// Write a note into the timeline of an incident.
    NoteIncident {
        /// Its number.
        incident: i64,
        /// The note.
        text: String,
    },
    /// Close an incident.
    CloseIncident {
        /// Its number.
        incident: i64,
        /// What it was, and what is done so that it does not happen again.
        review: String,
    },
}

/// What somebody asks for, and who.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Who.
    pub by: String,
    /// What.
    pub request: Request,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// What was done, in one sentence.
    pub text: String,
    /// Fingerprints, numbers or names of what was changed or made.
    pub objects: Vec<String>,
    /// The command that takes it back.
    pub undo: Option<String>,
}

impl Request {
    /// Returns what the journal calls it, and the object that it is done to.
    pub fn action(&self) -> (&'static str, String) {
        match self {
            Request::Acknowledge { alerts, .. } => ("alert.acknowledge", alerts.join(" ")),
            Request::Unacknowledge { alerts } => ("alert.unacknowledge", alerts.join(" ")),
            Request::Snooze { alerts, .. } => ("alert.snooze", alerts.join(" ")),
            Request::Mute { alert, .. } => ("alert.mute", alert.clone()),
            Request::Unmute { alert } => ("alert.unmute", alert.clone()),
            Request::AddSilence { .. } => ("silence.add", String::new()),
            Request::ExpireSilence { silence } => ("silence.expire", silence.to_string()),
            Request::AddWindow { name, .. } => ("window.add", name.clone().unwrap_or_default()),
            Request::RemoveWindow { window } => ("window.remove", window.clone()),
            Request::OpenIncident { .. } => ("incident.open", String::new()),
            Request::NoteIncident { incident, .. } => ("incident.note", incident.to_string()),
            Request::CloseIncident { incident, .. } => ("incident.close", incident.to_string()),
        }
    }
}
