//! Seals, compacts, rolls up and drops, a bounded piece at a time.

use std::collections::{BTreeMap, BTreeSet};

use pawang_core::Timestamp;
use rusqlite::params;

use super::builder::Merge;
use super::encode::{Packer, split};
use super::rollup::roll_up;
use super::segment::{Head, Segment};
use super::shelf::{PART_IDS, Place, RESOLUTIONS, Shelf, Stream, Stretch};
use super::writer::{HOUR, Known};
use super::{Retention, Tended, Writer};
use crate::Error;

const DAY: i64 = 24 * HOUR;
/// Hours and days are finished so long after their end: servers' clocks are not all the same.
const DELAY: i64 = 300_000_000;
/// Compression of segments.
const SEGMENT_LEVEL: i32 = 3;
/// One call seals until it has read so many bytes of frames.
const SEALED_BYTES: i64 = 1 << 20;
/// Most bytes of the hours that are made one segment; it bounds the memory that compacting takes.
const COMPACTED_BYTES: i64 = 6 << 20;
/// One pass over the frames of an hour builds at most so many runs; it bounds the memory that sealing takes.
const RUNS_MAX: usize = 1 << 17;
/// Most segments that one call drops.
const DROPPED_MAX: usize = 64;
/// Most pages that one call gives back to the file system.
const FREED_PAGES: i64 = 2_000;
/// Pages are given back when more than one of so many is free, and there are enough of them to be worth it.
const FREE_SHARE: i64 = 8;
const FREE_PAGES_MIN: i64 = 64;

/// What is left to do.
pub(super) struct Agenda {
    /// The oldest hour of which each stream has hot frames; `None` before it was looked up.
    hot: Option<BTreeMap<i64, i64>>,
    /// The last hour in which leftovers were looked for.
    cleaned: i64,
    packer: Packer,
}

impl Default for Agenda {
    fn default() -> Agenda {
        Agenda {
            hot: None,
            cleaned: i64::MIN,
            packer: Packer::new(SEGMENT_LEVEL),
        }
    }
}

/// A segment row.
struct Piece {
    id: i64,
    from_at: i64,
    first_at: i64,
    to_at: i64,
    changes: i64,
    bytes: i64,
}

impl Agenda {
    /// Notes that a stream has frames in an hour.
    pub(super) fn written(&mut self, stream: i64, hour: i64) {
        if let Some(hot) = &mut self.hot {
            let oldest = hot.entry(stream).or_insert(hour);
            *oldest = hour.min(*oldest);
        }
    }
}

impl Writer {
    /// Seals, compacts, rolls up and drops what is due, a bounded piece at a time; commits what was added before.
    ///
    /// # Errors
    /// The disk refuses; what was there before is still there.
    pub fn tend(&mut self, retention: &Retention, now: Timestamp) -> Result<Tended, Error> {
        self.commit()?;
        let tended = self.try_tend(retention, split(now).0);
        if tended.is_err() {
            self.forget();
            self.tending = Agenda::default();
        }
        tended
    }

    fn try_tend(&mut self, retention: &Retention, now: i64) -> Result<Tended, Error> {
        let sealed = self.seal_due(now)?;
        if sealed > 0 {
            return Ok(Tended {
                steps: sealed,
                more: true,
                refused: false,
            });
        }
        for work in [Writer::compact_due, Writer::clean_up] {
            let steps = work(self, now)?;
            if steps > 0 {
                return Ok(Tended {
                    steps,
                    more: true,
                    refused: false,
                });
            }
        }
        let steps =
            self.drop_old(retention, now)? + self.drop_most(retention)? + self.give_back()?;
        Ok(Tended {
            steps,
            more: steps > 0,
            refused: false,
        })
    }

