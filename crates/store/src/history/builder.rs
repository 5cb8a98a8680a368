//! Turns frames into segments, and many segments into one.

use std::collections::HashMap;

use pawang_core::Value;

use super::encode::{Torn, put_uint, put_value, split};
use super::frame::{self, Frame, Layout, Source, Step};
use super::index::{Entity, Index, Moment, Order, Presence};
use super::run::{self, Cell, RunWriter};
use super::segment::{Runs, Segment};

/// Builds a segment of one stretch of frames, which begins with a whole one.
pub(super) struct Builder<'a> {
    layout: &'a Layout,
    /// The number of each wanted column among the wanted ones.
    slots: Vec<Option<usize>>,
    index: Index,
    rows: Rows,
    columns: Vec<Growing>,
    /// In how many frames each entity was there.
    seen: Vec<u32>,
    /// The entity of every row of the newest frame.
    current: Vec<u32>,
}

/// A column that grows.
#[derive(Debug, Default)]
struct Growing {
    runs: Vec<RunWriter>,
    dictionary: Dictionary,
}

#[derive(Debug, Default)]
struct Dictionary {
    values: Vec<Value>,
    numbers: HashMap<Vec<u8>, u32>,
}

/// Entities by their labels and occurrence.
#[derive(Debug, Default)]
struct Rows {
    numbers: HashMap<Vec<u8>, u32>,
    /// The frame in which each entity was met last.
    stamps: Vec<u32>,
}

impl Dictionary {
    /// Returns the cell of a value; what is no number gets a number here.
    fn cell(&mut self, value: Value) -> Cell {
        match &value {
            Value::Null => return Cell::Null,
            Value::Bool(flag) => return Cell::Bool(*flag),
            Value::Int(number) => return Cell::Int(*number),
            Value::Float(number) => return Cell::Float(*number),
            Value::Time(at) => {
                let (micros, nanos) = split(*at);
                if nanos == 0 {
                    return Cell::Time(micros);
                }
            }
            Value::Text(_) | Value::List(_) => {}
        }
        let mut key = Vec::new();
        put_value(&mut key, &value);
        let next = self.values.len() as u32;
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.values.push(value);
        }
        Cell::Entry(number)
    }
}

impl Growing {
    /// Returns the runs; `None` when no row ever had a value.
    fn finish(self) -> Option<Runs> {
        if self.runs.iter().all(|run| run.bytes().is_empty()) {
            return None;
        }
        let mut runs = Runs {
            dictionary: self.dictionary.values,
            ..Runs::default()
        };
        for run in self.runs {
            runs.bytes.extend_from_slice(run.bytes());
            let end = u32::try_from(runs.bytes.len()).expect("a column is below 4 GB");
            runs.ends.push(end);
        }
        Some(runs)
    }
}

impl Rows {
    fn key(labels: &[Value]) -> Vec<u8> {
        let mut key = Vec::with_capacity(32);
        for label in labels {
            put_value(&mut key, label);
        }
        key
    }

    /// Returns the entity of a row that was not in the frame before, and whether it is new.
    fn meet(&mut self, labels: &[Value], frame: u32) -> (u32, u32, bool) {
        let start = Rows::key(labels);
        for occurrence in 1.. {
            let mut key = start.clone();
            put_uint(&mut key, u64::from(occurrence));
            match self.numbers.get(&key) {
                Some(entity) if self.stamps[*entity as usize] == frame => {}
                Some(entity) => return (*entity, occurrence, false),
                None => {
                    let entity = self.stamps.len() as u32;
                    self.numbers.insert(key, entity);
                    self.stamps.push(u32::MAX);
                    return (entity, occurrence, true);
                }
            }
        }
        unreachable!("a frame has less than 2^32 rows")
    }
}

