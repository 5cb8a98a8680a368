//! A stretch of frames turned on its side: an index, and every column by itself.

use pawang_core::{Snapshot, Value};

use super::encode::{Cursor, Torn, join, put_bytes, put_uint, put_value};
use super::index::{Index, Presence};
use super::run::{self, Cell};

/// Columns share a part until it has so many bytes: small segments are one part, and a query of a large one reads
/// only the parts of its columns.
const PART_BYTES: usize = 64 << 10;
/// Most parts of one segment.
pub(super) const PARTS_MAX: u32 = 1 << 12;

/// The values of one column: a run per entity.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Runs {
    pub(super) dictionary: Vec<Value>,
    pub(super) bytes: Vec<u8>,
    /// Where the run of each entity ends.
    pub(super) ends: Vec<u32>,
}

/// A stretch of frames; `None` for columns that were not read.
#[derive(Clone, Debug, Default)]
pub(super) struct Segment {
    pub(super) index: Index,
    pub(super) columns: Vec<Option<Runs>>,
}

/// Where a column is.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    part: u32,
    offset: usize,
    length: usize,
}

/// The first part of a segment that was read: its index, and where the columns are.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) index: Index,
    places: Vec<Place>,
    /// The columns of the first part.
    rest: Vec<u8>,
}

impl Runs {
    pub(super) fn run(&self, entity: usize) -> &[u8] {
        let from = match entity.checked_sub(1) {
            Some(before) => self.ends[before],
            None => 0,
        };
        &self.bytes[from as usize..self.ends[entity] as usize]
    }

    /// Returns the value that a cell stands for.
    pub(super) fn value(&self, cell: Cell) -> Result<Value, Torn> {
        Ok(match cell {
            Cell::Null => Value::Null,
            Cell::Bool(flag) => Value::Bool(flag),
            Cell::Int(number) => Value::Int(number),
            Cell::Float(number) => Value::Float(number),
            Cell::Time(micros) => Value::Time(join(micros, 0)?),
            Cell::Entry(number) => {
                let value = self.dictionary.get(number as usize);
                value
                    .cloned()
                    .ok_or(Torn("a value is not in its dictionary"))?
            }
        })
    }

    /// Fills `cells` with one cell per frame; `Null` where the entity is not there.
    pub(super) fn cells(
        &self,
        entity: usize,
        presence: &Presence,
        cells: &mut [Cell],
    ) -> Result<(), Torn> {
        cells.fill(Cell::Null);
        let intervals = presence.of(entity);
        if let [(from, to)] = intervals {
            let there = &mut cells[*from as usize..*to as usize];
            return run::spans(self.run(entity), to - from, |start, length, cell| {
                there[start as usize..(start + length) as usize].fill(cell);
                Ok(())
            });
        }
        let mut frames = intervals.iter().flat_map(|(from, to)| *from..*to);
        run::spans(
            self.run(entity),
            presence.count(entity),
            |_, length, cell| {
                for _ in 0..length {
                    let frame = frames.next().ok_or(Torn("a run is too long"))?;
                    cells[frame as usize] = cell;
                }
                Ok(())
            },
        )
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_uint(out, self.dictionary.len() as u64);
        for value in &self.dictionary {
            put_value(out, value);
        }
        put_uint(out, self.ends.len() as u64);
        let mut before = 0;
        for end in &self.ends {
            put_uint(out, u64::from(end - before));
            before = *end;
        }
        out.extend_from_slice(&self.bytes);
    }

    pub(super) fn read(bytes: &[u8], entities: usize) -> Result<Runs, Torn> {
        let mut cursor = Cursor::new(bytes);
        let values = (0..cursor.count()?).map(|_| cursor.value());
        let dictionary = values.collect::<Result<_, _>>()?;
        if cursor.count()? != entities {
            return Err(Torn("a column has another number of rows"));
        }
        let mut end = 0_u32;
        let mut ends = Vec::with_capacity(entities);
        for _ in 0..entities {
            end = end
                .checked_add(cursor.below(u32::MAX as usize)? as u32)
                .ok_or(Torn("a column is too long"))?;
            ends.push(end);
        }
        Ok(Runs {
            dictionary,
            bytes: cursor.take(end as usize)?.to_vec(),
            ends,
        })
    }
}

