//! Logins, sessions and refusals.

use serde::{Deserialize, Serialize};

use super::{Event, Options};
use crate::report;

/// Logins, sessions and refusals.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sessions {}

impl Sessions {
    /// Adds one record.
    pub(crate) fn take(&mut self, _event: &Event<'_>) {}

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, _later: Sessions) {}

    /// Joins what belongs together, in order.
    pub(crate) fn settle(&mut self) {}

    /// Returns its part of the report.
    pub(crate) fn report(&self, _options: &Options) -> report::Sessions {
        report::Sessions::default()
    }
}
