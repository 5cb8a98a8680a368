//! Reads the history; any number of readers beside the one writer.

use pawang_core::{Facts, Snapshot, Timestamp};

use super::{Change, Growth, GrowthQuery, Series, SeriesQuery, Span};
use crate::Error;
use crate::state::{FindingQuery, FindingRecord, State};

/// One connection that only reads.
pub struct Reader {
    state: State,
}

impl Reader {
    pub(crate) fn new(
        _connection: rusqlite::Connection,
        _path: std::path::PathBuf,
        state: State,
    ) -> Result<Reader, Error> {
        Ok(Reader { state })
    }

    /// Returns the names of all instances that there is history of.
    pub fn instances(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    /// Returns the time of the oldest and the newest snapshot of an instance.
    pub fn extent(&self, _instance: &str) -> Result<Option<Span>, Error> {
        Ok(None)
    }

    /// Returns values over time.
    pub fn series(&self, _query: &SeriesQuery<'_>) -> Result<Vec<Series>, Error> {
        Ok(Vec::new())
    }

    /// Returns how much the counters of every row grew and where its gauges ended.
    pub fn growth(&self, _query: &GrowthQuery<'_>) -> Result<Vec<Growth>, Error> {
        Ok(Vec::new())
    }

    /// Returns the newest snapshot of a collector at or before `at`, one per database, none older than ten intervals.
    pub fn snapshots_at(
        &self,
        _instance: &str,
        _collector: &str,
        _at: Timestamp,
    ) -> Result<Vec<Snapshot>, Error> {
        Ok(Vec::new())
    }

    /// Returns what was known of an instance at one time, from the newest snapshots at or before it.
    pub fn facts_at(&self, _instance: &str, _at: Timestamp) -> Result<Option<Facts>, Error> {
        Ok(None)
    }

    /// Returns every change of a label or info column, oldest first, at most `limit`.
    pub fn changes(
        &self,
        _instance: &str,
        _collector: &str,
        _span: Span,
        _limit: usize,
    ) -> Result<Vec<Change>, Error> {
        Ok(Vec::new())
    }

    /// Returns the normalised text of a statement.
    pub fn text(&self, queryid: i64) -> Result<Option<String>, Error> {
        self.state.text(queryid)
    }

    /// Returns findings, newest first.
    pub fn findings(&self, query: &FindingQuery<'_>) -> Result<Vec<FindingRecord>, Error> {
        self.state.findings(query)
    }
}
