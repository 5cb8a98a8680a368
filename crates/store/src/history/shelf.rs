//! Finds streams and stretches of frames in the history file, and loads them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use pawang_core::{Column, Cost, Snapshot};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::builder::Builder;
use super::encode::{Torn, Unpacker};
use super::frame::{self, Layout, Replay};
use super::segment::{Head, Runs, Segment};
use crate::Error;

/// Resolutions in seconds; 0 is every sample.
pub(super) const RESOLUTIONS: [u32; 3] = [0, 60, 600];
/// Ids of parts are the id of their segment times this, plus their number.
pub(super) const PART_IDS: i64 = 1 << 12;

/// The history file, as reader and writer see it.
pub(super) struct Shelf {
    pub(super) connection: Connection,
    path: PathBuf,
    unpacker: RefCell<Unpacker>,
    collectors: RefCell<HashMap<i64, Arc<Collector>>>,
}

/// One version of a collector's columns.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) name: String,
    pub(super) columns: Arc<[Column]>,
    pub(super) layout: Layout,
}

/// One collector of one target.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) id: i64,
    pub(super) database: Option<String>,
    pub(super) collector: Arc<Collector>,
}

/// Where the frames of a stretch are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    /// A segment.
    Sealed(i64),
    /// Hot frames, from a sequence number to another.
    Hot(i64, i64),
}

/// Frames of one stream that belong together; the first is whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) place: Place,
    /// Seconds; 0 is every sample.
    pub(super) resolution: u32,
    /// The time of the first frame, which may be a lead.
    pub(super) from_at: i64,
    /// The time of the first sample.
    pub(super) first_at: i64,
    pub(super) to_at: i64,
    /// How many labels, rows and info values changed in it.
    pub(super) changes: i64,
}

impl Shelf {
    pub(super) fn new(connection: Connection, path: PathBuf) -> Shelf {
        Shelf {
            connection,
            path,
            unpacker: RefCell::new(Unpacker::new()),
            collectors: RefCell::default(),
        }
    }

    /// Returns the error of an answer of the database.
    pub(super) fn sql(&self, source: rusqlite::Error) -> Error {
        Error::of_database(&self.path, source)
    }

    /// Returns the error of a blob that means nothing.
    pub(super) fn torn(&self, torn: Torn) -> Error {
        Error::Damaged {
            path: self.path.clone(),
            what: torn.to_string(),
        }
    }

    pub(super) fn unpack(&self, blob: &[u8]) -> Result<Vec<u8>, Error> {
        let unpacked = self.unpacker.borrow_mut().unpack(blob);
        unpacked.map_err(|torn| self.torn(torn))
    }

