//! Vacuum and analyze by autovacuum.

use serde::{Deserialize, Serialize};

use super::{Event, Options};
use crate::report;

/// Vacuum and analyze by autovacuum.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Vacuums {}

impl Vacuums {
    /// Adds one record.
    pub(crate) fn take(&mut self, _event: &Event<'_>) {}

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, _later: Vacuums) {}

    /// Returns its part of the report.
    pub(crate) fn report(&self, _options: &Options) -> report::Vacuums {
        report::Vacuums::default()
    }
}
