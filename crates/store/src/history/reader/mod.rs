//! Reads the history; any number of readers beside the one writer.

mod change;
mod growth;
mod instant;
mod plan;
mod rollup;
mod series;
mod step;
mod walk;

use std::ops::ControlFlow;
use std::path::PathBuf;

use pawang_core::{Facts, Snapshot, Timestamp};
use rusqlite::Connection;

use super::encode::join;
use super::shelf::{RESOLUTIONS, Shelf};
use super::{Change, Growth, GrowthQuery, Series, SeriesQuery, Span};
use crate::Error;
use crate::state::{FindingQuery, FindingRecord, State};

/// One connection that only reads.
pub struct Reader {
    shelf: Shelf,
    state: State,
}

impl Reader {
    pub(crate) fn new(
        connection: Connection,
        path: PathBuf,
        state: State,
    ) -> Result<Reader, Error> {
        connection.set_prepared_statement_cache_capacity(32);
        Ok(Reader {
            shelf: Shelf::new(connection, path),
            state,
        })
    }

    /// Returns the names of all instances that there is history of.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn instances(&self) -> Result<Vec<String>, Error> {
        let find = || -> rusqlite::Result<Vec<String>> {
            let query = "SELECT DISTINCT instance FROM target ORDER BY instance";
            let mut statement = self.shelf.connection.prepare_cached(query)?;
            let names = statement.query_map([], |row| row.get(0))?;
            names.collect()
        };
        find().map_err(|error| self.shelf.sql(error))
    }

    /// Returns the names of all collectors that there is history of for an instance.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn collectors(&self, instance: &str) -> Result<Vec<String>, Error> {
        let streams = self.shelf.streams(instance, None)?;
        let names = streams
            .into_iter()
            .map(|stream| stream.collector.name.clone());
        let names: std::collections::BTreeSet<String> = names.collect();
        Ok(names.into_iter().collect())
    }

    /// Returns the time of the oldest and the newest snapshot of an instance.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn extent(&self, instance: &str) -> Result<Option<Span>, Error> {
        self.reading(|| {
            let mut extent: Option<(i64, i64)> = None;
            let mut widen = |(from, to): (i64, i64)| {
                let (first, last) = extent.unwrap_or((from, to));
                extent = Some((first.min(from), last.max(to)));
            };
            for stream in self.shelf.streams(instance, None)? {
                for resolution in RESOLUTIONS {
                    self.ends(stream.id, resolution)?.map(&mut widen);
                }
                for stretch in self.shelf.hot(stream.id)? {
                    widen((stretch.first_at, stretch.to_at));
                }
            }
            let Some((from, to)) = extent else {
                return Ok(None);
            };
            let instant = |at| join(at, 0).map_err(|torn| self.shelf.torn(torn));
            Ok(Some(Span {
                from: instant(from)?,
                to: instant(to)?,
            }))
        })
    }

    /// Returns the times of the first and the last sealed sample of a stream at a resolution.
    fn ends(&self, stream: i64, resolution: u32) -> Result<Option<(i64, i64)>, Error> {
        let find = || -> rusqlite::Result<(Option<i64>, Option<i64>)> {
            let first = "SELECT (SELECT first_at FROM segment WHERE stream = ?1 AND resolution = ?2
                                  ORDER BY to_at LIMIT 1),
                                (SELECT to_at FROM segment WHERE stream = ?1 AND resolution = ?2
                                  ORDER BY to_at DESC LIMIT 1)";
            let mut statement = self.shelf.connection.prepare_cached(first)?;
            statement.query_row((stream, resolution), |row| Ok((row.get(0)?, row.get(1)?)))
        };
        let (first, last) = find().map_err(|error| self.shelf.sql(error))?;
        Ok(first.zip(last))
    }

    /// Returns values over time, ordered by database, labels and column of the query.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn series(&self, query: &SeriesQuery<'_>) -> Result<Vec<Series>, Error> {
        self.reading(|| series::series(&self.shelf, query))
    }

    /// Returns how much the counters of every row grew and where its gauges ended.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn growth(&self, query: &GrowthQuery<'_>) -> Result<Vec<Growth>, Error> {
        self.reading(|| growth::growth(&self.shelf, query))
    }

    /// Returns the newest snapshot of a collector at or before `at`, one per database, none older than ten intervals.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn snapshots_at(
        &self,
        instance: &str,
        collector: &str,
        at: Timestamp,
    ) -> Result<Vec<Snapshot>, Error> {
        self.reading(|| {
            let streams = self.shelf.streams(instance, Some(collector))?;
            instant::snapshots(&self.shelf, &streams, at)
        })
    }

    /// Calls `each` with every stored snapshot of a collector within a span, database by database and oldest first,
    /// until it breaks off; a few of them are in memory at a time.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn walk(
        &self,
        instance: &str,
        collector: &str,
        span: Span,
        each: &mut dyn FnMut(Snapshot) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.reading(|| {
            let streams = self.shelf.streams(instance, Some(collector))?;
            walk::walk(&self.shelf, &streams, span, each)
        })
    }

    /// Returns what was known of an instance at one time, from the newest snapshots at or before it.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn facts_at(&self, instance: &str, at: Timestamp) -> Result<Option<Facts>, Error> {
        self.reading(|| instant::facts(&self.shelf, instance, at))
    }

    /// Returns every change of a label or info column, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn changes(
        &self,
        instance: &str,
        collector: &str,
        span: Span,
        limit: usize,
    ) -> Result<Vec<Change>, Error> {
        self.reading(|| {
            let streams = self.shelf.streams(instance, Some(collector))?;
            change::changes(&self.shelf, &streams, span, limit)
        })
    }

    /// Returns the normalised text of a statement.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn text(&self, queryid: i64) -> Result<Option<String>, Error> {
        self.state.text(queryid)
    }

    /// Returns findings, newest first.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn findings(&self, query: &FindingQuery<'_>) -> Result<Vec<FindingRecord>, Error> {
        self.state.findings(query)
    }

    /// Reads in one transaction, so that what is sealed meanwhile is seen once.
    fn reading<T>(&self, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let transaction = self.shelf.connection.unchecked_transaction();
        let transaction = transaction.map_err(|error| self.shelf.sql(error))?;
        let answer = read()?;
        transaction
            .finish()
            .map_err(|error| self.shelf.sql(error))?;
        Ok(answer)
    }
}
