//! Lock waits, who caused them, and deadlocks.

use serde::{Deserialize, Serialize};

use super::{Event, Options, Shapes};
use crate::report;

/// Lock waits, who caused them, and deadlocks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Locks {}

impl Locks {
    /// Adds one record.
    pub(crate) fn take(&mut self, _event: &Event<'_>) {}

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, _later: Locks) {}

    /// Joins what belongs together, in order.
    pub(crate) fn settle(&mut self) {}

    /// Returns its part of the report.
    pub(crate) fn report(&self, _shapes: &Shapes, _options: &Options) -> report::Locks {
        report::Locks::default()
    }
}
