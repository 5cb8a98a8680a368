//! What keeps alerts quiet: silences and maintenance windows, and the matchers that say which alerts are meant.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// The same text.
    #[serde(rename = "=")]
    Equal,
    /// Another text.
    #[serde(rename = "!=")]
    NotEqual,
    /// The whole text matches the regular expression.
    #[serde(rename = "=~")]
    Matches,
    /// The whole text does not match the regular expression.
    #[serde(rename = "!~")]
    MatchesNot,
}

/// A condition on one label, as Alertmanager writes it: `check="disk-space"`, `instance=~"dwh-.*"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matcher {
    /// The label; one that an alert lacks is the empty text.
    pub label: String,
    /// How it is compared.
    pub operator: Operator,
    /// What it is compared with.
    pub value: String,
}

impl std::fmt::Display for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let operator = match self.operator {
            Operator::Equal => "=",
            Operator::NotEqual => "!=",
            Operator::Matches => "=~",
            Operator::MatchesNot => "!~",
        };
        let plain = |c: char| c.is_alphanumeric() || "_-.:/".contains(c);
        if self.label.chars().all(plain) {
            write!(f, "{}{operator}{:?}", self.label, self.value)
        } else {
            write!(f, "{:?}{operator}{:?}", self.label, self.value)
        }
    }
}

/// A rule that keeps matching alerts quiet for a while; it always ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Grows with every silence; 0 before it is kept.
    pub id: i64,
    /// All of these hold for the alerts that are meant.
    pub matchers: Vec<Matcher>,
    /// From when on.
    pub starts_at: Timestamp,
    /// Until when.
    pub ends_at: Timestamp,
    /// Who made it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When somebody ended it early, and who.
    #[serde(default)]
    pub expired: Option<(Timestamp, String)>,
}

impl Silence {
    /// Says whether it holds at this time.
    pub fn active(&self, now: Timestamp) -> bool {
        self.expired.is_none() && self.starts_at <= now && now < self.ends_at
    }
}

/// A maintenance window: alerts of what is worked on are quiet, checks go on recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Its unique name: that of the configuration, or `window-7` for one that was added by a command.
    pub name: String,
    /// When: as `pawang window add` takes it, such as `sun 02:00-06:00 Asia/Jakarta`.
    pub schedule: String,
    /// All of these hold for the alerts that are meant; none means the whole estate.
    pub matchers: Vec<Matcher>,
    /// Who made it; `pawang.toml` for those of the configuration.
    pub by: String,
    /// What is done in it.
    pub reason: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it no longer counts: it was removed, or its work was done early.
    #[serde(default)]
    pub removed_at: Option<Timestamp>,
}
