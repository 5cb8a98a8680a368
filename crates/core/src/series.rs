//! Values over time: what the history answers and what charts draw.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::ColumnKind;

/// A stretch of time, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Its first instant.
    pub from: Timestamp,
    /// Its last instant.
    pub to: Timestamp,
}

/// One row (or sum of rows) and column over time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// The database, for collectors that are read in each.
    pub database: Option<String>,
    /// The labels that tell it apart from the other series of the answer.
    pub labels: Vec<String>,
    /// The column.
    pub column: String,
    /// What the column means; the readings of a counter are per second.
    pub kind: ColumnKind,
    /// The column's unit.
    pub unit: Option<String>,
    /// Time from one point to the next.
    pub step: Duration,
    /// One point per step, oldest first.
    pub points: Vec<Point>,
}

/// One step of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The end of the step, which belongs to it; that of the span for the last one.
    pub at: Timestamp,
    /// What was seen; `None` is a gap: nothing was seen, or the counter was reset.
    pub reading: Option<Reading>,
}

/// The values of one step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reading {
    /// Mean of a gauge, or growth per second of a counter.
    pub mean: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}
