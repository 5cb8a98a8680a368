//! What readers see of alerts.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Alert, Incident, Silence, Window};

/// How a channel is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// Its name.
    pub name: String,
    /// Its kind, such as `smtp`.
    pub kind: String,
    /// Messages that its target took since the start.
    pub sent: u64,
    /// Messages that wait.
    pub waiting: u64,
    /// Messages that were given up since the start.
    pub dead: u64,
    /// When its target last took one.
    pub sent_at: Option<Timestamp>,
    /// Since when, and why, nothing gets through.
    pub trouble: Option<(Timestamp, String)>,
}

/// One time that a window is open.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WindowTime {
    /// The window's name.
    pub window: String,
    /// From when on.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// What is to know, such as that its begin falls into the hour that summer time leaves out.
    pub note: Option<String>,
}

/// What readers see of alerts: never changed, only replaced.
#[derive(Clone, Debug, Default)]
pub struct AlertsPresent {
    /// All alerts that are not forgotten, the most urgent first.
    pub alerts: Vec<Arc<Alert>>,
    /// Silences that hold or will hold.
    pub silences: Vec<Silence>,
    /// Windows, those of the configuration too.
    pub windows: Vec<Window>,
    /// Windows that are open now.
    pub open_windows: Vec<WindowTime>,
    /// Incidents that are not closed, newest first.
    pub incidents: Vec<Incident>,
    /// How each channel is doing.
    pub channels: Vec<ChannelStatus>,
    /// Things to know, such as that there is no channel and nobody is told.
    pub notes: Vec<String>,
    /// Whether alerting runs at all.
    pub running: bool,
}
