//! Values over time as pages need them: sums, differences, active sessions by what they wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pawang_core::Timestamp;
use pawang_store::history::{
    Fold, Growth, GrowthQuery, Point, Reading, Rows, Series, SeriesQuery, Span,
};

use crate::page::{PageError, Visit};

/// Points that a chart needs; finer steps are not asked for.
const POINTS_MAX: u32 = 300;
/// The interval of collectors that tables, indexes and statements are seen by.
const MINUTE: Duration = Duration::from_secs(60);
/// Spans up to this length are answered from every sample where sessions are counted: a session that was there for one
/// sample of many is not there for all of them.
const SAMPLED_EXACTLY: Duration = Duration::from_secs(6 * 3_600 + 600);
/// What a session without a wait event does.
const CPU: &str = "CPU";
/// The class of sessions that hold a transaction open and use nothing: no load.
const IDLE_IN_TRANSACTION: &str = "Idle in transaction";

/// What is asked of the history for one chart.
pub(crate) struct Ask<'a> {
    /// The collector.
    pub collector: &'a str,
    /// The database it was read in; `None` means all.
    pub database: Option<&'a str>,
    /// Counters (answered per second) and gauges.
    pub columns: &'a [&'a str],
    /// Which rows.
    pub rows: Rows<'a>,
    /// Whether rows are told apart.
    pub fold: Fold<'a>,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Ask {
            collector: "",
            database: None,
            columns: &[],
            rows: Rows::All,
            fold: Fold::SumBy(&[]),
        }
    }
}

/// Returns the step of charts over a span; `None` where everything that is stored is little enough.
fn step(span: Span) -> Option<Duration> {
    let step = span.from.duration_until(span.to).unsigned_abs() / POINTS_MAX;
    (step > MINUTE).then_some(step)
}

/// Returns values over the range of the visit.
///
/// # Errors
/// The history does not answer.
pub(crate) fn series(
    visit: &Visit<'_>,
    name: &str,
    ask: &Ask<'_>,
) -> Result<Vec<Series>, PageError> {
    Ok(visit.reader.series(&SeriesQuery {
        instance: name,
        collector: ask.collector,
        database: ask.database,
        columns: ask.columns,
        rows: ask.rows,
        fold: ask.fold,
        span: visit.range.span,
        step: step(visit.range.span),
    })?)
}

/// Returns each column summed over all rows and databases, in the order asked for; empty ones where nothing was seen.
///
/// # Errors
/// The history does not answer.
pub(crate) fn single(
    visit: &Visit<'_>,
    name: &str,
    ask: &Ask<'_>,
) -> Result<Vec<Series>, PageError> {
    let mut found = series(visit, name, ask)?;
    let columns = ask.columns.iter().map(|column| {
        let (own, rest) = std::mem::take(&mut found)
            .into_iter()
            .partition(|series| series.column == *column);
        found = rest;
        summed(column, own)
    });
    Ok(columns.collect())
}

/// Returns the sum of several series; a step that none of them saw is a gap.
pub(crate) fn summed(column: &str, mut all: Vec<Series>) -> Series {
    if all.len() == 1 {
        return all.swap_remove(0);
    }
    let mut points: BTreeMap<Timestamp, Option<Reading>> = BTreeMap::new();
    for point in all.iter().flat_map(|series| &series.points) {
        let sum = points.entry(point.at).or_default();
        *sum = match (*sum, point.reading) {
            (Some(a), Some(b)) => Some(Reading {
                mean: a.mean + b.mean,
                min: a.min + b.min,
                max: a.max + b.max,
            }),
            (a, b) => a.or(b),
        };
    }
    let like = all.first();
    Series {
        database: None,
        labels: Vec::new(),
        column: column.to_owned(),
        kind: like.map_or(pawang_core::ColumnKind::Gauge, |series| series.kind),
        unit: like.and_then(|series| series.unit.clone()),
        step: like.map_or(MINUTE, |series| series.step),
        points: points
            .into_iter()
            .map(|(at, reading)| Point { at, reading })
            .collect(),
    }
}

