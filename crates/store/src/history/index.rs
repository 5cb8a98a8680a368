//! What a segment says besides its values: instants, rows, their order, and what cannot be compared.

use pawang_core::{Epoch, Value};

use super::encode::{Cursor, Torn, put_int, put_uint, put_value};
use super::frame;
use super::run::{Cell, RunWriter, spans};

const FORMAT: u8 = 1;
/// Most frames of one segment; more is damage.
const FRAMES_MAX: usize = 1 << 24;

/// Codes of an order: the row after the last one, the first row never seen, or (plus a number) any row.
const NEXT: u64 = 0;
const NEW: u64 = 1;
const OLD: u64 = 2;

/// One instant of a segment: a snapshot, or the newest snapshot of a bucket of a rollup.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Moment {
    /// Microseconds since 1970.
    pub(super) at: i64,
    pub(super) nanos: u16,
    /// Counters may be compared with the moment before.
    pub(super) joined: bool,
    /// Number among the epochs.
    pub(super) epoch: u32,
    /// What reading took; in a rollup, how long was seen.
    pub(super) span_ms: u64,
    /// Rows received minus rows kept; in a rollup, how many snapshots there were.
    pub(super) count: i64,
}

/// One row over time: its labels, and which of the rows with the same labels it is, from 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entity {
    pub(super) labels: Vec<Value>,
    pub(super) occurrence: u32,
}

/// Which rows there are, in which order, from a frame on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Order {
    pub(super) frame: u32,
    pub(super) rows: Vec<u32>,
}

/// Everything of a segment but its values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Index {
    /// The first moment is a copy of the last one of the segment before: to compare with, no sample.
    pub(super) lead: bool,
    pub(super) moments: Vec<Moment>,
    pub(super) epochs: Vec<Option<Epoch>>,
    pub(super) entities: Vec<Entity>,
    pub(super) orders: Vec<Order>,
    /// Entity and frame at which its counters cannot be compared with the frame before, ascending.
    pub(super) broken: Vec<(u32, u32)>,
}

/// From which frame to which (exclusive) every entity is there.
#[derive(Clone, Debug, Default)]
pub(super) struct Presence(Vec<Vec<(u32, u32)>>);

impl Presence {
    pub(super) fn of(&self, entity: usize) -> &[(u32, u32)] {
        &self.0[entity]
    }

    /// Returns in how many frames it is there.
    pub(super) fn count(&self, entity: usize) -> u32 {
        self.0[entity].iter().map(|(from, to)| to - from).sum()
    }

    /// Returns the number of a frame among those in which it is there.
    pub(super) fn place(&self, entity: usize, frame: u32) -> Option<u32> {
        let mut before = 0;
        for (from, to) in &self.0[entity] {
            if (*from..*to).contains(&frame) {
                return Some(before + frame - from);
            }
            before += to - from;
        }
        None
    }
}

impl Index {
    /// Returns the frame from which on there are samples.
    pub(super) fn first(&self) -> usize {
        usize::from(self.lead)
    }

    pub(super) fn presence(&self) -> Presence {
        let mut intervals: Vec<Vec<(u32, u32)>> = vec![Vec::new(); self.entities.len()];
        let mut stamps = vec![usize::MAX; self.entities.len()];
        for (number, order) in self.orders.iter().enumerate() {
            let end = match self.orders.get(number + 1) {
                Some(next) => next.frame,
                None => self.moments.len() as u32,
            };
            for entity in &order.rows {
                let entity = *entity as usize;
                let stayed = number > 0 && stamps[entity] == number - 1;
                match intervals[entity].last_mut() {
                    Some(last) if stayed => last.1 = end,
                    _ => intervals[entity].push((order.frame, end)),
                }
                stamps[entity] = number;
            }
        }
        Presence(intervals)
    }

    /// Returns the rows of a frame, in their order.
    pub(super) fn rows(&self, frame: u32) -> &[u32] {
        let after = self.orders.partition_point(|order| order.frame <= frame);
        match after.checked_sub(1) {
            Some(order) => &self.orders[order].rows,
            None => &[],
        }
    }

