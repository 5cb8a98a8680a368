//! PgBouncer's log.

use serde::{Deserialize, Serialize};

use super::{Event, Options};
use crate::report;

/// PgBouncer's log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PgBouncer {}

impl PgBouncer {
    /// Adds one record.
    pub(crate) fn take(&mut self, _event: &Event<'_>) {}

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, _later: PgBouncer) {}

    /// Returns its part of the report.
    pub(crate) fn report(&self, _options: &Options) -> report::PgBouncer {
        report::PgBouncer::default()
    }
}
