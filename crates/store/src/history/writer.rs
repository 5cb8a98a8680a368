//! Writes the history; there is one writer.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pawang_core::{Blind, DownFacts, Evaluation, Facts, Instance, Server, Snapshot, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::encode::{Packer, split};
use super::frame::{self, Encoded, Shared};
use super::shelf::{Shelf, Stream};
use crate::Error;
use crate::state::State;

/// A stretch of hot frames ends with its hour.
pub(super) const HOUR: i64 = 3_600_000_000;
/// Without a sample for so many usual intervals there is a gap.
const GAP_INTERVALS: i64 = 3;
/// How many of the last intervals tell what is usual.
const INTERVALS: usize = 3;
/// Longest time between two samples that is no gap when nothing is known of what is usual.
const FIRST_INTERVAL_MAX: i64 = 3 * HOUR;
/// Compression of frames, which live for an hour.
const FRAME_LEVEL: i32 = 1;
/// What files and processes tell of a server that is down is kept at most once in so much time.
const DOWN_EVERY: i64 = 60_000_000;

/// The one connection that writes.
///
/// After an error, everything since the last [`Writer::commit`] is gone and must be added again.
pub struct Writer {
    pub(super) shelf: Shelf,
    state: State,
    pub(super) streams: HashMap<String, BTreeMap<Option<String>, HashMap<String, Known>>>,
    servers: HashMap<String, (i64, ServerFacts)>,
    packer: Packer,
    pub(super) open: bool,
    pub(super) tending: super::tend::Agenda,
}

/// What the writer knows of a stream.
pub(super) struct Known {
    stream: Stream,
    /// The newest snapshot, shared with whoever else shows it.
    last: Option<Arc<Snapshot>>,
    shared: Shared,
    /// The hour of the stretch that is being written; `None` when the next frame begins one.
    hour: Option<i64>,
    next_sequence: i64,
    /// The last times between samples, in microseconds.
    intervals: VecDeque<i64>,
}

impl Known {
    /// Says whether its newest snapshot is younger than an instant.
    pub(super) fn seen_since(&self, at: i64) -> bool {
        let last = self.last.as_ref();
        last.is_some_and(|last| split(last.at).0 > at)
    }
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
    /// Whether the disk refused: trying again at once would be no use.
    pub refused: bool,
}

/// What facts say besides snapshots; kept when it changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ServerFacts {
    pub(super) instance: Instance,
    pub(super) server: Result<Server, Blind>,
    pub(super) databases: Vec<String>,
    pub(super) down: Option<Box<DownFacts>>,
}

impl Writer {
    pub(crate) fn new(
        connection: Connection,
        path: PathBuf,
        state: State,
    ) -> Result<Writer, Error> {
        connection.set_prepared_statement_cache_capacity(64);
        Ok(Writer {
            shelf: Shelf::new(connection, path),
            state,
            streams: HashMap::new(),
            servers: HashMap::new(),
            packer: Packer::new(FRAME_LEVEL),
            open: false,
            tending: super::tend::Agenda::default(),
        })
    }

    /// Adds what one round saw; nothing is durable before [`Writer::commit`].
    ///
    /// A snapshot with the same time as the newest of its collector is the same one and is left out. One that is older
    /// (the clock was set back) begins a new stretch at its own time; nothing is compared across.
    ///
    /// # Errors
    /// The disk refuses; everything since the last commit is gone then, and must be added again.
    pub fn append(&mut self, facts: &Facts) -> Result<(), Error> {
        let added = self.try_append(facts);
        if added.is_err() {
            self.forget();
        }
        added
    }

