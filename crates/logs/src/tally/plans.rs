//! Plans of auto_explain.

use serde::{Deserialize, Serialize};

use super::{Event, Options, Shapes};
use crate::report;

/// Plans of auto_explain.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Plans {}

impl Plans {
    /// Adds one record.
    pub(crate) fn take(&mut self, _event: &Event<'_>) {}

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, _later: Plans) {}

    /// Returns its part of the report.
    pub(crate) fn report(&self, _shapes: &Shapes, _options: &Options) -> report::Plans {
        report::Plans::default()
    }
}
