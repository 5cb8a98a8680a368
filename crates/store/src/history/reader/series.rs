//! Values over time.

use std::collections::BTreeMap;
use std::time::Duration;

use pawang_core::{ColumnKind, Value};

use super::super::encode::{join, split};
use super::super::rollup;
use super::super::segment::Segment;
use super::super::shelf::{Shelf, Stream};
use super::super::{Fold, Rows, Series, SeriesQuery};
use super::plan::{Choice, Window, plan};
use super::rollup::{Scratch, add};
use super::step::{Buckets, Grid, Track};
use crate::Error;
use crate::history::{POINTS_MAX, SERIES_MAX, STEPS_MAX};

/// One series while it is filled.
struct Filling {
    kind: ColumnKind,
    unit: Option<String>,
    buckets: Buckets,
}

/// Series by database, labels and number of the column in the query.
type Filled = BTreeMap<(Option<String>, Vec<String>, usize), Filling>;

/// Returns values over time.
pub(super) fn series(shelf: &Shelf, query: &SeriesQuery<'_>) -> Result<Vec<Series>, Error> {
    let span = (split(query.span.from).0, split(query.span.to).0);
    if span.0 >= span.1 || query.columns.is_empty() {
        return Ok(Vec::new());
    }
    let mut streams = shelf.streams(query.instance, Some(query.collector))?;
    streams
        .retain(|stream| query.database.is_none() || stream.database.as_deref() == query.database);
    let step = match query.step {
        Some(step) => step,
        None => stored_step(shelf, &streams, span)?,
    };
    let grid = Grid::new(span, step, POINTS_MAX);
    streams.sort_by(|one, other| (&one.database, one.id).cmp(&(&other.database, other.id)));
    let mut filled = Filled::new();
    // Two versions of a collector's columns are two streams of one database, one after the other in time.
    for versions in streams.chunk_by(|one, other| one.database == other.database) {
        let mut here = Filled::new();
        for stream in versions {
            let usual = shelf.usual(stream.id, span.0, span.1)?;
            let resolutions = preferred(grid.step, usual.unwrap_or(0));
            for choice in plan(shelf, stream, (grid.from, span.1), &resolutions)? {
                fill(shelf, stream, &choice, query, &grid, &mut here)?;
            }
        }
        merge(&mut filled, here, query);
    }
    finish(shelf, filled, query, &grid)
}

/// Returns resolutions in the order in which they answer for a step; samples as far apart as buckets answer themselves.
fn preferred(step: i64, usual: i64) -> [u32; 3] {
    match step / 1_000_000 {
        600.. if usual < 300_000_000 => [600, 60, 0],
        60.. if usual >= 59_000_000 => [0, 60, 600],
        60.. => [60, 0, 600],
        _ => [0, 60, 600],
    }
}

/// Returns the step of the finest resolution that is stored for the beginning of a span.
fn stored_step(shelf: &Shelf, streams: &[Stream], span: Window) -> Result<Duration, Error> {
    let mut step: Option<i64> = None;
    for stream in streams {
        let choices = plan(shelf, stream, span, &[0, 60, 600])?;
        let Some(first) = choices.first() else {
            continue;
        };
        let found = match first.stretch.resolution {
            0 => {
                let segment = shelf.load(stream, &first.stretch, &|_| false)?;
                let ats: Vec<i64> = segment
                    .index
                    .moments
                    .iter()
                    .map(|moment| moment.at)
                    .collect();
                let usual = super::super::shelf::usual_interval(&ats);
                // Samples come a little early or late: whole seconds are meant.
                (usual != i64::MAX).then(|| ((usual + 500_000) / 1_000_000).max(1) * 1_000_000)
            }
            resolution => Some(i64::from(resolution) * 1_000_000),
        };
        if let Some(found) = found {
            step = Some(step.map_or(found, |step| step.min(found)));
        }
    }
    Ok(Duration::from_micros(
        step.unwrap_or(60_000_000).unsigned_abs(),
    ))
}

