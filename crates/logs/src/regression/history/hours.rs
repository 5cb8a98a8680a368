//! What statements did hour by hour, from the history.

use std::collections::BTreeMap;
use std::time::Duration;

use pawang_store::Error;
use pawang_store::history::{Fold, Reader, Rows, SeriesQuery, Span};

use crate::regression::Hour;

const HOUR: Duration = Duration::from_secs(3_600);
const COLUMNS: [&str; 7] = [
    "calls",
    "total_exec_time",
    "rows",
    "shared_blks_hit",
    "shared_blks_read",
    "temp_blks_read",
    "temp_blks_written",
];

/// Returns the hours of each statement, by its query identifier; hours without a sample are absent.
///
/// # Errors
/// The history cannot be read.
pub fn hours(
    reader: &Reader,
    instance: &str,
    rows: Rows<'_>,
    span: Span,
) -> Result<BTreeMap<String, Vec<Hour>>, Error> {
    let mut found: BTreeMap<String, BTreeMap<i64, Hour>> = BTreeMap::new();
    // A column at a time, so that the bound on series of one answer is one on statements.
    for (index, column) in COLUMNS.iter().enumerate() {
        let series = reader.series(&SeriesQuery {
            instance,
            collector: "statements",
            database: None,
            columns: &[column],
            rows,
            fold: Fold::SumBy(&["queryid"]),
            span,
            step: Some(HOUR),
        })?;
        for series in series {
            let queryid = series.labels.first().cloned().unwrap_or_default();
            let hours = found.entry(queryid).or_default();
            let seconds = series.step.as_secs_f64();
            for point in &series.points {
                let Some(reading) = point.reading else {
                    continue;
                };
                // The end of a step belongs to it.
                let number = (point.at.as_second() - 1).div_euclid(3_600);
                let hour = hours.entry(number).or_insert(Hour {
                    hour: number,
                    ..Hour::default()
                });
                let grown = reading.mean * seconds;
                match index {
                    0 => hour.calls += grown,
                    1 => hour.total_ms += grown,
                    2 => hour.rows += grown,
                    3 => hour.hit += grown,
                    4 => hour.read += grown,
                    _ => hour.temp += grown,
                }
            }
        }
    }
    let hours = found
        .into_iter()
        .map(|(queryid, hours)| (queryid, hours.into_values().collect()));
    Ok(hours.collect())
}