    /// Returns the streams of an instance, of one collector or of all, oldest version first.
    pub(super) fn streams(
        &self,
        instance: &str,
        collector: Option<&str>,
    ) -> Result<Vec<Stream>, Error> {
        let find = || -> rusqlite::Result<Vec<(i64, Option<String>, i64)>> {
            let mut statement = self.connection.prepare_cached(
                "SELECT stream.id, target.database, stream.collector
                   FROM target
                   JOIN stream ON stream.target = target.id
                   JOIN collector ON collector.id = stream.collector
                  WHERE target.instance = ?1 AND (?2 IS NULL OR collector.name = ?2)
                  ORDER BY stream.id",
            )?;
            let rows = statement.query_map(params![instance, collector], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
            rows.collect()
        };
        let found = find().map_err(|error| self.sql(error))?;
        let streams = found.into_iter().map(|(id, database, collector)| {
            Ok(Stream {
                id,
                database,
                collector: self.collector(collector)?,
            })
        });
        streams.collect()
    }

    /// Returns a stream by its id.
    pub(super) fn stream(&self, id: i64) -> Result<Stream, Error> {
        let found: Option<(Option<String>, i64)> = self.first(
            "SELECT target.database, stream.collector
               FROM stream JOIN target ON target.id = stream.target WHERE stream.id = ?1",
            [id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let found = found.ok_or_else(|| self.torn(Torn("frames are of no stream")))?;
        Ok(Stream {
            id,
            database: found.0,
            collector: self.collector(found.1)?,
        })
    }

    /// Returns the ids of all streams.
    pub(super) fn stream_ids(&self) -> Result<Vec<i64>, Error> {
        self.all("SELECT id FROM stream ORDER BY id", [], |row| row.get(0))
    }

    /// Returns the bytes of a stretch of hot frames.
    pub(super) fn hot_bytes(&self, stream: i64, from: i64, to: i64) -> Result<i64, Error> {
        let bytes: Option<Option<i64>> = self.first(
            "SELECT sum(length(frame)) FROM hot WHERE stream = ?1 AND sequence BETWEEN ?2 AND ?3",
            params![stream, from, to],
            |row| row.get(0),
        )?;
        Ok(bytes.flatten().unwrap_or(0))
    }

    /// Returns how many rows the first frame of a stretch has.
    pub(super) fn hot_rows(&self, stream: &Stream, first: i64) -> Result<usize, Error> {
        let collector = &stream.collector;
        let mut replay = Replay::default();
        self.frames(stream.id, first, first, |at, body| {
            let columns = collector.columns.len();
            let applied = replay.apply(&collector.layout, columns, at, body);
            applied.map(|()| true).map_err(|torn| self.torn(torn))
        })?;
        Ok(replay.rows.len())
    }

    /// Removes a segment and its parts.
    pub(super) fn remove_segment(&self, id: i64) -> Result<(), Error> {
        let parts = params![id * PART_IDS, (id + 1) * PART_IDS - 1];
        self.execute("DELETE FROM part WHERE id BETWEEN ?1 AND ?2", parts)?;
        self.execute("DELETE FROM segment WHERE id = ?1", [id])
    }

    /// Runs a statement.
    pub(super) fn execute(&self, statement: &str, values: impl Params) -> Result<(), Error> {
        let prepared = self.connection.prepare_cached(statement);
        let done = prepared.and_then(|mut prepared| prepared.execute(values));
        done.map(drop).map_err(|error| self.sql(error))
    }

    /// Returns every row of a query.
    pub(super) fn all<T>(
        &self,
        query: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let find = || -> rusqlite::Result<Vec<T>> {
            let mut statement = self.connection.prepare_cached(query)?;
            let rows = statement.query_map(values, read)?;
            rows.collect()
        };
        find().map_err(|error| self.sql(error))
    }

    /// Returns the first row of a query.
    pub(super) fn first<T>(
        &self,
        query: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Error> {
        let prepared = self.connection.prepare_cached(query);
        let found = prepared.and_then(|mut prepared| prepared.query_row(values, read).optional());
        found.map_err(|error| self.sql(error))
    }

    /// Returns a number that the database knows of the file.
    pub(super) fn pragma(&self, name: &str) -> Result<i64, Error> {
        let value = self
            .connection
            .pragma_query_value(None, name, |row| row.get(0));
        value.map_err(|error| self.sql(error))
    }

    /// Returns a version of a collector.
    pub(super) fn collector(&self, id: i64) -> Result<Arc<Collector>, Error> {
        if let Some(known) = self.collectors.borrow().get(&id) {
            return Ok(Arc::clone(known));
        }
        let query = "SELECT name, columns FROM collector WHERE id = ?1";
        let (name, columns): (String, String) = self
            .connection
            .prepare_cached(query)
            .and_then(|mut query| query.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))))
            .map_err(|error| self.sql(error))?;
        let columns: Vec<Column> = serde_json::from_str(&columns)
            .map_err(|_| self.torn(Torn("the columns of a collector are torn")))?;
        let collector = Arc::new(Collector {
            name,
            layout: Layout::of(&columns),
            columns: columns.into(),
        });
        let mut known = self.collectors.borrow_mut();
        known.insert(id, Arc::clone(&collector));
        Ok(collector)
    }

    /// Returns the segments of a stream at a resolution that overlap a stretch of time, oldest first.
    pub(super) fn sealed(
        &self,
        stream: i64,
        resolution: u32,
        from: i64,
        to: i64,
    ) -> Result<Vec<Stretch>, Error> {
        let find = || -> rusqlite::Result<Vec<Stretch>> {
            let mut statement = self.connection.prepare_cached(
                "SELECT id, from_at, first_at, to_at, changes FROM segment
                  WHERE stream = ?1 AND resolution = ?2 AND to_at >= ?3 AND from_at <= ?4
                  ORDER BY from_at, id",
            )?;
            let rows = statement.query_map(params![stream, resolution, from, to], |row| {
                Ok(Stretch {
                    place: Place::Sealed(row.get(0)?),
                    resolution,
                    from_at: row.get(1)?,
                    first_at: row.get(2)?,
                    to_at: row.get(3)?,
                    changes: row.get(4)?,
                })
            })?;
            rows.collect()
        };
        find().map_err(|error| self.sql(error))
    }

    /// Returns the usual time between the samples of a stream in a span, when some of them are sealed.
    pub(super) fn usual(&self, stream: i64, from: i64, to: i64) -> Result<Option<i64>, Error> {
        self.first(
            "SELECT (to_at - from_at) / (frames - 1) FROM segment
              WHERE stream = ?1 AND resolution = 0 AND to_at >= ?2 AND from_at <= ?3 AND frames > 1
              ORDER BY to_at DESC LIMIT 1",
            params![stream, from, to],
            |row| row.get(0),
        )
    }

    /// Returns the stretches of a stream's hot frames, oldest first.
    pub(super) fn hot(&self, stream: i64) -> Result<Vec<Stretch>, Error> {
        let mut stretches: Vec<Stretch> = Vec::new();
        let mut find = || -> rusqlite::Result<()> {
            let mut statement = self.connection.prepare_cached(
                "SELECT sequence, at, flags, changes FROM hot WHERE stream = ?1 ORDER BY sequence",
            )?;
            let mut rows = statement.query([stream])?;
            while let Some(row) = rows.next()? {
                let (sequence, at): (i64, i64) = (row.get(0)?, row.get(1)?);
                let (flags, changes): (u8, i64) = (row.get(2)?, row.get(3)?);
                match stretches.last_mut() {
                    Some(last) if flags & frame::KEY == 0 => {
                        let Place::Hot(from, _) = last.place else {
                            unreachable!("only hot frames are listed")
                        };
                        last.place = Place::Hot(from, sequence);
                        if last.first_at == i64::MAX {
                            last.first_at = at;
                        }
                        last.to_at = at;
                        last.changes += changes;
                    }
                    _ => stretches.push(Stretch {
                        place: Place::Hot(sequence, sequence),
                        resolution: 0,
                        from_at: at,
                        first_at: if flags & frame::LEAD == 0 {
                            at
                        } else {
                            i64::MAX
                        },
                        to_at: at,
                        changes,
                    }),
                }
            }
            Ok(())
        };
        find().map_err(|error| self.sql(error))?;
        stretches.retain(|stretch| stretch.first_at < i64::MAX);
        Ok(stretches)
    }

    /// Calls `each` with time and packed frame of every hot frame of a stretch.
    pub(super) fn frames(
        &self,
        stream: i64,
        from: i64,
        to: i64,
        mut each: impl FnMut(i64, &[u8]) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let sql = |error| self.sql(error);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT at, frame FROM hot WHERE stream = ?1 AND sequence BETWEEN ?2 AND ?3
                  ORDER BY sequence",
            )
            .map_err(sql)?;
        let mut rows = statement.query(params![stream, from, to]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            let at = row.get(0).map_err(sql)?;
            let blob = row.get_ref(1).map_err(sql)?;
            let blob = blob
                .as_blob()
                .map_err(|_| self.torn(Torn("a frame is no blob")))?;
            let body = self.unpack(blob)?;
            if !each(at, &body)? {
                break;
            }
        }
        Ok(())
    }