fn fill(
    shelf: &Shelf,
    stream: &Stream,
    choice: &Choice,
    query: &SeriesQuery<'_>,
    grid: &Grid,
    filled: &mut Filled,
) -> Result<(), Error> {
    let resolution = choice.stretch.resolution;
    let declared = &stream.collector.columns;
    let columns: Vec<(usize, usize)> = query
        .columns
        .iter()
        .enumerate()
        .filter_map(|(asked, name)| {
            let column = declared.iter().position(|column| column.name == *name)?;
            let kind = declared[column].kind;
            let number = matches!(kind, ColumnKind::Counter | ColumnKind::Gauge);
            number.then_some((asked, column))
        })
        .collect();
    let wanted = |column: usize| {
        let column = if resolution == 0 {
            column
        } else {
            column / rollup::PARTS
        };
        columns.iter().any(|(_, wanted)| *wanted == column)
    };
    let segment = shelf.load(stream, &choice.stretch, &wanted)?;
    let groups = groups(&segment, stream, query);
    let presence = segment.index.presence();
    let (mut scratch, mut track) = (Scratch::default(), Track::default());
    let moments = &segment.index.moments;
    let steps = filled.len() * grid.count;
    let mut room = (STEPS_MAX.saturating_sub(steps) / grid.count.max(1)).min(SERIES_MAX);
    for (labels, entities) in &groups {
        for (asked, column) in &columns {
            let key = (stream.database.clone(), labels.clone(), *asked);
            if !filled.contains_key(&key) {
                if room == 0 || filled.len() >= SERIES_MAX {
                    continue;
                }
                room -= 1;
            }
            let kind = declared[*column].kind;
            track.clear(moments.len());
            for entity in entities {
                let one = (*column, kind);
                add(
                    &segment,
                    &presence,
                    one,
                    *entity,
                    resolution,
                    &mut scratch,
                    &mut track,
                )
                .map_err(|torn| shelf.torn(torn))?;
            }
            let filling = filled.entry(key).or_insert_with(|| Filling {
                kind,
                unit: declared[*column].unit.clone(),
                buckets: Buckets::new(grid.count),
            });
            let buckets = &mut filling.buckets;
            if kind == ColumnKind::Counter {
                buckets.add_rates(grid, choice.window, moments, &track);
            } else {
                let reach = i64::from(resolution) * 1_000_000;
                buckets.add_values(grid, choice.window, moments, &track, reach);
            }
        }
    }
    Ok(())
}

/// Returns the entities of every series, by the labels that tell it apart.
fn groups(
    segment: &Segment,
    stream: &Stream,
    query: &SeriesQuery<'_>,
) -> BTreeMap<Vec<String>, Vec<usize>> {
    let names: Vec<&str> = stream
        .collector
        .layout
        .labels
        .iter()
        .map(|label| stream.collector.columns[*label].name.as_str())
        .collect();
    let mut groups: BTreeMap<Vec<String>, Vec<usize>> = BTreeMap::new();
    for (number, entity) in segment.index.entities.iter().enumerate() {
        let labels: Vec<String> = entity.labels.iter().map(Value::to_string).collect();
        if let Rows::Only(wanted) = query.rows
            && !wanted.contains(&labels)
        {
            continue;
        }
        let labels = match query.fold {
            Fold::Each => labels,
            Fold::SumBy(by) => by
                .iter()
                .map(|by| {
                    let place = names.iter().position(|name| name == by);
                    place.map_or_else(String::new, |place| labels[place].clone())
                })
                .collect(),
        };
        groups.entry(labels).or_default().push(number);
    }
    groups
}

/// Adds the series of one database to those of the others: sums of all databases are one sum.
fn merge(filled: &mut Filled, stream: Filled, query: &SeriesQuery<'_>) {
    let one_sum = matches!(query.fold, Fold::SumBy(_)) && query.database.is_none();
    for ((database, labels, column), filling) in stream {
        let database = if one_sum { None } else { database };
        match filled.entry((database, labels, column)) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(filling);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                entry.get_mut().buckets.join(&filling.buckets);
            }
        }
    }
}

fn finish(
    shelf: &Shelf,
    filled: Filled,
    query: &SeriesQuery<'_>,
    grid: &Grid,
) -> Result<Vec<Series>, Error> {
    let filled = filled
        .into_iter()
        .filter(|(_, filling)| !filling.buckets.is_empty());
    let series = filled
        .take(SERIES_MAX)
        .map(|((database, labels, column), filling)| {
            let instant = |at| join(at, 0);
            let points = filling.buckets.points(grid, instant);
            Ok(Series {
                database,
                labels,
                column: query.columns[column].to_owned(),
                kind: filling.kind,
                unit: filling.unit,
                step: Duration::from_micros(grid.step.unsigned_abs()),
                points: points.map_err(|torn| shelf.torn(torn))?,
            })
        });
    series.collect()
}