    /// Seals finished hours until enough was read.
    fn seal_due(&mut self, now: i64) -> Result<usize, Error> {
        let current = (now - DELAY - 1).div_euclid(HOUR);
        let mut read = 0;
        let mut steps = 0;
        while read < SEALED_BYTES {
            let hot = self.hot_hours()?;
            let due = hot.iter().find(|(_, hour)| **hour < current);
            let Some((stream, _)) = due.map(|(stream, hour)| (*stream, *hour)) else {
                break;
            };
            read += self.seal_stream(stream, current)?;
            steps += 1;
        }
        Ok(steps)
    }

    /// Returns the oldest hour of hot frames by stream.
    fn hot_hours(&mut self) -> Result<&mut BTreeMap<i64, i64>, Error> {
        if self.tending.hot.is_none() {
            let mut hours = BTreeMap::new();
            for stream in self.shelf.stream_ids()? {
                if let Some(hour) = oldest_hour(&self.shelf.hot(stream)?) {
                    hours.insert(stream, hour);
                }
            }
            self.tending.hot = Some(hours);
        }
        Ok(self.tending.hot.as_mut().expect("it was just looked up"))
    }

    /// Seals the stretches of a stream that ended before an hour; returns how many bytes of frames it read.
    fn seal_stream(&mut self, id: i64, current: i64) -> Result<i64, Error> {
        let stream = self.shelf.stream(id)?;
        let mut stretches = self.shelf.hot(id)?;
        let due = |stretch: &Stretch| hour_of(stretch.first_at) < current;
        let ends = stretches.last().is_some_and(due);
        let mut read = 1;
        for stretch in stretches.iter().filter(|stretch| due(stretch)) {
            read += self.seal(&stream, stretch)?;
        }
        if ends {
            self.end_stretch(id);
        }
        stretches.retain(|stretch| !due(stretch));
        let hot = self.hot_hours()?;
        match oldest_hour(&stretches) {
            Some(hour) => hot.insert(id, hour),
            None => hot.remove(&id),
        };
        Ok(read)
    }

