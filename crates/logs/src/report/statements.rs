//! The parts of the report about statements: durations, errors, temporary files, plans.

use std::collections::BTreeMap;

use pawang_core::Level;
use serde::{Deserialize, Serialize};

use super::{Series, Top};
use crate::severity::Severity;

/// An error by SQLSTATE and normalised text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorText {
    /// Its kind.
    pub kind: String,
    /// The worst severity that it came with.
    pub severity: Severity,
    /// SQLSTATE; empty when the log does not say.
    pub sqlstate: String,
    /// The message with numbers and quoted names as `?`.
    pub text: String,
    /// How often.
    pub count: u64,
    /// When it came first.
    pub first_at: Option<i64>,
    /// When it came last.
    pub last_at: Option<i64>,
    /// How often by database.
    pub databases: BTreeMap<String, u64>,
    /// How often by role.
    pub users: BTreeMap<String, u64>,
    /// The message of the earliest record, redacted.
    pub sample: String,
    /// Its statement, normalised.
    pub statement: String,
    /// Its DETAIL and HINT, redacted.
    pub detail: String,
}

/// Statements with a duration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Statements {
    /// All durations that belong to a statement, counted once each.
    pub all: Durations,
    /// By phase of the protocol: `simple`, `parse`, `bind`, `execute`, `fetch`, `fastpath`.
    pub phases: BTreeMap<String, Durations>,
    /// Shapes by their total time.
    pub by_time: Top<Shape>,
    /// Shapes by their slowest execution.
    pub by_max: Vec<Shape>,
    /// Shapes by how often they ran.
    pub by_count: Vec<Shape>,
    /// Shapes by their mean time.
    pub by_mean: Vec<Shape>,
    /// The slowest single executions.
    pub slowest: Vec<Slow>,
    /// By role.
    pub users: BTreeMap<String, Durations>,
    /// By database.
    pub databases: BTreeMap<String, Durations>,
    /// By application.
    pub applications: BTreeMap<String, Durations>,
    /// By client host.
    pub hosts: BTreeMap<String, Durations>,
    /// By hour of the day, 0 to 23, UTC.
    pub hours: BTreeMap<u8, Durations>,
    /// By first word: `select`, `insert`, `update`, `copy`, ...
    pub verbs: BTreeMap<String, Durations>,
    /// Executions per bucket of time.
    pub series: Series,
    /// Their microseconds per bucket of time.
    pub time_series: Series,
    /// Statements logged without a duration (`log_statement` alone).
    pub without_duration: u64,
    /// Statements cancelled by `statement_timeout`, by shape.
    pub timed_out: Top<Counted>,
    /// Statements cancelled by a person or a program, by shape.
    pub cancelled: Top<Counted>,
}

/// Many durations, in microseconds.
///
/// `count`, `total` and `max` are exact; the percentiles come from a histogram and are at most 3.2 % too high, never too low.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Durations {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub total: u64,
    /// The longest.
    pub max: u64,
    /// Half are at most this.
    pub p50: u64,
    /// 95 of 100 are at most this.
    pub p95: u64,
    /// 99 of 100 are at most this.
    pub p99: u64,
}

/// A statement without its constants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shape {
    /// 16 hexadecimal digits that mean this text, in every run.
    pub id: String,
    /// The normalised text.
    pub text: String,
    /// Its first word.
    pub verb: String,
    /// Its durations.
    pub durations: Durations,
    /// When it ran first.
    pub first_at: Option<i64>,
    /// When it ran last.
    pub last_at: Option<i64>,
    /// Executions by role.
    pub users: BTreeMap<String, u64>,
    /// Executions by database.
    pub databases: BTreeMap<String, u64>,
    /// Executions by application.
    pub applications: BTreeMap<String, u64>,
    /// Executions by hour of the day.
    pub hours: BTreeMap<u8, u64>,
    /// Bytes of temporary files that it wrote.
    pub temp_bytes: u64,
    /// Tags of a trailing sqlcommenter comment of the slowest execution.
    pub tags: BTreeMap<String, String>,
    /// The slowest execution.
    pub slowest: Option<Slow>,
}

/// One execution.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slow {
    /// When it ended.
    pub at: Option<i64>,
    /// How long it took.
    pub duration: u64,
    /// Role.
    pub user: String,
    /// Database.
    pub database: String,
    /// Application.
    pub application: String,
    /// Host.
    pub host: String,
    /// The text: as it ran when the caller asked for constants, else normalised.
    pub text: String,
    /// Parameters of DETAIL, only when the caller asked for constants.
    pub parameters: String,
}

/// A shape and how often something happened to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counted {
    /// Id of the shape; empty where the log has no statement.
    pub id: String,
    /// The normalised text.
    pub text: String,
    /// How often.
    pub count: u64,
    /// A sum that goes with it: bytes of files, microseconds of waiting.
    pub total: u64,
    /// The largest of them.
    pub max: u64,
    /// When it came last.
    pub last_at: Option<i64>,
}

/// Temporary files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TempFiles {
    /// How many.
    pub count: u64,
    /// Bytes in all.
    pub bytes: u64,
    /// The largest.
    pub max: u64,
    /// By shape, most bytes first.
    pub statements: Top<Counted>,
    /// Bytes per bucket of time.
    pub series: Series,
}

/// Plans of auto_explain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plans {
    /// How many.
    pub count: u64,
    /// How many could not be read.
    pub unread: u64,
    /// By shape and plan, most time first.
    pub plans: Top<PlanShape>,
}

/// A shape with one plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanShape {
    /// Id of the statement's shape.
    pub shape: String,
    /// The statement, normalised.
    pub text: String,
    /// 16 hexadecimal digits of node types, join order and indexes, without costs.
    pub plan: String,
    /// How often.
    pub count: u64,
    /// Time in all.
    pub total: u64,
    /// The longest.
    pub max: u64,
    /// The plan of the longest, as text, constants masked.
    pub sample: String,
    /// What the plan reader says about it.
    pub findings: Vec<PlanFinding>,
}

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanFinding {
    /// Kebab-case name of the rule.
    pub rule: String,
    /// How much it matters.
    pub level: Level,
    /// The node, such as `Seq Scan on orders`.
    pub node: String,
    /// What is wrong, with its numbers.
    pub title: String,
    /// What to do.
    pub remedy: String,
}
