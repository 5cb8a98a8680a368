//! What a rollup keeps of a bucket: five columns for each counter and gauge.
//!
//! Of a counter: its last value, how far the slowest and the fastest rate were from the mean, for how long was seen where
//! that differs from the bucket, and growth where it is not the difference of last values. Of a gauge: last, last minus smallest, largest minus last, and where the mean is
//! between smallest and largest.

use pawang_core::{Column, ColumnKind};

use super::encode::Torn;
use super::index::{Index, Moment, Order, Presence};
use super::run::{Cell, RunWriter};
use super::segment::{Runs, Segment};

/// Columns of a rollup per column of a collector.
pub(super) const PARTS: usize = 5;
/// The part that tells growth where it is not the difference of last values.
pub(super) const TOLD: usize = 4;
/// Ratios of rates are kept to a hundredth, up or down.
const RATIO: f64 = 1.02;
/// Stands for a rate of zero, which no ratio reaches.
const ZERO: i64 = 10_000;
/// Means of gauges are kept to so many parts of the distance from smallest to largest.
const MEAN_PARTS: f64 = 255.0;
/// Most significant digits and most decimals of a float.
const DIGITS: i32 = 6;

/// What a bucket says of one row and column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Virtual {
    /// Rate per second of a counter, mean of a gauge.
    pub(super) mean: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// Seconds seen of a counter, samples of a gauge.
    pub(super) weight: f64,
}

/// Returns the number of a part of a column.
pub(super) fn column(column: usize, part: usize) -> usize {
    column * PARTS + part
}

/// Returns a number of any type.
pub(super) fn number(cell: Cell) -> Option<f64> {
    match cell {
        Cell::Int(number) => Some(number as f64),
        Cell::Float(number) if number.is_finite() => Some(number),
        _ => None,
    }
}

/// Returns how much a counter grew; `None` when that cannot be told.
pub(super) fn growth(before: Cell, after: Cell) -> Option<f64> {
    let growth = match (before, after) {
        (Cell::Int(before), Cell::Int(after)) => match after.checked_sub(before) {
            Some(growth) => growth as f64,
            None => after as f64 - before as f64,
        },
        (before, after) => number(after)? - number(before)?,
    };
    (growth >= 0.0).then_some(growth)
}

/// Returns the ratio of two rates that a cell stands for; most are one.
fn ratio(cell: Cell) -> f64 {
    match cell {
        Cell::Int(power) if power != 0 => RATIO.powi(power.clamp(0, ZERO) as i32),
        _ => 1.0,
    }
}

/// Turns the last values of a counter into growths; what cannot be told becomes NULL.
pub(super) fn growths(cells: &mut [Cell], told: Option<&[Cell]>) {
    let mut before = Cell::Null;
    for (frame, cell) in cells.iter_mut().enumerate() {
        let last = std::mem::replace(&mut before, *cell);
        let told = told.map_or(Cell::Null, |told| told[frame]);
        *cell = match (*cell, told, last) {
            // Floats are growths already.
            (Cell::Float(growth), _, _) => Cell::Float(growth),
            (Cell::Int(_), Cell::Int(growth), _) => Cell::Int(growth),
            (Cell::Int(now), Cell::Null, Cell::Int(last)) => match now.checked_sub(last) {
                Some(growth @ 0..) => Cell::Int(growth),
                _ => Cell::Null,
            },
            _ => Cell::Null,
        };
    }
}

/// Reads the cells of a bucket, of a counter with its growth; `None` is a gap.
pub(super) fn read(kind: ColumnKind, cells: [Cell; PARTS], moment: &Moment) -> Option<Virtual> {
    let first = number(cells[0])?;
    if kind == ColumnKind::Counter {
        let seconds = number(cells[3]).unwrap_or(moment.span_ms as f64) / 1e3;
        if seconds <= 0.0 {
            return None;
        }
        let mean = first / seconds;
        return Some(Virtual {
            mean,
            low: match cells[1] {
                Cell::Int(ZERO) => 0.0,
                cell => mean / ratio(cell),
            },
            high: mean * ratio(cells[2]),
            weight: seconds,
        });
    }
    let low = first - number(cells[1]).unwrap_or(0.0);
    let high = first + number(cells[2]).unwrap_or(0.0);
    let part = number(cells[3]).unwrap_or(0.0) / MEAN_PARTS;
    Some(Virtual {
        mean: low + (high - low) * part,
        low,
        high,
        weight: (moment.count as f64).max(1.0),
    })
}

/// Collectors whose rows count what was there: where a row is not there, nothing was. Else a session that was seen in one
/// sample of a bucket would count as if it had been there all the time.
const COUNTED: [&str; 1] = ["activity-history"];

/// The frames of a bucket.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    from: usize,
    to: usize,
    /// Microseconds that belong to pairs of samples that can be compared.
    seen: i64,
}

