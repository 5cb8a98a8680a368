//! What is told together, and what was told already.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Level;

/// Alerts that are told together: those of one route with the same values of its `group_by` labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Stable identity: route and labels.
    pub key: String,
    /// The route's name.
    pub route: String,
    /// The labels that all its alerts share by definition.
    pub labels: BTreeMap<String, String>,
    /// When its first alert came.
    pub created_at: Timestamp,
    /// When it is looked at next; `group_wait` after the first alert, `group_interval` after that.
    pub next_at: Timestamp,
    /// Whether it was looked at once.
    pub flushed: bool,
    /// How many messages it has made: part of their identity.
    pub sequence: u64,
    /// What each recipient was told last, by [`crate::alert::Recipient::key`].
    pub told: BTreeMap<String, Told>,
}

/// What one recipient was told last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// When.
    pub at: Timestamp,
    /// The alerts that fired, with their levels.
    pub firing: BTreeMap<String, Level>,
    /// The alerts that were over.
    pub resolved: Vec<String>,
    /// The recipient, so that it hears of the end even when the configuration changed meanwhile.
    pub recipient: super::Recipient,
}