impl Segment {
    /// Returns the snapshot of a frame; every column must be there.
    pub(super) fn snapshot(
        &self,
        frame: u32,
        labels: &[usize],
        mut snapshot: Snapshot,
    ) -> Result<Snapshot, Torn> {
        let moment = self.index.moments[frame as usize];
        let presence = self.index.presence();
        snapshot.at = join(moment.at, moment.nanos)?;
        snapshot.epoch = self.index.epochs[moment.epoch as usize].clone();
        snapshot.cost.elapsed = std::time::Duration::from_millis(moment.span_ms);
        for entity in self.index.rows(frame) {
            let entity = *entity as usize;
            let mut row = vec![Value::Null; snapshot.columns.len()];
            for (column, label) in labels.iter().zip(&self.index.entities[entity].labels) {
                row[*column] = label.clone();
            }
            let place = presence
                .place(entity, frame)
                .ok_or(Torn("a row is not there"))?;
            for (value, runs) in row.iter_mut().zip(&self.columns) {
                if let Some(runs) = runs {
                    *value = runs.value(run::value_at(runs.run(entity), place)?)?;
                }
            }
            snapshot.rows.push(row);
        }
        let rows = (snapshot.rows.len() as i64).wrapping_add(moment.count);
        snapshot.cost.rows = usize::try_from(rows).unwrap_or(0);
        Ok(snapshot)
    }

    /// Returns the parts, not yet packed; the first has the index.
    pub(super) fn write(&self) -> Vec<Vec<u8>> {
        let mut parts = vec![Vec::new()];
        let mut places = Vec::with_capacity(self.columns.len());
        for runs in &self.columns {
            let Some(runs) = runs else {
                places.push(Place::default());
                continue;
            };
            let full = parts.last().is_some_and(|part| part.len() >= PART_BYTES);
            if full && parts.len() < PARTS_MAX as usize {
                parts.push(Vec::new());
            }
            let number = parts.len() - 1;
            let part = &mut parts[number];
            let offset = part.len();
            runs.write(part);
            places.push(Place {
                part: number as u32,
                offset,
                length: part.len() - offset,
            });
        }
        let mut index = Vec::new();
        self.index.write(&mut index);
        put_uint(&mut index, places.len() as u64);
        for place in &places {
            put_uint(&mut index, u64::from(place.part));
            put_uint(&mut index, place.offset as u64);
            put_uint(&mut index, place.length as u64);
        }
        let mut first = Vec::with_capacity(index.len() + parts[0].len() + 8);
        put_bytes(&mut first, &index);
        first.extend_from_slice(&parts[0]);
        parts[0] = first;
        parts
    }
}

impl Head {
    pub(super) fn read(part: &[u8]) -> Result<Head, Torn> {
        let mut cursor = Cursor::new(part);
        let mut directory = Cursor::new(cursor.bytes()?);
        let rest = part[part.len() - cursor.left()..].to_vec();
        let index = Index::read(&mut directory)?;
        let mut places = Vec::new();
        for _ in 0..directory.count()? {
            places.push(Place {
                part: directory.below(PARTS_MAX as usize)? as u32,
                offset: directory.below(usize::MAX)?,
                length: directory.below(usize::MAX)?,
            });
        }
        Ok(Head {
            index,
            places,
            rest,
        })
    }

    pub(super) fn columns(&self) -> usize {
        self.places.len()
    }

    /// Returns the parts besides the first that have one of the wanted columns, ascending.
    pub(super) fn parts(&self, wanted: &dyn Fn(usize) -> bool) -> Vec<u32> {
        let numbered = self.places.iter().enumerate();
        let wanted = numbered.filter(|(column, place)| place.length > 0 && wanted(*column));
        let mut parts: Vec<u32> = wanted
            .map(|(_, place)| place.part)
            .filter(|part| *part > 0)
            .collect();
        parts.dedup();
        parts
    }

