//! Findings over time: since when, until when, how often.

use pawang_core::{Finding, Level, Timestamp};
use serde::Serialize;

/// Which findings are meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct FindingQuery<'a> {
    /// Only of this instance.
    pub instance: Option<&'a str>,
    /// Only this one, all its times.
    pub fingerprint: Option<&'a str>,
    /// Only those that were open at this time.
    pub open_at: Option<Timestamp>,
    /// Only those that were opened or closed since.
    pub since: Option<Timestamp>,
    /// Only those older than this record.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// One time that a finding was open.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FindingRecord {
    /// Grows with every record.
    pub id: i64,
    /// The instance.
    pub instance: String,
    /// When it was first seen.
    pub opened_at: Timestamp,
    /// When it was first seen to be over.
    pub closed_at: Option<Timestamp>,
    /// The worst level that it had.
    pub worst: Level,
    /// The finding as it was seen last.
    pub finding: Finding,
}
