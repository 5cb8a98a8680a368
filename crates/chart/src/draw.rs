//! The figure: axes, shapes, limits and marks.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, PreEscaped, html};
use pawang_core::{Level, Point, Reading, Timestamp};

use super::colour::class;
use super::legend::{legend, summary, values};
use super::scale::{Scale, across, label, times};
use super::shape::{FINE, WIDTH, area, bars, line};
use super::thin::thin;
use super::{Chart, Form, data};
use crate::words::{exact, quantity};

/// Height of the plot in pixels.
const HEIGHT: f64 = 128.0;
/// Room above it for the topmost label.
const TOP: f64 = 8.0;
/// Room below it for the time axis.
const BOTTOM: f64 = 20.0;
/// Width of the value axis in pixels.
const AXIS: f64 = 50.0;
/// Lines that are drawn; the rest is counted.
const LINES_MAX: usize = 16;
/// Marks that are drawn, the newest.
const MARKS_MAX: usize = 40;
/// Lines up to which the range between smallest and largest is shaded.
const BANDS_MAX: usize = 3;

type Place = Option<(f64, f64)>;

/// Draws the whole figure, with the data that a script reads off where there is one.
pub(super) fn figure(chart: &Chart<'_>, form: Form, script: bool) -> Markup {
    let shown = Chart {
        lines: chart.lines.iter().take(LINES_MAX).cloned().collect(),
        limits: chart.limits.clone(),
        marks: chart.marks.clone(),
        ..*chart
    };
    let lines: Vec<Vec<Point>> = shown.lines.iter().map(|(_, series)| thin(series)).collect();
    let lines = if form == Form::Areas {
        aligned(&lines)
    } else {
        lines
    };
    let empty = lines.iter().flatten().all(|point| point.reading.is_none());
    html! {
        figure .chart data-chart[!empty && script] {
            figcaption { (chart.title) @if let Some(unit) = spoken(chart.unit) { span .unit { (unit) } } }
            @if empty {
                p .nothing { "Nothing was seen in this stretch of time" }
            } @else {
                (plot(&shown, form, &lines, script))
                (legend(&shown, &lines))
                @if chart.lines.len() > LINES_MAX { p .more { (chart.lines.len() - LINES_MAX) " more are not drawn" } }
                (values(&shown, &lines))
            }
        }
    }
}

/// Returns the unit as words for the heading, where the labels of the axis do not say it.
fn spoken(unit: &str) -> Option<String> {
    match unit {
        "" | "bytes" | "s" | "ms" | "%" => None,
        "/s" | "bytes/s" | "ms/s" => Some("per second".to_owned()),
        unit => Some(unit.replace("/s", " per second")),
    }
}

