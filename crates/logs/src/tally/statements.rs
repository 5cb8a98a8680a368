//! Durations of statements, by shape and by who ran them.

use serde::{Deserialize, Serialize};

use super::{Event, Options, Shapes};
use crate::report;

/// Durations of statements, by shape and by who ran them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Statements {}

impl Statements {
    /// Adds one record.
    pub(crate) fn take(&mut self, _event: &Event<'_>) {}

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, _later: Statements) {}

    /// Joins what belongs together, in order.
    pub(crate) fn settle(&mut self) {}

    /// Returns its part of the report.
    pub(crate) fn report(&self, _shapes: &Shapes, _options: &Options) -> report::Statements {
        report::Statements::default()
    }
}
