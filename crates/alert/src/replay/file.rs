//! Test files: which samples there are, what people do, and what must come of it.

use std::collections::BTreeMap;

use pawang_config::Period;
use pawang_core::alert::Priority;
use pawang_core::{Level, Role, Timestamp};
use serde::Deserialize;

/// A file of tests.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestFile {
    /// The tests.
    #[serde(rename = "test")]
    pub tests: Vec<Test>,
}

/// One test: an instance, its samples, and what must come of them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// What it proves.
    pub name: String,
    /// The instance.
    pub instance: String,
    /// Its group; that of `pawang.toml` when not set.
    #[serde(default)]
    pub group: Option<String>,
    /// Its labels, besides those of `pawang.toml`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The machine that it runs on.
    #[serde(default)]
    pub host: Option<String>,
    /// Its role.
    #[serde(default)]
    pub role: Option<Role>,
    /// When it begins; a Monday at 10:00 UTC when not set.
    #[serde(default = "monday")]
    pub starts: Timestamp,
    /// How often the instance is looked at.
    #[serde(default = "ten_seconds")]
    pub every: Period,
    /// What is seen.
    #[serde(default, rename = "sample")]
    pub samples: Vec<Sample>,
    /// What people do.
    #[serde(default, rename = "order")]
    pub orders: Vec<Given>,
    /// What must come of it.
    #[serde(default, rename = "expect")]
    pub expects: Vec<Expect>,
}

fn monday() -> Timestamp {
    // 2026-01-05T10:00:00Z
    Timestamp::constant(1_767_607_200, 0)
}

fn ten_seconds() -> Period {
    Period(std::time::Duration::from_secs(10))
}

/// Which object of which check.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed {
    /// The check.
    pub check: String,
    /// The database of the object.
    pub database: Option<String>,
    /// The object; empty for the server as a whole.
    pub object: String,
}

/// What is seen of one object; the last sample holds until the next one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// How long after the begin.
    #[serde(default)]
    pub at: Period,
    /// The check.
    pub check: String,
    /// The database of the object.
    #[serde(default)]
    pub database: Option<String>,
    /// The object.
    #[serde(default)]
    pub object: String,
    /// Its value in the check's unit, graded by the limits in force.
    #[serde(default)]
    pub value: Option<f64>,
    /// Its level, instead of a value.
    #[serde(default)]
    pub level: Option<Level>,
    /// Several samples, such as `70x30 95x20 70x30`, instead of one.
    #[serde(default)]
    pub values: Option<String>,
    /// How far apart those are; as far as the test says when not set.
    #[serde(default)]
    pub every: Option<Period>,
}

/// What somebody does.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// How long after the begin.
    pub at: Period,
    /// What.
    #[serde(rename = "do")]
    pub what: Do,
    /// The check whose alert is meant.
    #[serde(default)]
    pub check: Option<String>,
    /// The database of the object.
    #[serde(default)]
    pub database: Option<String>,
    /// The object.
    #[serde(default)]
    pub object: String,
    /// How long it holds.
    #[serde(default, rename = "for")]
    pub length: Option<Period>,
    /// Which alerts are meant by a silence or window.
    #[serde(default, rename = "match")]
    pub matchers: Vec<String>,
    /// When a window is open.
    #[serde(default)]
    pub schedule: Option<String>,
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Do {
    /// As `pawang alert ack`.
    Acknowledge,
    /// As `pawang alert unack`.
    Unacknowledge,
    /// As `pawang alert snooze`.
    Snooze,
    /// As `pawang alert mute`.
    Mute,
    /// As `pawang alert unmute`.
    Unmute,
    /// As `pawang silence add`.
    Silence,
    /// As `pawang window add`.
    Window,
}

/// What must be the case at a time; what is not set may be anything.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// How long after the begin.
    pub at: Period,
    /// The check whose alert is meant.
    #[serde(default)]
    pub check: Option<String>,
    /// The database of the object.
    #[serde(default)]
    pub database: Option<String>,
    /// The object.
    #[serde(default)]
    pub object: String,
    /// The state of its condition; `ok` also when it is over or never was.
    #[serde(default)]
    pub state: Option<String>,
    /// The level that it fires at.
    #[serde(default)]
    pub level: Option<Level>,
    /// How urgent it is.
    #[serde(default)]
    pub priority: Option<Priority>,
    /// How it is handled, such as `acknowledged`.
    #[serde(default)]
    pub handling: Option<String>,
    /// Who knows that it fires, exactly.
    #[serde(default)]
    pub told: Option<Vec<String>>,
    /// How many messages there were since the begin, about whatever.
    #[serde(default)]
    pub messages: Option<usize>,
}