fn plot(chart: &Chart<'_>, form: Form, lines: &[Vec<Point>], script: bool) -> Markup {
    let scale = scale(chart, form, lines);
    let full = TOP + HEIGHT + BOTTOM;
    let y = |value: f64| format!("{:.1}", TOP + scale.down(value) * HEIGHT);
    let percent = |at: Timestamp| across(chart.span, at) * 100.0;
    let inside = |at: &Timestamp| (0.0..=100.0).contains(&percent(*at));
    let marks = chart
        .marks
        .iter()
        .filter(|(at, _)| inside(at))
        .rev()
        .take(MARKS_MAX);
    let said = said(chart, lines);
    html! {
        div .plot {
            svg .axis width=(AXIS) height=(full) aria-hidden="true" {
                @for tick in &scale.ticks { text x="100%" dx="-8" y=(y(*tick)) dy=".32em" { (label(*tick, chart.unit)) } }
            }
            svg .area width="100%" height=(full) role="img" aria-label=(said) tabindex=[script.then_some("0")] {
                g .grid aria-hidden="true" {
                    @for tick in &scale.ticks { line x1="0" x2="100%" y1=(y(*tick)) y2=(y(*tick)) {} }
                }
                svg x="0" y=(TOP) width="100%" height=(HEIGHT) preserveAspectRatio="none"
                    viewBox={ "0 0 " (WIDTH) " " (HEIGHT * FINE) } { (ink(chart, form, lines, &scale)) }
                @for (limit, level) in chart.limits.iter().filter(|(limit, _)| (scale.low..=scale.high).contains(limit)) {
                    line .limit.(level.as_str()) x1="0" x2="100%" y1=(y(*limit)) y2=(y(*limit)) {
                        title { (limit_name(*level)) " " (quantity(*limit, chart.unit)) }
                    }
                    text .limit.(level.as_str()) x="100%" y=(y(*limit)) dy="-4" { (limit_name(*level)) " " (quantity(*limit, chart.unit)) }
                }
                @for (at, what) in marks {
                    @let x = format!("{:.2}%", percent(*at));
                    g .mark {
                        title { (exact(*at)) ": " (what) }
                        line x1=(x) x2=(x) y1=(TOP) y2=(TOP + HEIGHT) {}
                        circle cx=(x) cy=(TOP + HEIGHT) r="3.5" {}
                    }
                }
                g .times aria-hidden="true" {
                    @for (at, label) in times(chart.span) {
                        @let x = percent(at);
                        text x={ (format!("{x:.2}")) "%" } y=(full - 5.0) .first[x < 4.0] .last[x > 96.0] { (label) }
                    }
                }
            }
            @if script {
                script type="application/json" { (PreEscaped(data::json(chart, form, &scale, lines))) }
            }
        }
    }
}

fn limit_name(level: Level) -> &'static str {
    match level {
        Level::Critical => "critical",
        Level::Warning => "warning",
        _ => "limit",
    }
}

/// Says in one sentence what the drawing shows.
fn said(chart: &Chart<'_>, lines: &[Vec<Point>]) -> String {
    let show = |value: Option<f64>| {
        value.map_or_else(
            || "not seen".to_owned(),
            |value| quantity(value, chart.unit),
        )
    };
    let each = chart.lines.iter().zip(lines).map(|((name, _), points)| {
        let summary = summary(points);
        format!(
            "{name} last {}, largest {}",
            show(summary.last),
            show(summary.max)
        )
    });
    let each: Vec<String> = each.collect();
    let (from, to) = (exact(chart.span.from), exact(chart.span.to));
    format!("{}, {from} to {to}: {}", chart.title, each.join("; "))
}

/// Returns the axis that holds all values, and the limits that are not far from them.
fn scale(chart: &Chart<'_>, form: Form, lines: &[Vec<Point>]) -> Scale {
    let readings = || lines.iter().flatten().filter_map(|point| point.reading);
    let (mut low, mut high) = match form {
        Form::Areas => {
            let mut sums: BTreeMap<Timestamp, f64> = BTreeMap::new();
            for point in lines.iter().flatten() {
                *sums.entry(point.at).or_default() +=
                    point.reading.map_or(0.0, |reading| reading.mean.max(0.0));
            }
            (0.0, sums.values().copied().fold(0.0, f64::max))
        }
        Form::Bars => (
            0.0,
            readings().map(|reading| reading.mean).fold(0.0, f64::max),
        ),
        Form::Lines => (
            readings()
                .map(|reading| reading.min)
                .fold(f64::INFINITY, f64::min),
            readings()
                .map(|reading| reading.max)
                .fold(f64::NEG_INFINITY, f64::max),
        ),
    };
    for (limit, _) in &chart.limits {
        if *limit > high && *limit <= high * 3.0 {
            high = *limit * 1.02;
        }
        if *limit < low && *limit >= low * 0.8 {
            low = *limit;
        }
    }
    Scale::new(low, high, chart.unit)
}

/// Draws what was seen.
fn ink(chart: &Chart<'_>, form: Form, lines: &[Vec<Point>], scale: &Scale) -> Markup {
    match form {
        Form::Areas => stack(chart, lines, scale),
        Form::Bars => columns(chart, lines, scale),
        Form::Lines => strokes(chart, lines, scale),
    }
}