    /// Returns the frames at which an entity cannot be compared with the frame before.
    pub(super) fn broken(&self, entity: usize) -> &[(u32, u32)] {
        let entity = entity as u32;
        let from = self.broken.partition_point(|(broken, _)| *broken < entity);
        let to = self.broken.partition_point(|(broken, _)| *broken <= entity);
        &self.broken[from..to]
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        out.push(u8::from(self.lead));
        put_uint(out, self.moments.len() as u64);
        put_int(out, self.moments.first().map_or(0, |moment| moment.at));
        let pairs = self.moments.windows(2);
        put_series(out, pairs.map(|pair| pair[1].at.wrapping_sub(pair[0].at)));
        let moments = || self.moments.iter();
        put_series(out, moments().map(|moment| i64::from(moment.nanos)));
        put_series(out, moments().map(|moment| i64::from(moment.joined)));
        put_series(out, moments().map(|moment| i64::from(moment.epoch)));
        put_series(out, moments().map(|moment| moment.span_ms as i64));
        put_series(out, moments().map(|moment| moment.count));
        put_uint(out, self.epochs.len() as u64);
        for epoch in &self.epochs {
            frame::put_epoch(out, epoch.as_ref());
        }
        self.write_entities(out);
        self.write_orders(out);
        put_uint(out, self.broken.len() as u64);
        let mut before = (0, 0);
        for (entity, frame) in &self.broken {
            let same = *entity == before.0;
            put_uint(out, u64::from(entity - before.0));
            put_uint(out, u64::from(if same { frame - before.1 } else { *frame }));
            before = (*entity, *frame);
        }
    }

    /// Labels are written column by column: neighbours that look alike compress better.
    fn write_entities(&self, out: &mut Vec<u8>) {
        let labels = self
            .entities
            .first()
            .map_or(0, |entity| entity.labels.len());
        put_uint(out, self.entities.len() as u64);
        put_uint(out, labels as u64);
        for label in 0..labels {
            for entity in &self.entities {
                put_value(out, &entity.labels[label]);
            }
        }
        for entity in &self.entities {
            put_uint(out, u64::from(entity.occurrence));
        }
    }

    fn write_orders(&self, out: &mut Vec<u8>) {
        put_uint(out, self.orders.len() as u64);
        let mut seen = 0;
        let mut places = vec![u32::MAX; self.entities.len()];
        let mut before: &[u32] = &[];
        let mut frame = 0;
        for order in &self.orders {
            put_uint(out, u64::from(order.frame - frame));
            put_uint(out, order.rows.len() as u64);
            let mut next = 0_usize;
            for entity in &order.rows {
                if before.get(next) == Some(entity) {
                    put_uint(out, NEXT);
                    next += 1;
                    continue;
                }
                if *entity == seen {
                    put_uint(out, NEW);
                    seen += 1;
                } else {
                    put_uint(out, OLD + u64::from(*entity));
                }
                next = following(before, &places, *entity, next);
            }
            for (place, entity) in order.rows.iter().enumerate() {
                places[*entity as usize] = place as u32;
            }
            (frame, before) = (order.frame, &order.rows);
        }
    }

    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Index, Torn> {
        if cursor.byte()? != FORMAT {
            return Err(Torn("a segment has a format of its own"));
        }
        let lead = cursor.byte()? != 0;
        let count = cursor.below(FRAMES_MAX)?;
        let mut at = cursor.int()?;
        let steps = series(cursor, count.saturating_sub(1))?;
        let nanos = series(cursor, count)?;
        let joined = series(cursor, count)?;
        let epoch = series(cursor, count)?;
        let span_ms = series(cursor, count)?;
        let counts = series(cursor, count)?;
        let epoch_count = cursor.count()?;
        let mut index = Index {
            lead,
            ..Index::default()
        };
        for _ in 0..epoch_count {
            index.epochs.push(frame::epoch(cursor)?);
        }
        for number in 0..count {
            if number > 0 {
                at = at.wrapping_add(steps[number - 1]);
            }
            let epoch = epoch[number];
            if usize::try_from(epoch).map_or(true, |epoch| epoch >= epoch_count) {
                return Err(Torn("an epoch is not there"));
            }
            index.moments.push(Moment {
                at,
                nanos: nanos[number] as u16,
                joined: joined[number] != 0,
                epoch: epoch as u32,
                span_ms: span_ms[number] as u64,
                count: counts[number],
            });
        }
        index.read_entities(cursor)?;
        index.read_orders(cursor)?;
        index.read_broken(cursor)?;
        Ok(index)
    }

