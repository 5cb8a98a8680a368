//! pgaudit.

use serde::{Deserialize, Serialize};

use super::{Event, Options};
use crate::report;

/// pgaudit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Audit {}

impl Audit {
    /// Adds one record.
    pub(crate) fn take(&mut self, _event: &Event<'_>) {}

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, _later: Audit) {}

    /// Returns its part of the report.
    pub(crate) fn report(&self, _options: &Options) -> report::Audit {
        report::Audit::default()
    }
}
