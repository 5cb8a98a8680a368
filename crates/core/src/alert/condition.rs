//! What is the case, whatever people do about it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Level;

/// The state of an alert's condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Condition {
    /// Nothing is wrong; what fired was told to be over.
    Ok,
    /// Bad, but not for long enough, or not often enough, to fire.
    Pending {
        /// Since when it is bad.
        since: Timestamp,
        /// How bad.
        level: Level,
    },
    /// Bad.
    Firing {
        /// Since when it fires.
        since: Timestamp,
        /// How bad.
        level: Level,
    },
    /// Seen to be good again, but it may come back.
    Recovering {
        /// Since when it fired.
        since: Timestamp,
        /// The level that it fired at.
        level: Level,
        /// Since when it is good.
        good_since: Timestamp,
        /// When it is over if it stays good.
        until: Timestamp,
    },
    /// It fired, and is over.
    Resolved {
        /// Since when it fired.
        since: Timestamp,
        /// The worst level that it fired at.
        level: Level,
        /// When it was over: the first of the good samples that proved it.
        at: Timestamp,
    },
    /// It cannot be seen any more: the check fails or the server does not answer.
    Unknown {
        /// Since when.
        since: Timestamp,
        /// What it was before, unless that was nothing.
        was: Option<Box<Condition>>,
    },
    /// Nobody has looked for too long.
    Stale {
        /// Since when.
        since: Timestamp,
        /// What it was before.
        was: Option<Box<Condition>>,
    },
}

impl Condition {
    /// Returns the level that it fires at: also while it recovers, and while it cannot be seen and fired before.
    pub fn firing(&self) -> Option<Level> {
        match self {
            Condition::Firing { level, .. } | Condition::Recovering { level, .. } => Some(*level),
            Condition::Unknown { was, .. } | Condition::Stale { was, .. } => was.as_ref()?.firing(),
            Condition::Ok | Condition::Pending { .. } | Condition::Resolved { .. } => None,
        }
    }

    /// Returns since when it fires.
    pub fn firing_since(&self) -> Option<Timestamp> {
        match self {
            Condition::Firing { since, .. } | Condition::Recovering { since, .. } => Some(*since),
            Condition::Unknown { was, .. } | Condition::Stale { was, .. } => {
                was.as_ref()?.firing_since()
            }
            Condition::Ok | Condition::Pending { .. } | Condition::Resolved { .. } => None,
        }
    }

    /// Returns since when what fires is seen to be good, while it may come back.
    pub fn good_since(&self) -> Option<Timestamp> {
        match self {
            Condition::Recovering { good_since, .. } => Some(*good_since),
            Condition::Unknown { was, .. } | Condition::Stale { was, .. } => {
                was.as_ref()?.good_since()
            }
            _ => None,
        }
    }

    /// Returns the kebab-case name used on every wire.
    pub fn as_str(&self) -> &'static str {
        match self {
            Condition::Ok => "ok",
            Condition::Pending { .. } => "pending",
            Condition::Firing { .. } => "firing",
            Condition::Recovering { .. } => "recovering",
            Condition::Resolved { .. } => "resolved",
            Condition::Unknown { .. } => "unknown",
            Condition::Stale { .. } => "stale",
        }
    }
}

/// What the samples of an alert told: for N of M, for flapping, for levels that only fall after a while.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// The last samples, newest in the lowest bit: 1 is bad.
    pub samples: u64,
    /// How many of them there are, at most 64.
    pub count: u8,
    /// When it cleared, newest last, bounded: what flapping is told by.
    #[serde(default)]
    pub cleared_at: Vec<Timestamp>,
    /// Since when it is seen at a lower level than it fires at.
    #[serde(default)]
    pub lower_since: Option<Timestamp>,
    /// The first bad sample of what is pending or fires: how long it has lasted is told from here.
    #[serde(default)]
    pub bad_since: Option<Timestamp>,
    /// The worst level that it fired at.
    #[serde(default)]
    pub worst: Option<Level>,
}
