//! How much counters grew, and where gauges ended.

use std::collections::BTreeMap;

use pawang_core::{ColumnKind, Value};

use super::super::encode::{Torn, split};
use super::super::index::Presence;
use super::super::rollup::{self as format, growth as grown, number};
use super::super::run::Cell;
use super::super::segment::Segment;
use super::super::shelf::{Shelf, Stream};
use super::super::{Growth, GrowthQuery};
use super::plan::{Choice, Window, plan};
use super::rollup::{comparable, fill};
use crate::Error;
use crate::history::GROWTH_ROWS_MAX;

/// Spans up to this length are answered from samples, longer ones from rollups and the samples of their end.
const SAMPLES_SPAN: i64 = 26 * 3_600_000_000;
/// The end of a longer span that is answered from samples.
const SAMPLES_END: i64 = 7_200_000_000;
/// The coarsest buckets.
const BUCKET: i64 = 600_000_000;
const MICROS: f64 = 1e6;

/// One row while it is summed up.
#[derive(Clone, Debug)]
struct Summing {
    growth: Vec<Option<f64>>,
    first: Vec<Option<f64>>,
    last: Vec<Option<f64>>,
    seconds: f64,
}

/// Rows by database and labels.
type Rows = BTreeMap<(Option<String>, Vec<String>), Summing>;

/// A column of the query: its number there, its number in the collector, its kind.
type Asked = (usize, usize, ColumnKind);

/// Returns how much counters grew, and where gauges ended.
pub(super) fn growth(shelf: &Shelf, query: &GrowthQuery<'_>) -> Result<Vec<Growth>, Error> {
    let span = (split(query.span.from).0, split(query.span.to).0);
    let mut rows = Rows::new();
    let mut kinds = vec![ColumnKind::Counter; query.columns.len()];
    for stream in shelf.streams(query.instance, Some(query.collector))? {
        if query.database.is_some() && stream.database.as_deref() != query.database {
            continue;
        }
        let declared = &stream.collector.columns;
        let asked: Vec<Asked> = query
            .columns
            .iter()
            .enumerate()
            .filter_map(|(asked, name)| {
                let column = declared.iter().position(|column| column.name == *name)?;
                let kind = declared[column].kind;
                let number = matches!(kind, ColumnKind::Counter | ColumnKind::Gauge);
                number.then_some((asked, column, kind))
            })
            .collect();
        for (asked, _, kind) in &asked {
            kinds[*asked] = *kind;
        }
        for choice in choices(shelf, &stream, span)? {
            add(
                shelf,
                &stream,
                &choice,
                span,
                &asked,
                query.columns.len(),
                &mut rows,
            )?;
        }
    }
    let summed = rows.into_iter().map(|((database, labels), row)| Growth {
        database,
        labels,
        growth: (0..row.growth.len())
            .map(|column| match kinds[column] {
                ColumnKind::Counter => row.growth[column],
                _ => Some(row.last[column]? - row.first[column]?),
            })
            .collect(),
        last: row.last,
        seconds: row.seconds,
    });
    Ok(summed.collect())
}

fn choices(shelf: &Shelf, stream: &Stream, span: Window) -> Result<Vec<Choice>, Error> {
    // The first sample of the span is at its beginning, which windows do not have.
    let span = (span.0.saturating_sub(1), span.1);
    if span.1.saturating_sub(span.0) <= SAMPLES_SPAN {
        return plan(shelf, stream, span, &[0, 60, 600]);
    }
    // Buckets are not cut: rollups answer from the end of one to the end of another.
    let begin = (span.0 + BUCKET).div_euclid(BUCKET) * BUCKET;
    let end = (span.1 - SAMPLES_END).div_euclid(BUCKET) * BUCKET;
    let mut choices = plan(shelf, stream, (span.0, begin), &[0, 60, 600])?;
    choices.extend(plan(shelf, stream, (begin, end), &[600, 60, 0])?);
    choices.extend(plan(shelf, stream, (end, span.1), &[0, 60, 600])?);
    Ok(choices)
}

fn add(
    shelf: &Shelf,
    stream: &Stream,
    choice: &Choice,
    span: Window,
    asked: &[Asked],
    count: usize,
    rows: &mut Rows,
) -> Result<(), Error> {
    let resolution = choice.stretch.resolution;
    let wanted = |column: usize| {
        let column = if resolution == 0 {
            column
        } else {
            column / format::PARTS
        };
        asked.iter().any(|(_, wanted, _)| *wanted == column)
    };
    let segment = shelf.load(stream, &choice.stretch, &wanted)?;
    let presence = segment.index.presence();
    let mut cells = Vec::new();
    for (number, entity) in segment.index.entities.iter().enumerate() {
        let labels = entity.labels.iter().map(Value::to_string).collect();
        let key = (stream.database.clone(), labels);
        if !rows.contains_key(&key) && rows.len() >= GROWTH_ROWS_MAX {
            continue;
        }
        let row = rows.entry(key).or_insert_with(|| Summing {
            growth: vec![None; count],
            first: vec![None; count],
            last: vec![None; count],
            seconds: 0.0,
        });
        let part = Part {
            segment: &segment,
            presence: &presence,
            entity: number,
            window: choice.window,
            span,
        };
        let added = if resolution == 0 {
            part.samples(asked, row, &mut cells)
        } else {
            part.rollup(asked, row, &mut cells)
        };
        added.map_err(|torn| shelf.torn(torn))?;
    }
    // Rows that were only a lead, or outside the window, were not seen.
    rows.retain(|_, row| {
        row.seconds > 0.0
            || row.last.iter().any(Option::is_some)
            || row.growth.iter().any(Option::is_some)
    });
    Ok(())
}