    /// Loads the wanted columns of a stretch; of a rollup, columns are numbered as there.
    pub(super) fn load(
        &self,
        stream: &Stream,
        stretch: &Stretch,
        wanted: &dyn Fn(usize) -> bool,
    ) -> Result<Segment, Error> {
        match stretch.place {
            Place::Sealed(id) => {
                let head = self.head(id)?;
                let columns = self.columns(id, &head, wanted)?;
                Ok(Segment {
                    index: head.index,
                    columns,
                })
            }
            Place::Hot(from, to) => {
                let collector = &stream.collector;
                let count = collector.columns.len();
                let mut builder = Builder::new(&collector.layout, count, wanted);
                self.frames(stream.id, from, to, |at, body| {
                    let pushed = builder.push(at, body);
                    pushed.map(|()| true).map_err(|torn| self.torn(torn))
                })?;
                Ok(builder.finish())
            }
        }
    }

    /// Loads the index of a segment.
    pub(super) fn head(&self, id: i64) -> Result<Head, Error> {
        let part = self.part(id, 0)?;
        Head::read(&part).map_err(|torn| self.torn(torn))
    }

    /// Loads the wanted columns of a segment.
    pub(super) fn columns(
        &self,
        id: i64,
        head: &Head,
        wanted: &dyn Fn(usize) -> bool,
    ) -> Result<Vec<Option<Runs>>, Error> {
        let count = head.columns();
        let mut columns: Vec<Option<Runs>> = (0..count).map(|_| None).collect();
        let mut fill = |part: u32, bytes: Option<&[u8]>| -> Result<(), Error> {
            for column in (0..count).filter(|column| wanted(*column)) {
                let runs = head.runs(column, part, bytes);
                if let Some(runs) = runs.map_err(|torn| self.torn(torn))? {
                    columns[column] = Some(runs);
                }
            }
            Ok(())
        };
        fill(0, None)?;
        for part in head.parts(wanted) {
            let bytes = self.part(id, part)?;
            fill(part, Some(&bytes))?;
        }
        Ok(columns)
    }

