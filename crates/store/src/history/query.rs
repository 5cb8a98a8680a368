//! What is asked of the history, and what it answers.

use std::time::Duration;

use pawang_core::{Span, Timestamp, Value};
use serde::Serialize;

/// Most series of one answer; the first ones by database and labels are given.
pub const SERIES_MAX: usize = 2_000;
/// Most points of one series; a shorter step is doubled until they suffice.
pub const POINTS_MAX: usize = 10_000;
/// Most points of one answer; series beyond it are left out, the last ones by database and labels.
pub const STEPS_MAX: usize = 1_000_000;
/// Most rows of one answer about growth.
pub const GROWTH_ROWS_MAX: usize = 50_000;

/// Which rows of a collector are meant.
#[derive(Clone, Copy, Debug, Default)]
pub enum Rows<'a> {
    /// Every row.
    #[default]
    All,
    /// The rows with these labels, all label columns in their order.
    Only(&'a [Vec<String>]),
}

/// Whether rows are told apart.
#[derive(Clone, Copy, Debug, Default)]
pub enum Fold<'a> {
    /// One series per row.
    #[default]
    Each,
    /// One series per combination of these label columns, the sum of its rows; none of them is the sum of all rows.
    ///
    /// Without a database in the query, databases are summed too. Rows that were not seen do not make a gap unless all
    /// were not. Where samples are gone, `min` and `max` are the sums of those of the rows: bounds, not instants.
    SumBy(&'a [&'a str]),
}

/// Asks for values over time.
#[derive(Clone, Copy, Debug)]
pub struct SeriesQuery<'a> {
    /// The instance.
    pub instance: &'a str,
    /// The collector.
    pub collector: &'a str,
    /// The database it was read in; `None` means all of them and the server as a whole.
    pub database: Option<&'a str>,
    /// Columns of kind counter or gauge; counters are answered as growth per second.
    pub columns: &'a [&'a str],
    /// Which rows.
    pub rows: Rows<'a>,
    /// Whether rows are told apart.
    pub fold: Fold<'a>,
    /// From when to when.
    pub span: Span,
    /// One point per so much time; `None` means the resolution that is stored.
    ///
    /// The coarsest resolution that satisfies it answers, another where that one does not exist (any more): samples, one
    /// minute, ten minutes. Steps are aligned to 1970. A gap is longer than three usual intervals.
    pub step: Option<Duration>,
}

/// Asks how much counters grew, and where gauges ended.
#[derive(Clone, Copy, Debug)]
pub struct GrowthQuery<'a> {
    /// The instance.
    pub instance: &'a str,
    /// The collector.
    pub collector: &'a str,
    /// The database it was read in; `None` means all of them and the server as a whole.
    pub database: Option<&'a str>,
    /// Columns of kind counter or gauge.
    pub columns: &'a [&'a str],
    /// From when to when.
    pub span: Span,
}

/// What became of one row over a span.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Growth {
    /// The database, for collectors that are read in each.
    pub database: Option<String>,
    /// The labels of the row.
    pub labels: Vec<String>,
    /// Per column: the sum of all growth within epochs, never across one and never negative; for a gauge, last minus first.
    pub growth: Vec<Option<f64>>,
    /// Per column: the last value; of a float counter `None` where only rollups are left.
    pub last: Vec<Option<f64>>,
    /// How many seconds of the span were seen in a way that growth could be told.
    pub seconds: f64,
}

/// A label or info column that changed, or a row that came or went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// When the change was first seen.
    pub at: Timestamp,
    /// The database, for collectors that are read in each.
    pub database: Option<String>,
    /// The labels of the row.
    pub labels: Vec<String>,
    /// The column; `None` when the whole row came (`before` is `None`, `after` true) or went (`before` true, `after` `None`).
    pub column: Option<String>,
    /// What it was.
    pub before: Option<Value>,
    /// What it is.
    pub after: Option<Value>,
}