/// One row of a stretch.
struct Part<'a> {
    segment: &'a Segment,
    presence: &'a Presence,
    entity: usize,
    window: Window,
    span: Window,
}

impl Part<'_> {
    fn within(&self, at: i64) -> bool {
        at > self.window.0 && at <= self.window.1
    }

    fn samples(
        &self,
        asked: &[Asked],
        row: &mut Summing,
        cells: &mut Vec<Cell>,
    ) -> Result<(), Torn> {
        let index = &self.segment.index;
        let moments = &index.moments;
        let mut pairs = Vec::new();
        comparable(index, self.entity, |frame| {
            let (before, after) = (moments[frame - 1].at, moments[frame].at);
            if before >= self.span.0 && self.within(after) {
                pairs.push(frame);
            }
        });
        let there = |frame: usize| {
            let intervals = self.presence.of(self.entity).iter();
            let frame = frame as u32;
            intervals
                .clone()
                .any(|(from, to)| *from < frame && frame < *to)
        };
        pairs.retain(|frame| there(*frame));
        for frame in &pairs {
            row.seconds += (moments[*frame].at - moments[*frame - 1].at) as f64 / MICROS;
        }
        for (asked, column, kind) in asked {
            let Some(Some(runs)) = self.segment.columns.get(*column) else {
                continue;
            };
            let cells = fill(runs, self.entity, self.presence, moments.len(), cells)?;
            for (frame, cell) in cells.iter().enumerate().skip(index.first()) {
                if self.within(moments[frame].at)
                    && let Some(value) = number(*cell)
                {
                    row.first[*asked].get_or_insert(value);
                    row.last[*asked] = Some(value);
                }
            }
            if *kind == ColumnKind::Counter {
                for frame in &pairs {
                    if let Some(growth) = grown(cells[frame - 1], cells[*frame]) {
                        *row.growth[*asked].get_or_insert(0.0) += growth;
                    }
                }
            }
        }
        Ok(())
    }

    fn rollup(
        &self,
        asked: &[Asked],
        row: &mut Summing,
        cells: &mut Vec<Cell>,
    ) -> Result<(), Torn> {
        let moments = &self.segment.index.moments;
        self.rollup_seconds(asked, row, cells)?;
        for (asked, column, kind) in asked {
            if !self.rollup_cells(*column, 0, cells)? {
                continue;
            }
            for (moment, cell) in moments.iter().zip(&*cells) {
                // A float counter has its growth there, no last value.
                let last = *kind != ColumnKind::Counter || matches!(cell, Cell::Int(_));
                if let Some(value) = number(*cell).filter(|_| last && self.within(moment.at)) {
                    row.first[*asked].get_or_insert(value);
                    row.last[*asked] = Some(value);
                }
            }
            if *kind == ColumnKind::Counter {
                self.rollup_growths(*column, cells)?;
                for (moment, cell) in moments.iter().zip(&*cells) {
                    if let Some(growth) = number(*cell).filter(|_| self.within(moment.at)) {
                        *row.growth[*asked].get_or_insert(0.0) += growth;
                    }
                }
            }
        }
        Ok(())
    }

    /// Fills one part of a rolled-up column; says whether there is any.
    fn rollup_cells(
        &self,
        column: usize,
        part: usize,
        cells: &mut Vec<Cell>,
    ) -> Result<bool, Torn> {
        let column = self.segment.columns.get(format::column(column, part));
        let Some(Some(runs)) = column else {
            return Ok(false);
        };
        let count = self.segment.index.moments.len();
        fill(runs, self.entity, self.presence, count, cells)?;
        Ok(true)
    }

    /// Turns the last values of a counter into growths.
    fn rollup_growths(&self, column: usize, cells: &mut [Cell]) -> Result<(), Torn> {
        let mut told = Vec::new();
        let any = self.rollup_cells(column, format::TOLD, &mut told)?;
        format::growths(cells, any.then_some(told.as_slice()));
        Ok(())
    }

    /// Adds for how long growth could be told: of the first counter that is asked for, else of the buckets.
    fn rollup_seconds(
        &self,
        asked: &[Asked],
        row: &mut Summing,
        cells: &mut Vec<Cell>,
    ) -> Result<(), Torn> {
        let moments = &self.segment.index.moments;
        let mut spans: Vec<f64> = moments.iter().map(|moment| moment.span_ms as f64).collect();
        let mut counters = asked
            .iter()
            .filter(|(_, _, kind)| *kind == ColumnKind::Counter);
        if let Some((_, column, _)) = counters.next() {
            if !self.rollup_cells(*column, 0, cells)? {
                return Ok(());
            }
            self.rollup_growths(*column, cells)?;
            for (span, cell) in spans.iter_mut().zip(&*cells) {
                *span = number(*cell).map_or(0.0, |_| *span);
            }
            if self.rollup_cells(*column, 3, cells)? {
                for (span, cell) in spans.iter_mut().zip(&*cells) {
                    *span = number(*cell).unwrap_or(*span);
                }
            }
        } else {
            let there = self.presence.of(self.entity);
            for (frame, span) in (0_u32..).zip(&mut spans) {
                if !there.iter().any(|(from, to)| (*from..*to).contains(&frame)) {
                    *span = 0.0;
                }
            }
        }
        let timed = moments.iter().zip(spans);
        let within = timed.filter(|(moment, _)| self.within(moment.at));
        row.seconds += within.map(|(_, span)| span / 1e3).sum::<f64>();
        Ok(())
    }
}
