//! What is wrong with the log itself: forged lines, raw lines, holes.

use serde::{Deserialize, Serialize};

use super::{Event, Options};
use crate::report;

/// What is wrong with the log itself: forged lines, raw lines, holes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Integrity {}

impl Integrity {
    /// Adds one record.
    pub(crate) fn take(&mut self, _event: &Event<'_>) {}

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, _later: Integrity) {}

    /// Adds what is no record.
    pub(crate) fn take_odd(&mut self, _odd: &crate::record::Odd<'_>) {}

    /// Joins what belongs together, in order.
    pub(crate) fn settle(&mut self) {}

    /// Returns its part of the report.
    pub(crate) fn report(&self, _options: &Options) -> report::Integrity {
        report::Integrity::default()
    }
}