    fn part(&self, segment: i64, part: u32) -> Result<Vec<u8>, Error> {
        let query = "SELECT data FROM part WHERE id = ?1";
        let blob: Option<Vec<u8>> = self
            .connection
            .prepare_cached(query)
            .and_then(|mut query| {
                let id = segment * PART_IDS + i64::from(part);
                query.query_row([id], |row| row.get(0)).optional()
            })
            .map_err(|error| self.sql(error))?;
        let blob = blob.ok_or_else(|| self.torn(Torn("a part of a segment is missing")))?;
        self.unpack(&blob)
    }

    /// Returns the newest snapshot of a stretch at or before `at`, and the usual time between snapshots around it.
    pub(super) fn snapshot(
        &self,
        stream: &Stream,
        stretch: &Stretch,
        at: i64,
    ) -> Result<Option<(Snapshot, i64)>, Error> {
        let empty = Snapshot {
            collector: stream.collector.name.clone(),
            database: stream.database.clone(),
            at: pawang_core::Timestamp::UNIX_EPOCH,
            epoch: None,
            cost: Cost::default(),
            columns: Arc::clone(&stream.collector.columns),
            rows: Vec::new(),
        };
        let torn = |torn| self.torn(torn);
        if let Place::Hot(from, to) = stretch.place {
            return self.replayed(stream, (from, to), at, empty);
        }
        let segment = self.load(stream, stretch, &|_| true)?;
        let index = &segment.index;
        let ats: Vec<i64> = index.moments.iter().map(|moment| moment.at).collect();
        let after = ats.partition_point(|moment| *moment <= at);
        if after <= index.first() {
            return Ok(None);
        }
        let interval = usual_interval(&ats);
        let labels = &stream.collector.layout.labels;
        let snapshot = segment.snapshot((after - 1) as u32, labels, empty);
        Ok(Some((snapshot.map_err(torn)?, interval)))
    }

    fn replayed(
        &self,
        stream: &Stream,
        (from, to): (i64, i64),
        until: i64,
        mut snapshot: Snapshot,
    ) -> Result<Option<(Snapshot, i64)>, Error> {
        let collector = &stream.collector;
        let mut replay = Replay::default();
        let mut ats = Vec::new();
        let mut samples = 0;
        self.frames(stream.id, from, to, |at, body| {
            if at > until {
                return Ok(false);
            }
            let columns = collector.columns.len();
            let applied = replay.apply(&collector.layout, columns, at, body);
            applied.map_err(|torn| self.torn(torn))?;
            ats.push(at);
            let lead = body.first().is_some_and(|flags| flags & frame::LEAD != 0);
            samples += usize::from(!lead);
            Ok(true)
        })?;
        if samples == 0 {
            return Ok(None);
        }
        snapshot.at = replay.timestamp().map_err(|torn| self.torn(torn))?;
        snapshot.epoch = replay.epoch;
        snapshot.cost.elapsed = std::time::Duration::from_millis(replay.elapsed_ms);
        let rows = (replay.rows.len() as i64).wrapping_add(replay.rows_dropped);
        snapshot.cost.rows = usize::try_from(rows).unwrap_or(0);
        snapshot.rows = replay.rows;
        Ok(Some((snapshot, usual_interval(&ats))))
    }

    /// Returns the newest snapshot of a stream.
    pub(super) fn newest(&self, stream: &Stream) -> Result<Option<Snapshot>, Error> {
        let stretch = match self.hot(stream.id)?.last() {
            Some(stretch) => Some(*stretch),
            None => self.last_sealed(stream.id)?,
        };
        let Some(stretch) = stretch else {
            return Ok(None);
        };
        let found = self.snapshot(stream, &stretch, i64::MAX)?;
        Ok(found.map(|(snapshot, _)| snapshot))
    }

    /// Returns the newest raw segment of a stream.
    fn last_sealed(&self, stream: i64) -> Result<Option<Stretch>, Error> {
        let query = "SELECT max(to_at) FROM segment WHERE stream = ?1 AND resolution = 0";
        let to: Option<i64> = self
            .connection
            .prepare_cached(query)
            .and_then(|mut query| query.query_row([stream], |row| row.get(0)))
            .map_err(|error| self.sql(error))?;
        match to {
            Some(to) => Ok(self.sealed(stream, 0, to, i64::MAX)?.pop()),
            None => Ok(None),
        }
    }
}

/// Returns the usual time between samples: the median; the greatest number when there is only one.
pub(super) fn usual_interval(ats: &[i64]) -> i64 {
    let mut steps: Vec<i64> = ats
        .windows(2)
        .map(|pair| pair[1].saturating_sub(pair[0]))
        .collect();
    if steps.is_empty() {
        return i64::MAX;
    }
    let middle = steps.len() / 2;
    *steps.select_nth_unstable(middle).1
}
