//! Temporary files by statement.

use serde::{Deserialize, Serialize};

use super::{Event, Options, Shapes};
use crate::report;

/// Temporary files by statement.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TempFiles {}

impl TempFiles {
    /// Adds one record.
    pub(crate) fn take(&mut self, _event: &Event<'_>) {}

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, _later: TempFiles) {}

    /// Returns its part of the report.
    pub(crate) fn report(&self, _shapes: &Shapes, _options: &Options) -> report::TempFiles {
        report::TempFiles::default()
    }
}