/// Rolls a segment of samples up; `None` when it has nothing that can be.
pub(super) fn roll_up(
    segment: &Segment,
    (collector, columns): (&str, &[Column]),
    resolution: u32,
) -> Result<Option<Segment>, Torn> {
    let counted = COUNTED.contains(&collector);
    let index = &segment.index;
    let buckets = buckets(index, i64::from(resolution) * 1_000_000);
    let presence = index.presence();
    let mut out = Segment {
        index: rolled_index(index, &buckets, &presence),
        columns: Vec::new(),
    };
    let rolled = out.index.presence();
    out.columns.resize_with(columns.len() * PARTS, || None);
    let mut any = false;
    for (number, column) in columns.iter().enumerate() {
        if !matches!(column.kind, ColumnKind::Counter | ColumnKind::Gauge) {
            continue;
        }
        let Some(Some(runs)) = segment.columns.get(number) else {
            continue;
        };
        let mut cells = vec![Cell::Null; index.moments.len()];
        let mut parts: [Runs; PARTS] = Default::default();
        for entity in 0..index.entities.len() {
            runs.cells(entity, &presence, &mut cells)?;
            let mut writers: [RunWriter; PARTS] = Default::default();
            let mut before = None;
            let frames = rolled.of(entity).iter().flat_map(|(from, to)| *from..*to);
            for (place, frame) in frames.enumerate() {
                let bucket = &buckets[frame as usize];
                let kept = match column.kind {
                    ColumnKind::Counter => {
                        let grown = counter(index, entity, &cells, bucket);
                        let seen = &cells[bucket.from..bucket.to];
                        let mut kept = last_and_told(grown, seen, frame, &mut before);
                        if index.lead && frame == 0 {
                            kept[TOLD] = Cell::Null;
                        }
                        kept
                    }
                    _ if counted => gauge(&zeroed(&cells[bucket.from..bucket.to])),
                    _ => gauge(&cells[bucket.from..bucket.to]),
                };
                for (writer, cell) in writers.iter_mut().zip(kept) {
                    writer.set(place as u32, cell);
                }
            }
            for (part, writer) in parts.iter_mut().zip(&writers) {
                part.bytes.extend_from_slice(writer.bytes());
                part.ends.push(part.bytes.len() as u32);
            }
        }
        for (part, runs) in parts.into_iter().enumerate() {
            if !runs.bytes.is_empty() {
                any = true;
                out.columns[self::column(number, part)] = Some(runs);
            }
        }
    }
    Ok(any.then_some(out))
}

/// Puts frames into buckets; each has its end and not its beginning. A lead is a bucket by itself.
fn buckets(index: &Index, length: i64) -> Vec<Bucket> {
    let lead = Bucket {
        from: 0,
        to: 1,
        seen: 0,
    };
    let mut buckets: Vec<Bucket> = Vec::from_iter(index.lead.then_some(lead));
    let mut current = None;
    for (frame, moment) in index.moments.iter().enumerate().skip(index.first()) {
        let number = (moment.at - 1).div_euclid(length);
        if current != Some(number) {
            current = Some(number);
            buckets.push(Bucket {
                from: frame,
                to: frame,
                seen: 0,
            });
        }
        let bucket = buckets.last_mut().expect("a bucket was just added");
        bucket.to = frame + 1;
        if moment.joined && frame > 0 {
            bucket.seen += moment.at - index.moments[frame - 1].at;
        }
    }
    buckets
}

fn rolled_index(index: &Index, buckets: &[Bucket], presence: &Presence) -> Index {
    let mut rolled = Index {
        lead: index.lead,
        epochs: vec![None],
        entities: index.entities.clone(),
        ..Index::default()
    };
    for bucket in buckets {
        let frames = &index.moments[bucket.from..bucket.to];
        rolled.moments.push(Moment {
            at: frames[frames.len() - 1].at,
            joined: frames.iter().all(|moment| moment.joined),
            span_ms: milliseconds(bucket.seen).unsigned_abs(),
            count: frames.len() as i64,
            ..Moment::default()
        });
    }
    let steady = index.orders.len() <= 1;
    for (number, bucket) in buckets.iter().enumerate() {
        if steady && number > 0 {
            break;
        }
        let (first, end) = (bucket.from as u32, bucket.to as u32);
        let there = |entity: &usize| {
            let mut intervals = presence.of(*entity).iter();
            intervals.any(|(from, to)| *from < end && first < *to)
        };
        let rows = (0..index.entities.len()).filter(there);
        let rows: Vec<u32> = rows.map(|entity| entity as u32).collect();
        if rolled.orders.last().is_none_or(|last| last.rows != rows) {
            rolled.orders.push(Order {
                frame: number as u32,
                rows,
            });
        }
    }
    rolled
}

