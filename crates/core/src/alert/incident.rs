//! Alerts of one cause, and what people did about it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Priority;

/// How far an incident is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IncidentState {
    /// Something of it fires.
    Open,
    /// Nothing of it fires any more; it waits for its review.
    Mitigated,
    /// It was closed.
    Closed,
}

/// Alerts of one cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Grows with every incident.
    pub id: i64,
    /// One sentence: that of its first alert, or what whoever opened it wrote.
    pub title: String,
    /// The most urgent that it was.
    pub priority: Priority,
    /// How far it is.
    pub state: IncidentState,
    /// The instances that are concerned.
    pub instances: Vec<String>,
    /// Fingerprints of its alerts, the cause first; bounded.
    pub alerts: Vec<String>,
    /// The checks that fired, for finding similar ones.
    pub checks: Vec<String>,
    /// When it began: when the first alert was first seen.
    pub began_at: Timestamp,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Who opened it; `pawang` when an alert did.
    pub opened_by: String,
    /// By when somebody has to respond.
    pub respond_by: Timestamp,
    /// When somebody responded first, and who.
    pub responded: Option<(Timestamp, String)>,
    /// When nothing fired any more.
    pub mitigated_at: Option<Timestamp>,
    /// When it was closed, and by whom.
    pub closed: Option<(Timestamp, String)>,
    /// What closed it: the cause and what is done so that it does not happen again.
    #[serde(default)]
    pub review: Option<String>,
}

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// The incident was opened, changed its priority, was mitigated or closed.
    Incident,
    /// An alert began, became worse, or was over.
    Alert,
    /// Somebody acknowledged, snoozed or muted.
    Handling,
    /// Somebody was told.
    Message,
    /// Something was done through Pawang: from the journal.
    Action,
    /// The server restarted, changed its role, a setting or its schema.
    Server,
    /// Somebody wrote a note.
    Note,
}

/// One line of an incident's timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The incident.
    pub incident: i64,
    /// When it happened.
    pub at: Timestamp,
    /// What kind of thing.
    pub kind: EntryKind,
    /// Who, where somebody did it.
    pub by: Option<String>,
    /// What, in one sentence.
    pub text: String,
    /// The alert that it is about.
    #[serde(default)]
    pub fingerprint: Option<String>,
}
