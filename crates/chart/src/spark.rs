//! The shape of one series in a line of text.

use maud::{Markup, html};
use pawang_core::{Point, Series};

use super::scale::across;
use super::shape::{area, line};
use super::thin::thin;
use crate::words::quantity;

const WIDTH: f64 = 96.0;
const HEIGHT: f64 = 22.0;
/// Units per pixel, so that whole numbers are fine enough.
const FINE: f64 = 4.0;

/// Draws the shape of one series in a line of text, from 0 to its largest value.
pub fn sparkline(series: &Series) -> Markup {
    let points = thin(series);
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return html! {};
    };
    let span = pawang_core::Span {
        from: first.at,
        to: last.at,
    };
    let seen = points.iter().filter_map(|point| point.reading);
    let high = seen.clone().map(|reading| reading.mean).fold(0.0, f64::max);
    let Some(low) = seen.map(|reading| reading.mean).reduce(f64::min) else {
        return html! {};
    };
    let place = |point: &Point, value: f64| {
        let down = if high > 0.0 {
            1.0 - value.max(0.0) / high
        } else {
            1.0
        };
        (
            across(span, point.at) * WIDTH * FINE,
            (1.5 + down * (HEIGHT - 3.0)) * FINE,
        )
    };
    let upper: Vec<_> = points
        .iter()
        .map(|point| point.reading.map(|reading| place(point, reading.mean)))
        .collect();
    let lower: Vec<_> = points
        .iter()
        .map(|point| point.reading.map(|_| (place(point, 0.0).0, HEIGHT * FINE)))
        .collect();
    let unit = match (series.kind, series.unit.as_deref()) {
        (pawang_core::ColumnKind::Counter, Some("bytes")) => "bytes/s",
        (pawang_core::ColumnKind::Counter, _) => "/s",
        (_, Some(unit @ ("bytes" | "ms" | "s" | "%"))) => unit,
        _ => "",
    };
    let said = format!("{} to {}", quantity(low, unit), quantity(high, unit));
    html! {
        svg .spark viewBox={ "0 0 " (WIDTH * FINE) " " (HEIGHT * FINE) } width=(WIDTH) height=(HEIGHT) role="img" aria-label=(said) {
            title { (said) }
            path .fill d=(area(&upper, &lower)) {}
            path .line d=(line(&upper)) {}
        }
    }
}
