//! The words of a chart: names, last, mean and largest values, and the values themselves as a table.

use maud::{Markup, html};
use pawang_core::Point;

use super::Chart;
use super::colour::class;
use crate::words::{exact, figure, instant};

/// Rows of the table of values.
const ROWS_MAX: usize = 12;

/// Steps in which the last value is looked for: the newest may not be over yet.
const LAST_STEPS: usize = 3;

/// What there is to say of one line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Summary {
    /// The newest value, unless the line ends in a gap.
    pub last: Option<f64>,
    /// The mean of everything that was seen.
    pub mean: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
}

/// Sums up one line.
pub(super) fn summary(points: &[Point]) -> Summary {
    let seen: Vec<_> = points.iter().filter_map(|point| point.reading).collect();
    let sum: f64 = seen.iter().map(|reading| reading.mean).sum();
    Summary {
        last: points
            .iter()
            .rev()
            .take(LAST_STEPS)
            .find_map(|point| point.reading)
            .map(|reading| reading.mean),
        mean: (!seen.is_empty()).then(|| sum / seen.len() as f64),
        max: seen.iter().map(|reading| reading.max).reduce(f64::max),
    }
}

/// Draws the legend.
pub(super) fn legend(chart: &Chart<'_>, lines: &[Vec<Point>]) -> Markup {
    let show = |value: Option<f64>| {
        value.map_or_else(|| "-".to_owned(), |value| figure(value, chart.unit))
    };
    html! {
        table .legend {
            thead { tr { th { span .unseen { "Line" } } th data-now="last" { "last" } th { "mean" } th { "max" } } }
            tbody {
                @for (index, ((name, _), points)) in chart.lines.iter().zip(lines).enumerate() {
                    @let summary = summary(points);
                    tr {
                        th scope="row" title=(name) { i .swatch.(class(index, name)) {} (name) }
                        td { (show(summary.last)) }
                        td { (show(summary.mean)) }
                        td { (show(summary.max)) }
                    }
                }
            }
        }
    }
}

/// Draws some of the values as a table, for readers without eyes and without a script.
pub(super) fn values(chart: &Chart<'_>, lines: &[Vec<Point>]) -> Markup {
    let longest = lines.iter().max_by_key(|points| points.len());
    let Some(times) = longest.filter(|points| !points.is_empty()) else {
        return html! {};
    };
    let step = times.len().div_ceil(ROWS_MAX);
    let rows = times.iter().rev().step_by(step);
    let at = |points: &[Point], row: &Point| {
        let index = points
            .binary_search_by_key(&row.at, |point| point.at)
            .ok()?;
        points[index].reading
    };
    html! {
        details .values {
            summary { "Values" }
            table {
                thead { tr { th { "UTC" } @for (name, _) in &chart.lines { th { (name) } } } }
                tbody { @for row in rows { tr {
                    th scope="row" { time datetime=(instant(row.at)) { (exact(row.at).trim_end_matches(" UTC")) } }
                    @for points in lines {
                        td { @match at(points, row) {
                            Some(reading) => { (figure(reading.mean, chart.unit)) }
                            None => { "not seen" }
                        } }
                    }
                } } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::thin::{tests::series, thin};
    use super::*;

    #[test]
    fn a_line_that_ends_in_a_gap_has_no_last_value() {
        for (values, last, mean, max) in [
            (vec![1.0, 3.0], Some(3.0), Some(2.0), Some(3.0)),
            (vec![1.0, f64::NAN], Some(1.0), Some(1.0), Some(1.0)),
            (
                vec![1.0, f64::NAN, f64::NAN, f64::NAN],
                None,
                Some(1.0),
                Some(1.0),
            ),
            (vec![f64::NAN], None, None, None),
            (vec![], None, None, None),
        ] {
            assert_eq!(
                summary(&thin(&series(&values))),
                Summary { last, mean, max }
            );
        }
    }
}