fn places(
    chart: &Chart<'_>,
    points: &[Point],
    scale: &Scale,
    value: fn(Reading) -> f64,
) -> Vec<Place> {
    let place = |point: &Point| {
        let value = value(point.reading?);
        Some((
            across(chart.span, point.at) * WIDTH,
            scale.down(value) * HEIGHT * FINE,
        ))
    };
    points.iter().map(place).collect()
}

fn strokes(chart: &Chart<'_>, lines: &[Vec<Point>], scale: &Scale) -> Markup {
    let visible = (scale.high - scale.low) / 100.0;
    let wide = |points: &[Point]| {
        let mut readings = points.iter().filter_map(|point| point.reading);
        readings.any(|reading| reading.max - reading.min > visible)
    };
    html! {
        @for (index, ((name, _), points)) in chart.lines.iter().zip(lines).enumerate() {
            @let class = class(index, name);
            @if lines.len() <= BANDS_MAX && wide(points) {
                @let upper = places(chart, points, scale, |reading| reading.max);
                @let lower = places(chart, points, scale, |reading| reading.min);
                path .band.(class) d=(area(&upper, &lower)) {}
            }
            path .line.(class) d=(line(&places(chart, points, scale, |reading| reading.mean))) {}
        }
    }
}

fn columns(chart: &Chart<'_>, lines: &[Vec<Point>], scale: &Scale) -> Markup {
    html! {
        @for (index, ((name, series), points)) in chart.lines.iter().zip(lines).enumerate() {
            @let merged = series.points.len().div_ceil(points.len().max(1)) as f64;
            @let length = chart.span.to.duration_since(chart.span.from).as_secs_f64().max(1.0);
            @let width = (series.step.as_secs_f64() * merged / length * WIDTH * 0.8).max(3.0);
            @let tops = places(chart, points, scale, |reading| reading.mean);
            path .bars.(class(index, name)) d=(bars(&tops, HEIGHT * FINE, width)) {}
        }
    }
}

fn stack(chart: &Chart<'_>, lines: &[Vec<Point>], scale: &Scale) -> Markup {
    let Some(first) = lines.first() else {
        return html! {};
    };
    let mut below: Vec<f64> = vec![0.0; first.len()];
    let mut shapes = Vec::with_capacity(lines.len());
    for ((index, (name, _)), points) in chart.lines.iter().enumerate().zip(lines) {
        let edge = |heights: &[f64]| -> Vec<Place> {
            let pairs = points.iter().zip(heights);
            pairs
                .map(|(point, height)| {
                    point.reading?;
                    Some((
                        across(chart.span, point.at) * WIDTH,
                        scale.down(*height) * HEIGHT * FINE,
                    ))
                })
                .collect()
        };
        let lower = edge(&below);
        for (height, point) in below.iter_mut().zip(points) {
            *height += point.reading.map_or(0.0, |reading| reading.mean.max(0.0));
        }
        shapes.push((class(index, name), area(&edge(&below), &lower)));
    }
    html! { @for (class, path) in &shapes { path .stack.(class) d=(path) {} } }
}

/// Returns the lines with the same times, for stacking: where others were seen and one was not, it is 0; where none was
/// seen, all have a gap.
pub(super) fn aligned(lines: &[Vec<Point>]) -> Vec<Vec<Point>> {
    let times: BTreeSet<Timestamp> = lines.iter().flatten().map(|point| point.at).collect();
    let seen: BTreeSet<Timestamp> = lines
        .iter()
        .flatten()
        .filter(|point| point.reading.is_some())
        .map(|point| point.at)
        .collect();
    let nothing = Reading {
        mean: 0.0,
        min: 0.0,
        max: 0.0,
    };
    let align = |points: &Vec<Point>| -> Vec<Point> {
        let own: BTreeMap<Timestamp, Reading> = points
            .iter()
            .filter_map(|point| Some((point.at, point.reading?)))
            .collect();
        let reading = |at: &Timestamp| {
            seen.contains(at)
                .then(|| own.get(at).copied().unwrap_or(nothing))
        };
        times
            .iter()
            .map(|at| Point {
                at: *at,
                reading: reading(at),
            })
            .collect()
    };
    lines.iter().map(align).collect()
}