/// Returns a series computed from two, step by step; `None` from `with` is a gap.
pub(crate) fn combine(a: &Series, b: &Series, with: impl Fn(f64, f64) -> Option<f64>) -> Series {
    let others: BTreeMap<Timestamp, f64> = b
        .points
        .iter()
        .filter_map(|point| Some((point.at, point.reading?.mean)))
        .collect();
    let points = a.points.iter().map(|point| {
        let value = point
            .reading
            .and_then(|reading| with(reading.mean, *others.get(&point.at)?));
        Point {
            at: point.at,
            reading: value.map(|value| Reading {
                mean: value,
                min: value,
                max: value,
            }),
        }
    });
    Series {
        points: points.collect(),
        ..a.clone()
    }
}

/// Returns how rows grew over a span.
///
/// # Errors
/// The history does not answer.
pub(crate) fn growth(
    visit: &Visit<'_>,
    name: &str,
    collector: &str,
    columns: &[&str],
    span: Span,
) -> Result<Vec<Growth>, PageError> {
    Ok(visit.reader.growth(&GrowthQuery {
        instance: name,
        collector,
        database: None,
        columns,
        span,
    })?)
}

/// Returns active sessions over time by wait class, the class with the most first; what waits for nothing is `CPU`.
///
/// # Errors
/// The history does not answer.
pub(crate) fn wait_classes(
    visit: &Visit<'_>,
    name: &str,
) -> Result<Vec<(String, Series)>, PageError> {
    let mut classes: BTreeMap<String, Vec<Series>> = BTreeMap::new();
    for series in active(visit, name, &["wait_event_type"])? {
        let class = class_name(series.labels.first().map_or("", String::as_str));
        classes.entry(class.to_owned()).or_default().push(series);
    }
    let mut all: Vec<(String, Series)> = classes
        .into_iter()
        .map(|(class, series)| (class, summed("sessions", series)))
        .collect();
    zero_where_others_were_seen(&mut all);
    let weight = |series: &Series| {
        let readings = series.points.iter().filter_map(|point| point.reading);
        readings.map(|reading| reading.mean).sum::<f64>()
    };
    all.sort_by(|(_, a), (_, b)| weight(b).total_cmp(&weight(a)));
    // Sampling always tells of others, so that an idle server reads as zero; a class of nobody needs no line.
    let idle = all
        .iter()
        .skip(1)
        .position(|(_, series)| weight(series) == 0.0);
    all.truncate(idle.map_or(all.len(), |idle| idle + 1));
    Ok(all)
}

/// Returns the average number of active sessions over the range for every combination of labels, most first.
///
/// # Errors
/// The history does not answer.
pub(crate) fn active_by(
    visit: &Visit<'_>,
    name: &str,
    labels: &[&str],
) -> Result<Vec<(Vec<String>, f64)>, PageError> {
    let mut keys = vec!["wait_event_type"];
    keys.extend(labels);
    let found = active(visit, name, &keys)?;
    let seen: BTreeSet<Timestamp> = found.iter().flat_map(seen_at).collect();
    let mut sums: BTreeMap<Vec<String>, f64> = BTreeMap::new();
    for series in &found {
        let readings = series.points.iter().filter_map(|point| point.reading);
        let sum: f64 = readings.map(|reading| reading.mean).sum();
        let key = series.labels.get(1..).unwrap_or_default().to_vec();
        *sums.entry(key).or_default() += sum / seen.len() as f64;
    }
    let mut all: Vec<(Vec<String>, f64)> = sums.into_iter().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(all)
}

/// Returns the sampled sessions that ran something, by labels of which the first is the wait class.
fn active(visit: &Visit<'_>, name: &str, labels: &[&str]) -> Result<Vec<Series>, PageError> {
    let span = visit.range.span;
    let length = span.from.duration_until(span.to).unsigned_abs();
    let mut found = visit.reader.series(&SeriesQuery {
        instance: name,
        collector: "activity-history",
        database: None,
        columns: &["sessions"],
        rows: Rows::All,
        fold: Fold::SumBy(labels),
        span,
        step: step(span).filter(|_| length > SAMPLED_EXACTLY),
    })?;
    found.retain(|series| {
        let class = series.labels.first().map(String::as_str);
        class != Some(IDLE_IN_TRANSACTION)
    });
    Ok(found)
}