impl<'a> Builder<'a> {
    /// Begins a segment of a collector with `columns` columns, of which only the wanted ones are kept.
    pub(super) fn new(
        layout: &'a Layout,
        columns: usize,
        wanted: &dyn Fn(usize) -> bool,
    ) -> Builder<'a> {
        let mut slots = vec![None; columns];
        let mut count = 0;
        for column in layout.values.iter().filter(|column| wanted(**column)) {
            slots[*column] = Some(count);
            count += 1;
        }
        Builder {
            layout,
            slots,
            index: Index::default(),
            rows: Rows::default(),
            columns: (0..count).map(|_| Growing::default()).collect(),
            seen: Vec::new(),
            current: Vec::new(),
        }
    }

    /// Adds the next frame.
    pub(super) fn push(&mut self, at: i64, body: &[u8]) -> Result<(), Torn> {
        let labels = self.layout.labels.len();
        let frame = Frame::read(body, self.slots.len(), labels, self.current.len())?;
        let number = self.index.moments.len() as u32;
        self.index.lead |= number == 0 && frame.has(frame::LEAD);
        self.moment(at, &frame);
        let fresh = match &frame.rows {
            Some(sources) => self.arrange(sources, number)?,
            None => HashMap::new(),
        };
        for row in &frame.broken {
            let entity = self.current[*row as usize];
            self.index.broken.push((entity, number));
        }
        self.values(&frame, fresh)?;
        for entity in &self.current {
            self.seen[*entity as usize] += 1;
        }
        Ok(())
    }

    fn moment(&mut self, at: i64, frame: &Frame<'_>) {
        let epochs = &mut self.index.epochs;
        let epoch = match (&frame.epoch, self.index.moments.last()) {
            (None, Some(before)) => before.epoch as usize,
            (epoch, _) => {
                let epoch = epoch.clone().flatten();
                let known = epochs.iter().position(|known| *known == epoch);
                known.unwrap_or_else(|| {
                    epochs.push(epoch);
                    epochs.len() - 1
                })
            }
        };
        self.index.moments.push(Moment {
            at,
            nanos: frame.nanos,
            joined: frame.has(frame::JOINED),
            epoch: epoch as u32,
            span_ms: frame.elapsed_ms,
            count: frame.rows_dropped,
        });
    }

    /// Finds the entities of a frame's rows; returns the rows that were not in the frame before.
    fn arrange(
        &mut self,
        sources: &[Source],
        number: u32,
    ) -> Result<HashMap<usize, Vec<Cell>>, Torn> {
        let mut fresh = HashMap::new();
        let mut rows = Vec::with_capacity(sources.len());
        for (place, source) in sources.iter().enumerate() {
            let entity = match source {
                Source::Old(place) => self.current[*place as usize],
                Source::New(labels) => {
                    let (entity, occurrence, new) = self.rows.meet(labels, number);
                    if new {
                        self.index.entities.push(Entity {
                            labels: labels.clone(),
                            occurrence,
                        });
                        self.seen.push(0);
                        for column in &mut self.columns {
                            column.runs.push(RunWriter::default());
                        }
                    }
                    fresh.insert(place, vec![Cell::Null; self.columns.len()]);
                    entity
                }
            };
            let stamp = &mut self.rows.stamps[entity as usize];
            if *stamp == number {
                return Err(Torn("a row is used twice"));
            }
            *stamp = number;
            rows.push(entity);
        }
        if self
            .index
            .orders
            .last()
            .is_none_or(|last| last.rows != rows)
        {
            self.index.orders.push(Order {
                frame: number,
                rows: rows.clone(),
            });
        }
        self.current = rows;
        Ok(fresh)
    }

    fn values(
        &mut self,
        frame: &Frame<'_>,
        mut fresh: HashMap<usize, Vec<Cell>>,
    ) -> Result<(), Torn> {
        let (slots, columns) = (&self.slots, &mut self.columns);
        let (current, seen) = (&self.current, &self.seen);
        frame.steps(
            |column| slots[column].is_some(),
            |column, row, step| {
                let slot = slots[column].ok_or(Torn("a label changed"))?;
                let entity = *current.get(row).ok_or(Torn("a row is out of range"))? as usize;
                let column = &mut columns[slot];
                if let Some(cells) = fresh.get_mut(&row) {
                    let Step::Set(value) = step else {
                        return Err(Torn("a difference to nothing"));
                    };
                    cells[slot] = column.dictionary.cell(value);
                    return Ok(());
                }
                match step {
                    Step::Grown(growth) => column.runs[entity].add(seen[entity], growth),
                    Step::Set(value) => {
                        let cell = column.dictionary.cell(value);
                        column.runs[entity].set(seen[entity], cell);
                        Ok(())
                    }
                }
            },
        )?;
        for (row, cells) in fresh {
            let entity = current[row] as usize;
            for (column, cell) in columns.iter_mut().zip(cells) {
                column.runs[entity].set(seen[entity], cell);
            }
        }
        Ok(())
    }

    /// Returns the segment.
    pub(super) fn finish(mut self) -> Segment {
        self.index.broken.sort_unstable();
        let mut columns: Vec<Option<Runs>> = self.slots.iter().map(|_| None).collect();
        let mut grown = self.columns.into_iter();
        for (column, slot) in columns.iter_mut().zip(&self.slots) {
            if slot.is_some() {
                *column = grown.next().and_then(Growing::finish);
            }
        }
        Segment {
            index: self.index,
            columns,
        }
    }
}

