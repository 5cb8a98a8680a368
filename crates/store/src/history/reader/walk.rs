//! Every snapshot of a span, one after the other, for whoever takes the history elsewhere.

use std::ops::{ControlFlow, Range};

use pawang_core::{Cost, Snapshot, Value};

use super::super::encode::{Torn, join, split};
use super::super::run::Cell;
use super::super::segment::Segment;
use super::super::shelf::{Shelf, Stream};
use super::Span;
use crate::Error;

/// Values that are held at once, so that a long stretch of many rows does not fill the memory.
const VALUES_MAX: usize = 1_000_000;

/// Calls `each` with every snapshot of the streams within a span: stream by stream, oldest first.
pub(super) fn walk(
    shelf: &Shelf,
    streams: &[Stream],
    span: Span,
    each: &mut dyn FnMut(Snapshot) -> ControlFlow<()>,
) -> Result<(), Error> {
    let (from, to) = (split(span.from).0, split(span.to).0);
    for stream in streams {
        let mut stretches = shelf.sealed(stream.id, 0, from, to)?;
        stretches.extend(shelf.hot(stream.id)?);
        stretches.retain(|stretch| stretch.first_at <= to && stretch.to_at >= from);
        for stretch in &stretches {
            let segment = shelf.load(stream, stretch, &|_| true)?;
            let moments = &segment.index.moments;
            let wanted = |frame: &usize| (from..=to).contains(&moments[*frame].at);
            let frames: Vec<usize> = (segment.index.first()..moments.len())
                .filter(wanted)
                .collect();
            let most = VALUES_MAX / (segment.index.entities.len() * segment.columns.len()).max(1);
            for window in frames
                .chunk_by(|a, b| a + 1 == *b)
                .flat_map(|run| run.chunks(most.max(1)))
            {
                let window = window[0]..window[window.len() - 1] + 1;
                let snapshots = snapshots(&segment, stream, window);
                for snapshot in snapshots.map_err(|torn| shelf.torn(torn))? {
                    if each(snapshot).is_break() {
                        return Ok(());
                    }
                }
            }
        }
    }
    Ok(())
}

/// Turns some frames of a segment back into snapshots.
fn snapshots(
    segment: &Segment,
    stream: &Stream,
    frames: Range<usize>,
) -> Result<Vec<Snapshot>, Torn> {
    let index = &segment.index;
    let mut snapshots = Vec::with_capacity(frames.len());
    for frame in frames.clone() {
        snapshots.push(without_values(segment, stream, frame)?);
    }
    let presence = index.presence();
    let mut cells = vec![Cell::Null; index.moments.len()];
    // Where each entity stands in each snapshot.
    let mut places: Vec<Vec<(usize, usize)>> = vec![Vec::new(); index.entities.len()];
    for (number, frame) in frames.clone().enumerate() {
        for (row, entity) in index.rows(frame as u32).iter().enumerate() {
            places[*entity as usize].push((number, row));
        }
    }
    for (column, runs) in segment.columns.iter().enumerate() {
        let Some(runs) = runs else { continue };
        for (entity, places) in places
            .iter()
            .enumerate()
            .filter(|(_, places)| !places.is_empty())
        {
            runs.cells(entity, &presence, &mut cells)?;
            for (number, row) in places {
                let value = runs.value(cells[frames.start + number])?;
                snapshots[*number].rows[*row][column] = value;
            }
        }
    }
    Ok(snapshots)
}

/// Returns a snapshot that has its rows and labels, and no values yet.
fn without_values(segment: &Segment, stream: &Stream, frame: usize) -> Result<Snapshot, Torn> {
    let (index, collector) = (&segment.index, &stream.collector);
    let moment = &index.moments[frame];
    let row = |entity: &u32| {
        let mut row = vec![Value::Null; collector.columns.len()];
        let labels = &index.entities[*entity as usize].labels;
        for (column, label) in collector.layout.labels.iter().zip(labels) {
            row[*column] = label.clone();
        }
        row
    };
    let rows: Vec<Vec<Value>> = index.rows(frame as u32).iter().map(row).collect();
    let count = (rows.len() as i64).wrapping_add(moment.count);
    Ok(Snapshot {
        collector: collector.name.clone(),
        database: stream.database.clone(),
        at: join(moment.at, moment.nanos)?,
        epoch: index.epochs[moment.epoch as usize].clone(),
        cost: Cost {
            elapsed: std::time::Duration::from_millis(moment.span_ms),
            rows: usize::try_from(count).unwrap_or(0),
        },
        columns: collector.columns.clone(),
        rows,
    })
}