/// Returns the class of a wait; a session that waits for nothing computes.
pub(crate) fn class_name(wait_event_type: &str) -> &str {
    if wait_event_type.is_empty() {
        CPU
    } else {
        wait_event_type
    }
}

/// Sampling saw all sessions at once: a class that nobody was in then had none.
fn zero_where_others_were_seen(all: &mut [(String, Series)]) {
    let seen: BTreeSet<Timestamp> = all.iter().flat_map(|(_, series)| seen_at(series)).collect();
    for (_, series) in all {
        let own: BTreeMap<Timestamp, Reading> = series
            .points
            .iter()
            .filter_map(|point| Some((point.at, point.reading?)))
            .collect();
        let gaps = series.points.iter().map(|point| point.at);
        let times: BTreeSet<Timestamp> = gaps.chain(seen.iter().copied()).collect();
        let none = Reading {
            mean: 0.0,
            min: 0.0,
            max: 0.0,
        };
        let reading = |at: &Timestamp| {
            let own = own.get(at).copied();
            own.or_else(|| seen.contains(at).then_some(none))
        };
        series.points = times
            .iter()
            .map(|at| Point {
                at: *at,
                reading: reading(at),
            })
            .collect();
    }
}

fn seen_at(series: &Series) -> impl Iterator<Item = Timestamp> {
    let points = series.points.iter();
    points
        .filter(|point| point.reading.is_some())
        .map(|point| point.at)
}

#[cfg(test)]
mod tests {
    use pawang_core::ColumnKind;

    use super::*;

    fn of(values: &[Option<f64>]) -> Series {
        let point = |(index, value): (usize, &Option<f64>)| Point {
            at: Timestamp::from_second(60 * index as i64).unwrap(),
            reading: value.map(|value| Reading {
                mean: value,
                min: value,
                max: value,
            }),
        };
        Series {
            database: None,
            labels: Vec::new(),
            column: "x".to_owned(),
            kind: ColumnKind::Gauge,
            unit: None,
            step: MINUTE,
            points: values.iter().enumerate().map(point).collect(),
        }
    }

    fn values(series: &Series) -> Vec<Option<f64>> {
        let points = series.points.iter();
        points
            .map(|point| point.reading.map(|reading| reading.mean))
            .collect()
    }

    #[test]
    fn a_sum_is_a_gap_only_where_nothing_was_seen() {
        let sum = summed(
            "x",
            vec![
                of(&[Some(1.0), None, None]),
                of(&[Some(2.0), Some(3.0), None]),
            ],
        );
        assert_eq!(values(&sum), [Some(3.0), Some(3.0), None]);
        assert!(summed("x", Vec::new()).points.is_empty());
    }

    #[test]
    fn what_is_computed_from_two_needs_both() {
        let ratio = combine(
            &of(&[Some(6.0), Some(1.0), None, Some(4.0)]),
            &of(&[Some(2.0), Some(0.0), Some(1.0)]),
            |a, b| (b > 0.0).then(|| a / b),
        );
        assert_eq!(values(&ratio), [Some(3.0), None, None, None]);
    }

    #[test]
    fn a_class_without_sessions_is_zero_only_where_sampling_saw_others() {
        let mut all = [
            ("CPU".to_owned(), of(&[Some(2.0), Some(1.0), None])),
            ("Lock".to_owned(), of(&[None, Some(4.0), None])),
        ];
        zero_where_others_were_seen(&mut all);
        assert_eq!(values(&all[0].1), [Some(2.0), Some(1.0), None]);
        assert_eq!(values(&all[1].1), [Some(0.0), Some(4.0), None]);
    }
}