/// Keeps the last value of a counter in the place of its growth, which is then mostly a difference; `before` is the
/// bucket before and its last value. As one number after the other, last values take less space than growths.
fn last_and_told(
    mut kept: [Cell; PARTS],
    cells: &[Cell],
    frame: u32,
    before: &mut Option<(u32, i64)>,
) -> [Cell; PARTS] {
    let last = cells.iter().rev().find_map(|cell| match cell {
        Cell::Int(number) => Some(*number),
        _ => None,
    });
    let (Some(last), Cell::Int(_) | Cell::Null) = (last, kept[0]) else {
        *before = None;
        return kept;
    };
    let difference = before
        .filter(|(number, _)| number + 1 == frame)
        .and_then(|(_, before)| last.checked_sub(before));
    kept[TOLD] = match kept[0] {
        Cell::Int(growth) if difference == Some(growth) => Cell::Null,
        Cell::Int(growth) => Cell::Int(growth),
        _ => Cell::Bool(false),
    };
    kept[0] = Cell::Int(last);
    *before = Some((frame, last));
    kept
}

fn milliseconds(micros: i64) -> i64 {
    (micros + 500).div_euclid(1000)
}

fn counter(index: &Index, entity: usize, cells: &[Cell], bucket: &Bucket) -> [Cell; PARTS] {
    let broken = index.broken(entity);
    let mut whole = Some(0_i64);
    let (mut sum, mut seen, mut pairs) = (0.0, 0_i64, 0);
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for frame in bucket.from.max(1)..bucket.to {
        let torn = broken.binary_search(&(entity as u32, frame as u32)).is_ok();
        if torn || !index.moments[frame].joined {
            continue;
        }
        let Some(growth) = growth(cells[frame - 1], cells[frame]) else {
            continue;
        };
        let step = index.moments[frame].at - index.moments[frame - 1].at;
        whole = match (cells[frame - 1], cells[frame]) {
            (Cell::Int(before), Cell::Int(after)) => {
                let growth = after.checked_sub(before);
                whole
                    .zip(growth)
                    .and_then(|(sum, growth)| sum.checked_add(growth))
            }
            _ => None,
        };
        sum += growth;
        seen += step;
        pairs += 1;
        let rate = growth / (step as f64 / 1e6);
        (low, high) = (low.min(rate), high.max(rate));
    }
    if pairs == 0 {
        return [Cell::Null; PARTS];
    }
    let mean = sum / (seen as f64 / 1e6);
    let (mut below, mut above) = (0, 0);
    if pairs > 1 && mean > 0.0 {
        below = if low <= 0.0 {
            ZERO
        } else {
            ((mean / low).ln() / RATIO.ln()).round() as i64
        };
        above = ((high / mean).ln() / RATIO.ln()).round() as i64;
    }
    [
        whole.map_or_else(|| Cell::Float(quantised(sum)), Cell::Int),
        Cell::Int(below.clamp(0, ZERO)),
        Cell::Int(above.clamp(0, ZERO)),
        if seen == bucket.seen {
            Cell::Null
        } else {
            Cell::Int(milliseconds(seen))
        },
        Cell::Null,
    ]
}

/// Returns the cells of a row that counts something, with none where the row was not there.
fn zeroed(cells: &[Cell]) -> Vec<Cell> {
    let zero = |cell: &Cell| match cell {
        Cell::Null => Cell::Int(0),
        cell => *cell,
    };
    cells.iter().map(zero).collect()
}

fn gauge(cells: &[Cell]) -> [Cell; PARTS] {
    let whole = cells
        .iter()
        .all(|cell| matches!(cell, Cell::Int(_) | Cell::Null));
    let numbers = || cells.iter().filter_map(|cell| number(*cell));
    let Some(last) = numbers().next_back() else {
        return [Cell::Null; PARTS];
    };
    let (mut low, mut high, mut sum, mut count) = (last, last, 0.0, 0.0);
    for number in numbers() {
        (low, high) = (low.min(number), high.max(number));
        (sum, count) = (sum + number, count + 1.0);
    }
    let part = if high > low {
        (((sum / count - low) / (high - low)) * MEAN_PARTS).round() as i64
    } else {
        0
    };
    let cell = |number: f64| {
        if whole {
            Cell::Int(number as i64)
        } else {
            Cell::Float(quantised(number))
        }
    };
    // Integers beyond 2^53, such as positions in WAL, are exact only where they come from.
    let last_cell = match cells.iter().rev().find(|cell| **cell != Cell::Null) {
        Some(Cell::Int(number)) if whole => Cell::Int(*number),
        _ => cell(last),
    };
    [
        last_cell,
        cell(last - low),
        cell(high - last),
        Cell::Int(part),
        Cell::Null,
    ]
}

/// Returns a float with at most [`DIGITS`] significant digits and decimals, unless it is too large for that.
fn quantised(number: f64) -> f64 {
    if number == 0.0 || !number.is_finite() {
        return 0.0;
    }
    let magnitude = number.abs().log10().floor() as i32;
    let power = 10_f64.powi((DIGITS - 1 - magnitude).clamp(0, DIGITS));
    let rounded = (number * power).round() / power;
    if rounded == 0.0 { 0.0 } else { rounded }
}
