//! Seals, compacts, rolls up and drops, a bounded piece at a time.

use std::collections::BTreeMap;

use pawang_core::Timestamp;

use super::{Retention, Tended, Writer};
use crate::Error;

/// What is left to do.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// The oldest hour of which each stream has hot frames.
    hot: BTreeMap<i64, i64>,
}

impl Agenda {
    /// Notes that a stream has frames in an hour.
    pub(super) fn written(&mut self, stream: i64, hour: i64) {
        let oldest = self.hot.entry(stream).or_insert(hour);
        *oldest = hour.min(*oldest);
    }
}

impl Writer {
    /// Seals, compacts, rolls up and drops what is due, a bounded piece at a time.
    ///
    /// # Errors
    /// The disk refuses; what was there before is still there.
    pub fn tend(&mut self, _retention: &Retention, _now: Timestamp) -> Result<Tended, Error> {
        Ok(Tended::default())
    }
}
