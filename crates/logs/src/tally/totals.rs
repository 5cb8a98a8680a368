//! Records by severity and time.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::report;

/// Records by severity and time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Totals {}

impl Totals {
    /// Adds one record.
    pub(crate) fn take(&mut self, _event: &Event<'_>) {}

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, _later: Totals) {}

    /// Returns its part of the report.
    pub(crate) fn report(&self) -> report::Totals {
        report::Totals::default()
    }
}
