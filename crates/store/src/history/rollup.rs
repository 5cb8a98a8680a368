//! What a rollup keeps of a bucket: four columns for each counter and gauge.
//!
//! Of a counter: growth, how far the slowest and the fastest rate were from the mean, and for how long was seen where
//! that differs from the bucket. Of a gauge: last, last minus smallest, largest minus last, and where the mean is
//! between smallest and largest.

use pawang_core::ColumnKind;

use super::index::Moment;
use super::run::Cell;

/// Columns of a rollup per column of a collector.
pub(super) const PARTS: usize = 4;
/// Ratios of rates are kept to a hundredth.
const RATIO: f64 = 1.01;
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

fn number(cell: Cell) -> Option<f64> {
    match cell {
        Cell::Int(number) => Some(number as f64),
        Cell::Float(number) => Some(number),
        _ => None,
    }
}

/// Reads the four cells of a bucket; `None` is a gap.
pub(super) fn read(kind: ColumnKind, cells: [Cell; PARTS], moment: &Moment) -> Option<Virtual> {
    let first = number(cells[0])?;
    if kind == ColumnKind::Counter {
        let seconds = number(cells[3]).unwrap_or(moment.span_ms as f64) / 1e3;
        if seconds <= 0.0 {
            return None;
        }
        let mean = first / seconds;
        let low = match cells[1] {
            Cell::Int(ZERO) => 0.0,
            cell => mean * RATIO.powf(-number(cell).unwrap_or(0.0)),
        };
        return Some(Virtual {
            mean,
            low,
            high: mean * RATIO.powf(number(cells[2]).unwrap_or(0.0)),
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