    /// Turns a stretch of frames into segments of all resolutions, in one transaction that deletes the frames.
    fn seal(&mut self, stream: &Stream, stretch: &Stretch) -> Result<i64, Error> {
        let Place::Hot(from, to) = stretch.place else {
            unreachable!("only hot frames are sealed")
        };
        let bytes = self.shelf.hot_bytes(stream.id, from, to)?;
        let rows = self.shelf.hot_rows(stream, from).unwrap_or(0);
        let built = build(&self.shelf, stream, stretch, rows).and_then(|segment| {
            let collector = (&*stream.collector.name, &*stream.collector.columns);
            let mut segments = Vec::new();
            for resolution in &RESOLUTIONS[1..] {
                let rolled = roll_up(&segment, collector, *resolution);
                let rolled = rolled.map_err(|torn| self.shelf.torn(torn))?;
                segments.extend(rolled.map(|rolled| (*resolution, rolled)));
            }
            segments.push((0, segment));
            Ok(segments)
        });
        let segments = match built {
            Ok(segments) => segments,
            Err(Error::Damaged { what, .. }) => {
                // One torn stretch must not keep the others from being sealed; what remains of it cannot be read.
                tracing::warn!(
                    stream = stream.id,
                    collector = stream.collector.name,
                    what,
                    "an hour was lost"
                );
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        self.begin()?;
        let piece = Piece {
            id: 0,
            from_at: stretch.from_at,
            first_at: stretch.first_at,
            to_at: stretch.to_at,
            changes: stretch.changes,
            bytes: 0,
        };
        for (resolution, segment) in &segments {
            self.insert(stream.id, *resolution, 0, &piece, segment)?;
        }
        self.shelf.execute(
            "DELETE FROM hot WHERE stream = ?1 AND sequence BETWEEN ?2 AND ?3",
            params![stream.id, from, to],
        )?;
        self.commit()?;
        Ok(bytes)
    }

    fn insert(
        &mut self,
        stream: i64,
        resolution: u32,
        level: i64,
        piece: &Piece,
        segment: &Segment,
    ) -> Result<(), Error> {
        let parts = segment.write();
        let packer = &mut self.tending.packer;
        let parts: Vec<Vec<u8>> = parts.iter().map(|part| packer.pack(part)).collect();
        let bytes: usize = parts.iter().map(Vec::len).sum();
        let changes = if resolution == 0 { piece.changes } else { 0 };
        self.shelf.execute(
            "INSERT INTO segment (stream, resolution, level, first_at, from_at, to_at, frames, changes, bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                stream,
                resolution,
                level,
                piece.first_at,
                piece.from_at,
                piece.to_at,
                segment.index.moments.len() as i64,
                changes,
                bytes as i64
            ],
        )?;
        let id = self.shelf.connection.last_insert_rowid();
        for (number, part) in parts.iter().enumerate() {
            self.shelf.execute(
                "INSERT INTO part (id, data) VALUES (?1, ?2)",
                params![id * PART_IDS + number as i64, part],
            )?;
        }
        Ok(())
    }

    /// Makes the hours of a finished day one segment.
    fn compact_due(&mut self, now: i64) -> Result<usize, Error> {
        let current = (now - DELAY - HOUR - 1).div_euclid(DAY);
        for resolution in RESOLUTIONS {
            let found: Option<(i64, i64)> = self.shelf.first(
                "SELECT stream, to_at FROM segment
                  WHERE level = 0 AND resolution = ?1 AND to_at <= ?2 ORDER BY to_at LIMIT 1",
                params![resolution, current * DAY],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            if let Some((stream, to_at)) = found {
                let day = (to_at - 1).div_euclid(DAY);
                let pieces = self.hours(stream, resolution, day)?;
                return self.compact(stream, resolution, &pieces);
            }
        }
        Ok(0)
    }

    /// Returns the hours of a day that are not compacted yet.
    fn hours(&self, stream: i64, resolution: u32, day: i64) -> Result<Vec<Piece>, Error> {
        self.shelf.all(
            "SELECT id, from_at, first_at, to_at, changes, bytes FROM segment
              WHERE stream = ?1 AND resolution = ?2 AND to_at > ?3 AND to_at <= ?4 AND level = 0
              ORDER BY from_at, id",
            params![stream, resolution, day * DAY, (day + 1) * DAY],
            |row| {
                Ok(Piece {
                    id: row.get(0)?,
                    from_at: row.get(1)?,
                    first_at: row.get(2)?,
                    to_at: row.get(3)?,
                    changes: row.get(4)?,
                    bytes: row.get(5)?,
                })
            },
        )
    }

    /// Merges pieces that follow each other, as many as memory allows at a time, in one transaction.
    fn compact(&mut self, stream: i64, resolution: u32, pieces: &[Piece]) -> Result<usize, Error> {
        self.begin()?;
        let mut rest = pieces;
        while !rest.is_empty() {
            let mut bytes = 0;
            let mut count = 0;
            for (number, piece) in rest.iter().enumerate() {
                let follows = number == 0 || rest[number - 1].followed_by(piece);
                bytes += piece.bytes;
                if !follows || (number > 0 && bytes > COMPACTED_BYTES) {
                    break;
                }
                count += 1;
            }
            let (run, later) = rest.split_at(count);
            rest = later;
            self.merge(stream, resolution, run)?;
        }
        self.commit()?;
        Ok(1)
    }

    fn merge(&mut self, stream: i64, resolution: u32, run: &[Piece]) -> Result<(), Error> {
        let merged = match run {
            [_] => None,
            run => match merged(&self.shelf, run) {
                Ok(segment) => Some(segment),
                Err(Error::Damaged { what, .. }) => {
                    // It stays as it is: its sound hours can still be read one by one.
                    tracing::warn!(stream, what, "a day was not compacted");
                    None
                }
                Err(error) => return Err(error),
            },
        };
        let Some(segment) = merged else {
            for piece in run {
                self.shelf
                    .execute("UPDATE segment SET level = 1 WHERE id = ?1", [piece.id])?;
            }
            return Ok(());
        };
        let (first, last) = (&run[0], &run[run.len() - 1]);
        let piece = Piece {
            id: 0,
            from_at: first.from_at,
            first_at: first.first_at,
            to_at: last.to_at,
            changes: run.iter().map(|piece| piece.changes).sum(),
            bytes: 0,
        };
        self.insert(stream, resolution, 1, &piece, &segment)?;
        for piece in run {
            self.shelf.remove_segment(piece.id)?;
        }
        Ok(())
    }

    /// Drops what is older than it is kept.
    fn drop_old(&mut self, retention: &Retention, now: i64) -> Result<usize, Error> {
        let kept = [retention.raw, retention.minute, retention.ten_minutes];
        let mut dropped = 0;
        for (resolution, kept) in RESOLUTIONS.into_iter().zip(kept) {
            let kept = i64::try_from(kept.as_micros()).unwrap_or(i64::MAX);
            let before = now.saturating_sub(kept);
            let old: Vec<i64> = self.shelf.all(
                "SELECT id FROM segment WHERE resolution = ?1 AND to_at < ?2 ORDER BY to_at LIMIT ?3",
                params![resolution, before, DROPPED_MAX as i64],
                |row| row.get(0),
            )?;
            dropped += self.drop_segments(&old)?;
        }
        Ok(dropped)
    }

    /// Drops the oldest while there is more than there may be.
    fn drop_most(&mut self, retention: &Retention) -> Result<usize, Error> {
        let page: i64 = self.shelf.pragma("page_size")?;
        let most = i64::try_from(retention.bytes).unwrap_or(i64::MAX);
        let used = self.shelf.pragma("page_count")? - self.shelf.pragma("freelist_count")?;
        let mut excess = used.saturating_mul(page).saturating_sub(most);
        if excess <= 0 {
            return Ok(0);
        }
        let mut oldest: Vec<(i64, i64, i64)> = Vec::new();
        for resolution in RESOLUTIONS {
            oldest.extend(self.shelf.all(
                "SELECT to_at, id, bytes FROM segment WHERE resolution = ?1 ORDER BY to_at LIMIT ?2",
                params![resolution, DROPPED_MAX as i64],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )?);
        }
        oldest.sort_unstable();
        oldest.truncate(DROPPED_MAX);
        let mut dropped = Vec::new();
        for (_, id, bytes) in oldest {
            if excess <= 0 {
                break;
            }
            excess -= bytes;
            dropped.push(id);
        }
        self.drop_segments(&dropped)
    }

    fn drop_segments(&mut self, ids: &[i64]) -> Result<usize, Error> {
        if ids.is_empty() {
            return Ok(0);
        }
        self.begin()?;
        for id in ids {
            self.shelf.remove_segment(*id)?;
        }
        self.commit()?;
        Ok(ids.len())
    }

    /// Gives pages back to the file system when many are free.
    fn give_back(&mut self) -> Result<usize, Error> {
        let (free, all) = (
            self.shelf.pragma("freelist_count")?,
            self.shelf.pragma("page_count")?,
        );
        if free.saturating_mul(FREE_SHARE) <= all || free < FREE_PAGES_MIN {
            return Ok(0);
        }
        let query = format!("PRAGMA incremental_vacuum({FREED_PAGES})");
        self.shelf.all(&query, [], |_| Ok(()))?;
        Ok(1)
    }

    /// Forgets streams that nothing is left of, and what servers said before the oldest sample; once an hour.
    fn clean_up(&mut self, now: i64) -> Result<usize, Error> {
        let hour = hour_of(now);
        if self.tending.cleaned == hour {
            return Ok(0);
        }
        self.tending.cleaned = hour;
        // Databases that are gone, and instances that are no longer looked after, need no memory.
        let recent = |known: &Known| known.seen_since(now - DAY);
        for targets in self.streams.values_mut() {
            for streams in targets.values_mut() {
                streams.retain(|_, known| recent(known));
            }
            targets.retain(|_, streams| !streams.is_empty());
        }
        let known: BTreeSet<i64> = self.known_streams();
        self.begin()?;
        let empty: Vec<i64> = self.shelf.all(
            "SELECT id FROM stream
              WHERE NOT EXISTS (SELECT 1 FROM hot WHERE hot.stream = stream.id)
                AND NOT EXISTS (SELECT 1 FROM segment WHERE segment.stream = stream.id)",
            [],
            |row| row.get(0),
        )?;
        for stream in empty.into_iter().filter(|stream| !known.contains(stream)) {
            self.shelf
                .execute("DELETE FROM stream WHERE id = ?1", [stream])?;
        }
        for query in [
            "DELETE FROM target WHERE NOT EXISTS (SELECT 1 FROM stream WHERE stream.target = target.id)",
            "DELETE FROM server WHERE EXISTS (
               SELECT 1 FROM server AS newer
                WHERE newer.instance = server.instance AND newer.at > server.at
                  AND newer.at < (SELECT min(to_at) FROM segment WHERE resolution = 0))",
        ] {
            self.shelf.execute(query, [])?;
        }
        self.commit()?;
        Ok(0)
    }
}

impl Piece {
    /// Returns whether the next piece begins where this one ends, or after it with a whole frame.
    fn followed_by(&self, next: &Piece) -> bool {
        let lead = next.first_at > next.from_at;
        if lead {
            next.from_at == self.to_at
        } else {
            next.from_at > self.to_at
        }
    }
}

fn hour_of(at: i64) -> i64 {
    (at - 1).div_euclid(HOUR)
}

fn oldest_hour(stretches: &[Stretch]) -> Option<i64> {
    stretches
        .iter()
        .map(|stretch| hour_of(stretch.first_at))
        .min()
}

/// Builds the segment of a stretch, some columns at a time when there are many rows.
fn build(shelf: &Shelf, stream: &Stream, stretch: &Stretch, rows: usize) -> Result<Segment, Error> {
    let columns = stream.collector.columns.len();
    let batch = (RUNS_MAX / rows.max(1)).max(1);
    if batch >= columns {
        return shelf.load(stream, stretch, &|_| true);
    }
    let mut whole = shelf.load(stream, stretch, &|column| column < batch)?;
    for from in (batch..columns).step_by(batch) {
        let part = shelf.load(stream, stretch, &|column| {
            (from..from + batch).contains(&column)
        })?;
        for (column, runs) in part.columns.into_iter().enumerate() {
            if runs.is_some() {
                whole.columns[column] = runs;
            }
        }
    }
    Ok(whole)
}

/// Merges segments that follow each other.
fn merged(shelf: &Shelf, run: &[Piece]) -> Result<Segment, Error> {
    let heads = run.iter().map(|piece| shelf.head(piece.id));
    let heads: Vec<Head> = heads.collect::<Result<_, _>>()?;
    let indexes: Vec<_> = heads.iter().map(|head| &head.index).collect();
    let merge = Merge::of(&indexes);
    let count = heads.iter().map(Head::columns).max().unwrap_or(0);
    let mut loaded = Vec::with_capacity(run.len());
    for (piece, head) in run.iter().zip(&heads) {
        let mut columns = shelf.columns(piece.id, head, &|_| true)?;
        columns.resize_with(count, || None);
        loaded.push(columns);
    }
    let mut columns = Vec::with_capacity(count);
    for column in 0..count {
        let parts: Vec<_> = loaded
            .iter_mut()
            .map(|columns| columns[column].take())
            .collect();
        let merged = merge.column(&parts);
        columns.push(merged.map_err(|torn| shelf.torn(torn))?);
    }
    Ok(Segment {
        index: merge.index,
        columns,
    })
}
