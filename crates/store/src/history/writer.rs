//! Writes the history; there is one writer.

use std::collections::BTreeMap;
use std::time::Duration;

use pawang_core::{Evaluation, Facts, Timestamp};

use crate::Error;
use crate::state::State;

/// The one connection that writes.
pub struct Writer {
    state: State,
}

/// How long each resolution is kept, and in how much space.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Every sample.
    pub raw: Duration,
    /// One-minute values.
    pub minute: Duration,
    /// Ten-minute values.
    pub ten_minutes: Duration,
    /// Most bytes of the whole history; the oldest goes first.
    pub bytes: u64,
}

/// What one bounded piece of tending did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tended {
    /// Hours sealed, days compacted, rollups written, chunks dropped.
    pub steps: usize,
    /// Whether more is left to do.
    pub more: bool,
}

impl Writer {
    pub(crate) fn new(
        _connection: rusqlite::Connection,
        _path: std::path::PathBuf,
        state: State,
    ) -> Result<Writer, Error> {
        Ok(Writer { state })
    }

    /// Adds what one round saw; nothing is durable before [`Writer::commit`].
    pub fn append(&mut self, _facts: &Facts) -> Result<(), Error> {
        Ok(())
    }

    /// Opens, updates and closes findings; returns since when each open one is open, by fingerprint.
    pub fn judge(&mut self, evaluation: &Evaluation) -> Result<BTreeMap<String, Timestamp>, Error> {
        self.state.judge(evaluation)
    }

    /// Keeps the normalised text of a statement once.
    pub fn text(&mut self, queryid: i64, text: &str, now: Timestamp) -> Result<(), Error> {
        self.state.put_texts(&[(queryid, text.to_owned())], now)
    }

    /// Makes everything added so far durable.
    pub fn commit(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Seals, compacts, rolls up and drops what is due, a bounded piece at a time.
    pub fn tend(&mut self, _retention: &Retention, _now: Timestamp) -> Result<Tended, Error> {
        Ok(Tended::default())
    }
}
