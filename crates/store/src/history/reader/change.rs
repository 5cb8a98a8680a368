//! What changed: labels, rows and info columns. Stretches that say that nothing changed are not read.

use pawang_core::{ColumnKind, Value};

use super::super::encode::{join, same, split};
use super::super::index::{Entity, Presence};
use super::super::run::{self, Cell};
use super::super::segment::Segment;
use super::super::shelf::{Shelf, Stream, Stretch};
use super::super::{Change, Span};
use crate::Error;

/// Returns every change within a span, oldest first, at most `limit`.
pub(super) fn changes(
    shelf: &Shelf,
    streams: &[Stream],
    span: Span,
    limit: usize,
) -> Result<Vec<Change>, Error> {
    let window = (split(span.from).0, split(span.to).0);
    let mut all = Vec::new();
    for stream in streams {
        let mut stretches = shelf.sealed(stream.id, 0, window.0, window.1)?;
        stretches.extend(shelf.hot(stream.id)?);
        stretches.retain(|stretch| {
            stretch.changes > 0 && stretch.to_at >= window.0 && stretch.from_at <= window.1
        });
        stretches.sort_by_key(|stretch| stretch.from_at);
        let mut found = Vec::new();
        for stretch in &stretches {
            of_stretch(shelf, stream, stretch, window, &mut found)?;
            if found.len() >= limit {
                break;
            }
        }
        all.extend(found);
    }
    all.sort_by_key(|change: &Change| change.at);
    all.truncate(limit);
    Ok(all)
}

fn of_stretch(
    shelf: &Shelf,
    stream: &Stream,
    stretch: &Stretch,
    window: (i64, i64),
    changes: &mut Vec<Change>,
) -> Result<(), Error> {
    let columns = &stream.collector.columns;
    let info = |column: usize| columns[column].kind == ColumnKind::Info;
    let segment = shelf.load(stream, stretch, &info)?;
    let presence = segment.index.presence();
    let from = changes.len();
    let found = rows_that_came_and_went(&segment, &presence, stream, window, changes)
        .and_then(|()| values_that_changed(&segment, &presence, stream, window, changes));
    found.map_err(|torn| shelf.torn(torn))?;
    changes[from..].sort_by_key(|change| change.at);
    Ok(())
}

fn change(
    segment: &Segment,
    stream: &Stream,
    entity: &Entity,
    frame: u32,
) -> Result<Change, super::super::encode::Torn> {
    let moment = segment.index.moments[frame as usize];
    Ok(Change {
        at: join(moment.at, moment.nanos)?,
        database: stream.database.clone(),
        labels: entity.labels.iter().map(Value::to_string).collect(),
        column: None,
        before: None,
        after: None,
    })
}

fn rows_that_came_and_went(
    segment: &Segment,
    presence: &Presence,
    stream: &Stream,
    window: (i64, i64),
    changes: &mut Vec<Change>,
) -> Result<(), super::super::encode::Torn> {
    let index = &segment.index;
    let within = |frame: u32| {
        let moment = index.moments.get(frame as usize);
        frame > 0 && moment.is_some_and(|moment| (window.0..=window.1).contains(&moment.at))
    };
    let there = Some(Value::Bool(true));
    for (number, entity) in index.entities.iter().enumerate() {
        for (from, to) in presence.of(number) {
            if within(*from) {
                changes.push(Change {
                    after: there.clone(),
                    ..change(segment, stream, entity, *from)?
                });
            }
            if within(*to) {
                changes.push(Change {
                    before: there.clone(),
                    ..change(segment, stream, entity, *to)?
                });
            }
        }
    }
    Ok(())
}

fn values_that_changed(
    segment: &Segment,
    presence: &Presence,
    stream: &Stream,
    window: (i64, i64),
    changes: &mut Vec<Change>,
) -> Result<(), super::super::encode::Torn> {
    let index = &segment.index;
    for (number, column) in stream.collector.columns.iter().enumerate() {
        let Some(Some(runs)) = segment.columns.get(number) else {
            continue;
        };
        for (entity_number, entity) in index.entities.iter().enumerate() {
            let frames = Frames::new(presence.of(entity_number));
            let count = presence.count(entity_number);
            let mut before: Option<Cell> = None;
            run::spans(runs.run(entity_number), count, |place, _, cell| {
                let old = before.replace(cell);
                let Some((frame, stayed)) = frames.at(place) else {
                    return Ok(());
                };
                let at = index.moments[frame as usize].at;
                let Some(old) = old.filter(|_| stayed && (window.0..=window.1).contains(&at))
                else {
                    return Ok(());
                };
                let (old, new) = (runs.value(old)?, runs.value(cell)?);
                if !same(&old, &new) {
                    changes.push(Change {
                        column: Some(column.name.clone()),
                        before: Some(old),
                        after: Some(new),
                        ..change(segment, stream, entity, frame)?
                    });
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// The frames in which an entity is there.
struct Frames<'a>(&'a [(u32, u32)]);

impl<'a> Frames<'a> {
    fn new(intervals: &'a [(u32, u32)]) -> Frames<'a> {
        Frames(intervals)
    }

    /// Returns the frame at a place of a run, and whether the entity was there in the frame before.
    fn at(&self, place: u32) -> Option<(u32, bool)> {
        let mut before = 0;
        for (from, to) in self.0 {
            if place < before + to - from {
                return Some((from + place - before, place > before));
            }
            before += to - from;
        }
        None
    }
}
