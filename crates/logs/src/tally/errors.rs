//! Errors by SQLSTATE and normalised text.

use serde::{Deserialize, Serialize};

use super::{Event, Options, Shapes};
use crate::report;

/// Errors by SQLSTATE and normalised text.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Errors {}

impl Errors {
    /// Adds one record.
    pub(crate) fn take(&mut self, _event: &Event<'_>) {}

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, _later: Errors) {}

    /// Returns its part of the report.
    pub(crate) fn report(
        &self,
        _shapes: &Shapes,
        _options: &Options,
    ) -> report::Top<report::ErrorText> {
        report::Top::default()
    }
}
