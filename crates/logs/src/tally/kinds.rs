//! Records by kind, and those that no rule knows.

use serde::{Deserialize, Serialize};

use super::{Event, Options};
use crate::report;

/// Records by kind, and those that no rule knows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kinds {}

impl Kinds {
    /// Adds one record.
    pub(crate) fn take(&mut self, _event: &Event<'_>) {}

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, _later: Kinds) {}

    /// Returns the kinds, most severe and most frequent first.
    pub(crate) fn report(&self) -> Vec<report::KindCount> {
        Vec::new()
    }

    /// Returns the texts that no rule knows.
    pub(crate) fn unclassified(&self, _options: &Options) -> report::Top<report::Text> {
        report::Top::default()
    }
}