/// Many segments of one stream, in the order of time, as one.
pub(super) struct Merge {
    pub(super) index: Index,
    /// Per segment and entity there: the entity here.
    maps: Vec<Vec<u32>>,
    presences: Vec<Presence>,
    /// Per segment: how many of its first moments are left out.
    skipped: Vec<u32>,
}

impl Merge {
    pub(super) fn of(parts: &[&Index]) -> Merge {
        let mut merge = Merge {
            index: Index::default(),
            maps: Vec::new(),
            presences: Vec::new(),
            skipped: Vec::new(),
        };
        let mut rows: HashMap<Vec<u8>, u32> = HashMap::new();
        for (number, part) in parts.iter().enumerate() {
            let skipped = if number == 0 { 0 } else { part.first() as u32 };
            if number == 0 {
                merge.index.lead = part.lead;
            }
            let base = merge.index.moments.len() as u32;
            let map: Vec<u32> = part
                .entities
                .iter()
                .map(|entity| {
                    let mut key = Rows::key(&entity.labels);
                    put_uint(&mut key, u64::from(entity.occurrence));
                    let next = merge.index.entities.len() as u32;
                    *rows.entry(key).or_insert_with(|| {
                        merge.index.entities.push(entity.clone());
                        next
                    })
                })
                .collect();
            merge.add_moments(part, skipped);
            merge.add_orders(part, &map, base, skipped);
            for (entity, frame) in part.broken.iter().filter(|(_, frame)| *frame >= skipped) {
                let here = (map[*entity as usize], base + frame - skipped);
                merge.index.broken.push(here);
            }
            merge.maps.push(map);
            merge.presences.push(part.presence());
            merge.skipped.push(skipped);
        }
        merge.index.broken.sort_unstable();
        merge
    }

    fn add_moments(&mut self, part: &Index, skipped: u32) {
        for moment in &part.moments[skipped as usize..] {
            let epoch = &part.epochs[moment.epoch as usize];
            let epochs = &mut self.index.epochs;
            let known = epochs.iter().position(|known| known == epoch);
            let number = known.unwrap_or_else(|| {
                epochs.push(epoch.clone());
                epochs.len() - 1
            });
            self.index.moments.push(Moment {
                epoch: number as u32,
                ..*moment
            });
        }
    }

    fn add_orders(&mut self, part: &Index, map: &[u32], base: u32, skipped: u32) {
        for (number, order) in part.orders.iter().enumerate() {
            let next = part.orders.get(number + 1).map(|next| next.frame);
            if next.is_some_and(|next| next <= skipped) {
                continue;
            }
            let rows: Vec<u32> = order.rows.iter().map(|row| map[*row as usize]).collect();
            if self
                .index
                .orders
                .last()
                .is_none_or(|last| last.rows != rows)
            {
                self.index.orders.push(Order {
                    frame: base + order.frame.max(skipped) - skipped,
                    rows,
                });
            }
        }
    }

    /// Returns one column of all; `None` for segments that do not have it.
    pub(super) fn column(&self, parts: &[Option<Runs>]) -> Result<Option<Runs>, Torn> {
        if parts.iter().all(Option::is_none) {
            return Ok(None);
        }
        let mut column = Growing::default();
        let mut places = vec![0_u32; self.index.entities.len()];
        column.runs.resize_with(places.len(), RunWriter::default);
        for (number, runs) in parts.iter().enumerate() {
            for (entity, here) in self.maps[number].iter().enumerate() {
                let presence = &self.presences[number];
                // A row that is there in a frame that is left out is there at its beginning.
                let there = presence
                    .of(entity)
                    .first()
                    .is_some_and(|(from, _)| *from == 0);
                let skipped = if there { self.skipped[number] } else { 0 };
                let count = presence.count(entity);
                let place = &mut places[*here as usize];
                let writer = &mut column.runs[*here as usize];
                let Some(runs) = runs else {
                    writer.set(*place, Cell::Null);
                    *place += count - skipped;
                    continue;
                };
                let base = *place;
                let dictionary = &mut column.dictionary;
                run::spans(runs.run(entity), count, |start, length, cell| {
                    let from = start.max(skipped);
                    if from < start + length {
                        let cell = match cell {
                            Cell::Entry(_) => dictionary.cell(runs.value(cell)?),
                            cell => cell,
                        };
                        writer.set(base + from - skipped, cell);
                    }
                    Ok(())
                })?;
                *place += count - skipped;
            }
        }
        Ok(column.finish())
    }
}