    fn read_entities(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Torn> {
        let count = cursor.count()?;
        let labels = cursor.count()?;
        self.entities = vec![
            Entity {
                labels: Vec::with_capacity(labels),
                occurrence: 1,
            };
            count
        ];
        for _ in 0..labels {
            for entity in &mut self.entities {
                entity.labels.push(cursor.value()?);
            }
        }
        for entity in &mut self.entities {
            entity.occurrence = cursor.below(u32::MAX as usize)? as u32;
        }
        Ok(())
    }

    fn read_orders(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Torn> {
        let entities = self.entities.len();
        let mut seen = 0;
        let mut places = vec![u32::MAX; entities];
        let mut frame = 0;
        for _ in 0..cursor.count()? {
            frame += cursor.below(FRAMES_MAX)?;
            let count = cursor.count()?;
            let before: &[u32] = self.orders.last().map_or(&[], |order| &order.rows);
            let mut rows = Vec::with_capacity(count);
            let mut next = 0_usize;
            for _ in 0..count {
                let code = cursor.uint()?;
                if code == NEXT {
                    rows.push(*before.get(next).ok_or(Torn("a row comes from nowhere"))?);
                    next += 1;
                    continue;
                }
                let entity = match code {
                    NEW => {
                        seen += 1;
                        seen - 1
                    }
                    code => usize::try_from(code - OLD).unwrap_or(usize::MAX),
                };
                if entity >= entities {
                    return Err(Torn("a row is not there"));
                }
                rows.push(entity as u32);
                next = following(before, &places, entity as u32, next);
            }
            for (place, entity) in rows.iter().enumerate() {
                places[*entity as usize] = place as u32;
            }
            if frame >= self.moments.len() {
                return Err(Torn("an order is of no frame"));
            }
            self.orders.push(Order {
                frame: frame as u32,
                rows,
            });
        }
        Ok(())
    }

    fn read_broken(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Torn> {
        let (mut entity, mut frame) = (0, 0);
        for _ in 0..cursor.count()? {
            let step = cursor.below(self.entities.len() - entity)?;
            let number = cursor.below(FRAMES_MAX)?;
            frame = if step == 0 { frame + number } else { number };
            if frame >= FRAMES_MAX {
                return Err(Torn("a frame is out of range"));
            }
            entity += step;
            self.broken.push((entity as u32, frame as u32));
        }
        Ok(())
    }
}

/// Returns the place after that of an entity in the order before; an entity that was not there changes nothing.
fn following(before: &[u32], places: &[u32], entity: u32, next: usize) -> usize {
    let place = places[entity as usize] as usize;
    if before.get(place) == Some(&entity) {
        place + 1
    } else {
        next
    }
}

/// Appends numbers as one run.
fn put_series(out: &mut Vec<u8>, numbers: impl Iterator<Item = i64>) {
    let mut run = RunWriter::default();
    for (index, number) in numbers.enumerate() {
        run.set(index as u32, Cell::Int(number));
    }
    super::encode::put_bytes(out, run.bytes());
}

fn series(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<i64>, Torn> {
    let bytes = cursor.bytes()?;
    let mut numbers = Vec::with_capacity(count);
    spans(bytes, count as u32, |_, length, cell| {
        let number = match cell {
            Cell::Int(number) => number,
            _ => return Err(Torn("a series has something that is no number")),
        };
        numbers.extend(std::iter::repeat_n(number, length as usize));
        Ok(())
    })?;
    Ok(numbers)
}
