//! Checkpoints and restartpoints.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::report;

/// Checkpoints and restartpoints.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Checkpoints {}

impl Checkpoints {
    /// Adds one record.
    pub(crate) fn take(&mut self, _event: &Event<'_>) {}

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, _later: Checkpoints) {}

    /// Returns its part of the report.
    pub(crate) fn report(&self) -> report::Checkpoints {
        report::Checkpoints::default()
    }
}