    /// Opens, updates and closes findings; returns since when each open one is open, by fingerprint.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn judge(&mut self, evaluation: &Evaluation) -> Result<BTreeMap<String, Timestamp>, Error> {
        self.state.judge(evaluation)
    }

    /// Keeps the normalised text of a statement once.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn text(&mut self, queryid: i64, text: &str, now: Timestamp) -> Result<(), Error> {
        self.state.put_texts(&[(queryid, text.to_owned())], now)
    }

    /// Makes everything added so far durable.
    ///
    /// # Errors
    /// The disk refuses; everything since the last commit is gone then, and must be added again.
    pub fn commit(&mut self) -> Result<(), Error> {
        if !self.open {
            return Ok(());
        }
        let committed = self.shelf.connection.execute_batch("COMMIT");
        if let Err(error) = committed {
            self.forget();
            return Err(self.shelf.sql(error));
        }
        self.open = false;
        Ok(())
    }

    /// Gives up everything that was not committed, and what is known of streams with it.
    pub(super) fn forget(&mut self) {
        if !self.shelf.connection.is_autocommit() {
            // Nothing is left to tell: the error that led here is on its way, and a next transaction would say it again.
            let _gone = self.shelf.connection.execute_batch("ROLLBACK");
        }
        self.open = false;
        self.streams.clear();
        self.servers.clear();
    }

    pub(super) fn begin(&mut self) -> Result<(), Error> {
        if !self.open {
            let begun = self.shelf.connection.execute_batch("BEGIN IMMEDIATE");
            begun.map_err(|error| self.shelf.sql(error))?;
            self.open = true;
        }
        Ok(())
    }

    fn try_append(&mut self, facts: &Facts) -> Result<(), Error> {
        self.begin()?;
        self.append_server(facts)?;
        for sighting in &facts.sightings {
            if let Ok(snapshot) = &sighting.seen {
                self.append_snapshot(&facts.instance.name, snapshot)?;
            }
        }
        Ok(())
    }

    fn append_server(&mut self, facts: &Facts) -> Result<(), Error> {
        let name = &facts.instance.name;
        let (at, _) = split(facts.at);
        let mut new = ServerFacts {
            instance: facts.instance.clone(),
            server: facts.server.clone(),
            databases: facts.databases.clone(),
            down: facts.down.clone(),
        };
        if let Some((since, old)) = self.servers.get(name) {
            let fresh = at.saturating_sub(*since) < DOWN_EVERY && at >= *since;
            if fresh && old.down.is_some() && new.down.is_some() {
                new.down.clone_from(&old.down);
            }
            if *old == new {
                return Ok(());
            }
        }
        let text = serde_json::to_vec(&new).expect("facts are plain data");
        let blob = self.packer.pack(&text);
        self.shelf
            .connection
            .prepare_cached(
                "INSERT OR REPLACE INTO server (instance, at, facts) VALUES (?1, ?2, ?3)",
            )
            .and_then(|mut insert| insert.execute(params![name, at, blob]))
            .map_err(|error| self.shelf.sql(error))?;
        self.servers.insert(name.clone(), (at, new));
        Ok(())
    }

    fn append_snapshot(&mut self, instance: &str, snapshot: &Arc<Snapshot>) -> Result<(), Error> {
        self.know(instance, snapshot)?;
        let known = self
            .streams
            .get_mut(instance)
            .and_then(|targets| targets.get_mut(&snapshot.database))
            .and_then(|streams| streams.get_mut(&snapshot.collector))
            .expect("the stream was just made known");
        let (at, _) = split(snapshot.at);
        // A time is a time in whatever hour: what is exactly on the hour is the last of the one before.
        let hour = (at - 1).div_euclid(HOUR);
        let mut frames: Vec<(i64, Encoded)> = Vec::new();
        let layout = &known.stream.collector.layout;
        let shared = match &known.last {
            Some(last) if last.at == snapshot.at => return Ok(()),
            Some(last) if last.at < snapshot.at => {
                let (last_at, _) = split(last.at);
                let joined = joins(&mut known.intervals, last, snapshot);
                if known.hour != Some(hour) {
                    frames.push((last_at, frame::whole(layout, last, true)));
                }
                let (encoded, shared) =
                    frame::difference(layout, snapshot, last, &known.shared, joined);
                frames.push((at, encoded));
                shared
            }
            _ => {
                frames.push((at, frame::whole(layout, snapshot, false)));
                frame::shared_rows(layout, snapshot)
            }
        };
        let mut insert = self
            .shelf
            .connection
            .prepare_cached(
                "INSERT INTO hot (stream, sequence, at, flags, changes, frame)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .map_err(|error| self.shelf.sql(error))?;
        for (at, encoded) in frames {
            let Encoded {
                flags,
                body,
                changes,
            } = encoded;
            let blob = self.packer.pack(&body);
            let sequence = known.next_sequence;
            insert
                .execute(params![
                    known.stream.id,
                    sequence,
                    at,
                    flags,
                    changes as i64,
                    blob
                ])
                .map_err(|error| self.shelf.sql(error))?;
            known.next_sequence += 1;
        }
        known.hour = Some(hour);
        known.shared = shared;
        known.last = Some(Arc::clone(snapshot));
        self.tending.written(known.stream.id, hour);
        Ok(())
    }

    /// Makes the stream of a snapshot known, in the file and in memory.
    fn know(&mut self, instance: &str, snapshot: &Snapshot) -> Result<(), Error> {
        let known = self
            .streams
            .get(instance)
            .and_then(|targets| targets.get(&snapshot.database))
            .and_then(|streams| streams.get(&snapshot.collector));
        let same = known.is_some_and(|known| {
            let columns = &known.stream.collector.columns;
            Arc::ptr_eq(columns, &snapshot.columns)
                || known
                    .last
                    .as_ref()
                    .is_some_and(|last| Arc::ptr_eq(&last.columns, &snapshot.columns))
                || *columns == snapshot.columns
        });
        if same {
            return Ok(());
        }
        let stream = self.find_or_make(instance, snapshot)?;
        let last = match self.shelf.newest(&stream) {
            // One sample that cannot be read must not cost the history of all instances.
            Err(Error::Damaged { what, .. }) => {
                tracing::warn!(stream = stream.id, what, "the newest sample is torn");
                None
            }
            found => found?,
        };
        let known = Known::of(&self.shelf, stream, last)?;
        self.streams
            .entry(instance.to_owned())
            .or_default()
            .entry(snapshot.database.clone())
            .or_default()
            .insert(snapshot.collector.clone(), known);
        Ok(())
    }

    fn find_or_make(&self, instance: &str, snapshot: &Snapshot) -> Result<Stream, Error> {
        let columns = serde_json::to_string(&snapshot.columns).expect("columns are plain data");
        let make = || -> rusqlite::Result<(i64, i64)> {
            let target = self.id(
                "SELECT id FROM target WHERE instance = ?1 AND database IS ?2",
                "INSERT INTO target (instance, database) VALUES (?1, ?2)",
                params![instance, snapshot.database],
            )?;
            let collector = self.id(
                "SELECT id FROM collector WHERE name = ?1 AND columns = ?2",
                "INSERT INTO collector (name, columns) VALUES (?1, ?2)",
                params![snapshot.collector, columns],
            )?;
            let stream = self.id(
                "SELECT id FROM stream WHERE target = ?1 AND collector = ?2",
                "INSERT INTO stream (target, collector) VALUES (?1, ?2)",
                params![target, collector],
            )?;
            Ok((stream, collector))
        };
        let (id, collector) = make().map_err(|error| self.shelf.sql(error))?;
        Ok(Stream {
            id,
            database: snapshot.database.clone(),
            collector: self.shelf.collector(collector)?,
        })
    }

    fn id(&self, find: &str, make: &str, values: &[&dyn rusqlite::ToSql]) -> rusqlite::Result<i64> {
        let connection = &self.shelf.connection;
        let found = connection
            .prepare_cached(find)?
            .query_row(values, |row| row.get(0))
            .optional()?;
        match found {
            Some(id) => Ok(id),
            None => {
                connection.prepare_cached(make)?.execute(values)?;
                Ok(connection.last_insert_rowid())
            }
        }
    }

    /// Returns the streams that frames may be added to.
    pub(super) fn known_streams(&self) -> BTreeSet<i64> {
        let targets = self.streams.values().flat_map(BTreeMap::values);
        let known = targets.flat_map(HashMap::values);
        known.map(|known| known.stream.id).collect()
    }

    /// Ends the stretches of a stream: its next frame is whole.
    pub(super) fn end_stretch(&mut self, stream: i64) {
        let targets = self.streams.values_mut().flat_map(BTreeMap::values_mut);
        for known in targets.flat_map(HashMap::values_mut) {
            if known.stream.id == stream {
                known.hour = None;
            }
        }
    }
}