    /// Returns a column of a part; `None` when it is not there.
    pub(super) fn runs(
        &self,
        column: usize,
        part: u32,
        bytes: Option<&[u8]>,
    ) -> Result<Option<Runs>, Torn> {
        let place = self.places[column];
        if place.length == 0 || place.part != part {
            return Ok(None);
        }
        let bytes = bytes.unwrap_or(&self.rest);
        let bytes = place
            .offset
            .checked_add(place.length)
            .and_then(|end| bytes.get(place.offset..end));
        let bytes = bytes.ok_or(Torn("a column is not in its part"))?;
        Runs::read(bytes, self.index.entities.len()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pawang_core::{Column, ColumnKind, Cost, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::history::builder::Builder;
    use crate::history::frame::{self, Layout};

    fn snapshot(number: i64) -> Snapshot {
        let column = |name: &str, kind| Column {
            name: name.to_owned(),
            kind,
            unit: None,
        };
        let row = |row: i64| {
            vec![
                Value::Int(row),
                Value::Int(number * row),
                Value::Text(format!("query {}", number % 3).into()),
                Value::Float(number as f64 / 3.0),
            ]
        };
        let columns: Arc<[Column]> = Arc::new([
            column("key", ColumnKind::Label),
            column("calls", ColumnKind::Counter),
            column("query", ColumnKind::Info),
            column("mean", ColumnKind::Gauge),
        ]);
        Snapshot {
            collector: "statements".to_owned(),
            database: None,
            at: Timestamp::from_second(number * 10).unwrap(),
            epoch: None,
            cost: Cost::default(),
            columns,
            rows: (number % 4..6).map(row).collect(),
        }
    }

    /// Frames of some snapshots, and their bodies, the first one whole.
    fn bodies() -> (Layout, Vec<Vec<u8>>) {
        let mut last = snapshot(1);
        let layout = Layout::of(&last.columns);
        let mut bodies = vec![frame::whole(&layout, &last, false).body];
        for number in 2..20 {
            let new = snapshot(number);
            let (encoded, _) = frame::difference(&layout, &new, &last, &Vec::new(), true);
            bodies.push(encoded.body);
            last = new;
        }
        (layout, bodies)
    }

    fn build(layout: &Layout, bodies: &[Vec<u8>]) -> Result<Segment, Torn> {
        let mut builder = Builder::new(layout, 4, &|_| true);
        for (number, body) in bodies.iter().enumerate() {
            builder.push((number as i64 + 1) * 10_000_000, body)?;
        }
        Ok(builder.finish())
    }

    /// Reads everything that there is.
    fn read(parts: &[Vec<u8>]) -> Result<Segment, Torn> {
        let head = Head::read(&parts[0])?;
        let columns = (0..head.columns()).map(|column| head.runs(column, 0, None));
        let columns: Vec<Option<Runs>> = columns.collect::<Result<_, _>>()?;
        let segment = Segment {
            index: head.index,
            columns,
        };
        let presence = segment.index.presence();
        let mut cells = vec![Cell::Null; segment.index.moments.len()];
        for runs in segment.columns.iter().flatten() {
            for entity in 0..segment.index.entities.len() {
                runs.cells(entity, &presence, &mut cells)?;
            }
        }
        for frame in 0..segment.index.moments.len() as u32 {
            let mut empty = snapshot(0);
            empty.rows.clear();
            segment.snapshot(frame, &[0], empty)?;
        }
        Ok(segment)
    }

    #[test]
    fn a_segment_is_read_as_it_was_written() {
        let (layout, bodies) = bodies();
        let segment = build(&layout, &bodies).unwrap();
        let back = read(&segment.write()).unwrap();
        assert_eq!(back.index, segment.index);
        assert_eq!(back.columns, segment.columns);
        for number in 1..20 {
            let mut empty = snapshot(number);
            let expected = std::mem::take(&mut empty.rows);
            let read = back.snapshot(number as u32 - 1, &[0], empty).unwrap();
            assert_eq!(read.rows, expected);
        }
    }

    proptest! {
        #[test]
        fn torn_bytes_are_refused_without_panic(
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<prop::sample::Index>(),
            frame in 0_usize..19,
        ) {
            let (layout, mut bodies) = bodies();
            let mut parts = build(&layout, &bodies).unwrap().write();
            for bytes in [&mut parts[0], &mut bodies[frame]] {
                for (place, byte) in &flips {
                    let place = place.index(bytes.len());
                    bytes[place] = *byte;
                }
            }
            // Other bytes may still mean something; they must only never panic.
            drop(read(&parts));
            drop(build(&layout, &bodies));
            let whole = parts[0].len();
            parts[0].truncate(cut.index(whole));
            drop(read(&parts));
        }
    }
}
