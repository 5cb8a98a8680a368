//! Reads what rows were at the moments of a stretch, of samples and of rollups alike.

use pawang_core::ColumnKind;

use super::super::encode::Torn;
use super::super::index::{Index, Presence};
use super::super::rollup::{self, Virtual, growth, number};
use super::super::run::Cell;
use super::super::segment::{Runs, Segment};
use super::step::Track;

const MICROS: f64 = 1e6;

/// Memory for the values of one row, used again for the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    cells: [Vec<Cell>; rollup::PARTS],
}

/// Fills the values of one row; frames at which counters cannot be compared are told by `breaks`.
pub(super) fn fill<'a>(
    runs: &Runs,
    entity: usize,
    presence: &Presence,
    count: usize,
    cells: &'a mut Vec<Cell>,
) -> Result<&'a [Cell], Torn> {
    cells.resize(count, Cell::Null);
    runs.cells(entity, presence, cells)?;
    Ok(cells)
}

/// Calls `each` with the frames at which the counters of a row can be compared with the frame before.
pub(super) fn comparable(index: &Index, entity: usize, mut each: impl FnMut(usize)) {
    let mut broken = index
        .broken(entity)
        .iter()
        .map(|(_, frame)| *frame as usize)
        .peekable();
    for frame in 1..index.moments.len() {
        if broken.next_if_eq(&frame).is_some() || !index.moments[frame].joined {
            continue;
        }
        each(frame);
    }
}

/// Adds one row and column of a stretch to a track.
pub(super) fn add(
    segment: &Segment,
    presence: &Presence,
    (column, kind): (usize, ColumnKind),
    entity: usize,
    resolution: u32,
    scratch: &mut Scratch,
    track: &mut Track,
) -> Result<(), Torn> {
    match (resolution, kind) {
        (0, ColumnKind::Counter) => add_counter(segment, presence, column, entity, scratch, track),
        (0, _) => add_gauge(segment, presence, column, entity, scratch, track),
        (_, kind) => add_rollup(segment, presence, (column, kind), entity, scratch, track),
    }
}

fn add_counter(
    segment: &Segment,
    presence: &Presence,
    column: usize,
    entity: usize,
    scratch: &mut Scratch,
    track: &mut Track,
) -> Result<(), Torn> {
    let Some(Some(runs)) = segment.columns.get(column) else {
        return Ok(());
    };
    let moments = &segment.index.moments;
    let cells = fill(runs, entity, presence, moments.len(), &mut scratch.cells[0])?;
    comparable(&segment.index, entity, |frame| {
        if let Some(growth) = growth(cells[frame - 1], cells[frame]) {
            let seconds = (moments[frame].at - moments[frame - 1].at) as f64 / MICROS;
            let rate = growth / seconds;
            track.add(frame, rate, (rate, rate), seconds);
        }
    });
    Ok(())
}

fn add_gauge(
    segment: &Segment,
    presence: &Presence,
    column: usize,
    entity: usize,
    scratch: &mut Scratch,
    track: &mut Track,
) -> Result<(), Torn> {
    let Some(Some(runs)) = segment.columns.get(column) else {
        return Ok(());
    };
    let count = segment.index.moments.len();
    let cells = fill(runs, entity, presence, count, &mut scratch.cells[0])?;
    for (frame, cell) in cells.iter().enumerate().skip(segment.index.first()) {
        if let Some(number) = number(*cell) {
            track.add(frame, number, (number, number), 1.0);
        }
    }
    Ok(())
}

fn add_rollup(
    segment: &Segment,
    presence: &Presence,
    (column, kind): (usize, ColumnKind),
    entity: usize,
    scratch: &mut Scratch,
    track: &mut Track,
) -> Result<(), Torn> {
    let moments = &segment.index.moments;
    let mut there = [false; rollup::PARTS];
    for (part, cells) in scratch.cells.iter_mut().enumerate() {
        if let Some(Some(runs)) = segment.columns.get(rollup::column(column, part)) {
            fill(runs, entity, presence, moments.len(), cells)?;
            there[part] = true;
        }
    }
    if !there[0] {
        return Ok(());
    }
    if kind == ColumnKind::Counter {
        let (lasts, rest) = scratch.cells.split_at_mut(1);
        let told = &rest[rollup::TOLD - 1];
        rollup::growths(
            &mut lasts[0],
            there[rollup::TOLD].then_some(told.as_slice()),
        );
    }
    for (frame, moment) in moments.iter().enumerate().skip(segment.index.first()) {
        let cell = |part: usize| match there[part] {
            true => scratch.cells[part][frame],
            false => Cell::Null,
        };
        let cells = [cell(0), cell(1), cell(2), cell(3), Cell::Null];
        let Some(seen) = rollup::read(kind, cells, moment) else {
            continue;
        };
        let Virtual {
            mean,
            low,
            high,
            weight,
        } = seen;
        track.add(frame, mean, (low, high), weight);
    }
    Ok(())
}