impl Known {
    fn of(shelf: &Shelf, stream: Stream, last: Option<Snapshot>) -> Result<Known, Error> {
        let hot = || -> rusqlite::Result<Vec<(i64, i64)>> {
            let mut statement = shelf.connection.prepare_cached(
                "SELECT sequence, at FROM hot WHERE stream = ?1 ORDER BY sequence DESC LIMIT ?2",
            )?;
            let limit = INTERVALS as i64 + 1;
            let rows = statement.query_map(params![stream.id, limit], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
            rows.collect()
        };
        let hot = hot().map_err(|error| shelf.sql(error))?;
        let newer_to_older = hot.windows(2).rev();
        let intervals = newer_to_older.map(|pair| pair[0].1 - pair[1].1);
        let last = last.map(Arc::new);
        let layout = &stream.collector.layout;
        Ok(Known {
            shared: last
                .as_ref()
                .map_or_else(Shared::new, |last| frame::shared_rows(layout, last)),
            hour: None,
            // Sealed frames are gone, but their numbers may be used again: a stretch is known by its frames in the table.
            next_sequence: hot.first().map_or(1, |(sequence, _)| sequence + 1),
            intervals: intervals.filter(|interval| *interval > 0).collect(),
            stream,
            last,
        })
    }
}

/// Returns whether counters of a snapshot may be compared with the one before: one epoch, and no gap.
fn joins(intervals: &mut VecDeque<i64>, old: &Snapshot, new: &Snapshot) -> bool {
    let interval = split(new.at).0.saturating_sub(split(old.at).0);
    if interval <= 0 {
        return false;
    }
    let mut usual: Vec<i64> = intervals.iter().copied().collect();
    usual.sort_unstable();
    let most = match usual.get(usual.len() / 2) {
        Some(usual) => usual.saturating_mul(GAP_INTERVALS),
        None => FIRST_INTERVAL_MAX,
    };
    if intervals.len() == INTERVALS {
        intervals.pop_front();
    }
    intervals.push_back(interval);
    interval <= most && old.epoch == new.epoch
}
