//! One HTML file without any other file and without a script: readable on a phone, in the dark, and on paper.

use std::time::Duration;

use maud::{DOCTYPE, Markup, PreEscaped, html as markup};
use pawang_chart::{CSS as CHART_CSS, Chart, PALETTE};
use pawang_core::{ColumnKind, Level, Point, Reading, Span, Timestamp};

use super::part::{Column, Drawing, Figure, Form, Part, Row, Section, Table};
use super::style::{Clock, cut, level_word, lines_of, one_line, stamp};
use crate::report::{Report, Series};

/// What the file weighs at most.
pub const HTML_BYTES_MAX: usize = 500_000;
const CSS: &str = include_str!("report.css");
/// Rows per table and characters per text, tried in this order until the file is small enough.
const LIMITS: [Limits; 5] = [
    Limits {
        rows: 50,
        text: 4_000,
        cell: 400,
    },
    Limits {
        rows: 20,
        text: 2_000,
        cell: 300,
    },
    Limits {
        rows: 10,
        text: 1_000,
        cell: 200,
    },
    Limits {
        rows: 5,
        text: 300,
        cell: 120,
    },
    Limits {
        rows: 2,
        text: 100,
        cell: 60,
    },
];
/// Most buckets of a drawing; more are added up to longer ones.
const BUCKETS_MAX: usize = 150;
/// Lengths of a bucket in seconds.
const STEPS: [i64; 13] = [
    1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 7_200, 21_600, 86_400, 604_800,
];

/// How much of a report is shown.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Rows of a table.
    rows: usize,
    /// Characters of a statement or plan.
    text: usize,
    /// Characters of a cell.
    cell: usize,
}

/// Returns the report as one page under the size of [`HTML_BYTES_MAX`]; all instants are UTC, as those of its charts are.
pub fn html(report: &Report, title: &str) -> String {
    let mut text = String::new();
    for limits in LIMITS {
        text = page(report, title, limits);
        if text.len() < HTML_BYTES_MAX {
            break;
        }
    }
    text
}

fn page(report: &Report, title: &str, limits: Limits) -> String {
    let clock = Clock::new(
        &jiff::tz::TimeZone::UTC,
        report.totals.first_at,
        report.totals.last_at,
    );
    let parts: Vec<(Section, Part<'_>)> = Section::ALL
        .into_iter()
        .map(|section| (section, section.part(report, &clock, limits.rows)))
        .collect();
    let (nothing, shown): (Vec<_>, Vec<_>) =
        parts.iter().partition(|(_, part)| part.nothing.is_some());
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(PALETTE)) (PreEscaped(CSS)) (PreEscaped(CHART_CSS)) }
            }
            body {
                header {
                    h1 { (title) }
                    p .lead { (lead(report, &clock)) }
                }
                nav aria-label="Subjects" {
                    @for (section, part) in &shown { a href={ "#" (section.name()) } { (section.title()) (worst(part)) } }
                }
                main {
                    @for (section, part) in &shown { (subject(*section, part, report, limits)) }
                    @if !nothing.is_empty() {
                        section #nothing {
                            h2 { "Nothing to show" }
                            dl .facts { @for (section, part) in &nothing {
                                dt { (section.title()) } dd { (part.nothing.unwrap_or_default()) }
                            } }
                        }
                    }
                }
                footer { p { "All times are UTC. Counts are exact; percentiles are at most 3.2 % too high. Written by Pawang." } }
            }
        }
    };
    // A page may be printed on a terminal, and no browser shows them.
    lines_of(&page.into_string())
}

fn lead(report: &Report, clock: &Clock) -> String {
    let totals = &report.totals;
    let files = match report.source.files.as_slice() {
        [file] => file.name.clone(),
        files => format!("{} files", files.len()),
    };
    format!(
        "{} to {} UTC, {} records of {files}",
        clock.full(totals.first_at),
        clock.full(totals.last_at),
        super::style::whole(totals.records)
    )
}

/// Shows how bad the worst of a subject is, where it is bad.
fn worst(part: &Part<'_>) -> Markup {
    let figures = part.figures.iter().map(|figure| figure.level);
    let rows = part.tables.iter().flat_map(|table| &table.rows);
    let level = figures.chain(rows.filter_map(|row| row.level)).max();
    markup! { @if let Some(level) = level.filter(|level| *level >= Level::Warning) { " " (glyph(level)) } }
}

fn subject(section: Section, part: &Part<'_>, report: &Report, limits: Limits) -> Markup {
    markup! {
        section id=(section.name()) {
            h2 { a href={ "#" (section.name()) } { (section.title()) } }
            @if !part.figures.is_empty() { (figures(&part.figures)) }
            @for note in &part.notes { p .note { (cut(&one_line(note), limits.text)) } }
            @if !part.charts.is_empty() {
                div .charts { @for drawing in &part.charts { (draw(drawing, report)) } }
            }
            @for (index, table) in part.tables.iter().enumerate() {
                @if section == Section::Advice {
                    (advice(table, limits))
                } @else if index == 0 || table.rows.iter().any(|row| row.level >= Some(Level::Warning)) {
                    @if !table.title.is_empty() { h3 { (table.title) } }
                    (grid(table, limits))
                } @else {
                    details .table { summary { h3 { (table.title) } } (grid(table, limits)) }
                }
            }
        }
    }
}

fn figures(figures: &[Figure]) -> Markup {
    markup! {
        dl .figures { @for figure in figures {
            div .(figure.level.as_str()) { dt { (figure.name) } dd { (one_line(&figure.value)) } }
        } }
    }
}

fn glyph(level: Level) -> Markup {
    let sign = match level {
        Level::Critical => "!!",
        Level::Warning => "!",
        Level::Unknown => "?",
        Level::Info => "i",
        Level::Ok => "\u{2713}",
    };
    markup! {
        span .glyph.(level.as_str()) title=(level.as_str()) {
            (sign) span .unseen { " " (level_word(level).trim()) }
        }
    }
}

fn advice(table: &Table, limits: Limits) -> Markup {
    markup! {
        ul .advice { @for row in &table.rows {
            @let level = row.level.unwrap_or(Level::Info);
            li .(level.as_str()) {
                (glyph(level))
                div {
                    @for (index, cell) in row.cells.iter().enumerate() {
                        p .title[index == 0] { (cut(&one_line(cell), limits.text)) }
                    }
                    @for detail in &row.details { pre { (shortened(&detail.text, limits.text)) } }
                }
            }
        } }
    }
}

fn grid(table: &Table, limits: Limits) -> Markup {
    let levels = table.rows.iter().any(|row| row.level.is_some());
    let number = |form: Form| matches!(form, Form::Number | Form::Share);
    let span = table.columns.len() + usize::from(levels);
    let wordy = |column: &Column| matches!(column.form, Form::Words | Form::Code);
    let wordy = table.columns.iter().any(wordy);
    markup! {
        div .wide { table .fit[!wordy] {
            thead { tr {
                @if levels { th { span .unseen { "level" } } }
                @for column in &table.columns { th .number[number(column.form)] { (column.name) } }
            } }
            tbody { @for row in &table.rows {
                tr .open[!row.details.is_empty()] {
                    @if levels { td .sign { @if let Some(level) = row.level { (glyph(level)) } } }
                    @for (column, cell) in table.columns.iter().zip(&row.cells) {
                        td .number[number(column.form)] .words[column.form == Form::Words] .sql[column.form == Form::Code]
                            data-label=(column.name) { (content(column.form, cell, row, limits)) }
                    }
                }
                @if !row.details.is_empty() { tr .more { td colspan=(span) { (more(row, limits)) } } }
            } }
        } }
        @if let Some(beyond) = table.beyond() { p .beyond { (beyond) } }
    }
}

fn content(form: Form, cell: &str, row: &Row, limits: Limits) -> Markup {
    let text = cut(&one_line(cell), limits.cell);
    match form {
        Form::Share => {
            let width = format!("{:.1}", (row.share * 100.0).clamp(0.0, 100.0));
            markup! {
                (text)
                svg .share viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" {
                    rect width=(width) height="4" {}
                }
            }
        }
        Form::Code | Form::Words => markup! { span .clamp { (text) } },
        Form::Number | Form::Word => markup! { (text) },
    }
}

fn more(row: &Row, limits: Limits) -> Markup {
    markup! {
        details {
            summary { "more" }
            dl .facts { @for detail in &row.details {
                dt { (detail.name) }
                dd {
                    @if detail.code { pre { (shortened(&detail.text, limits.text)) } }
                    @else { (cut(&one_line(&detail.text), limits.text)) }
                }
            } }
        }
    }
}

/// Cuts a text of several lines and says so.
fn shortened(text: &str, characters: usize) -> String {
    let count = text.chars().count();
    if count <= characters {
        return text.to_owned();
    }
    let kept: String = text.chars().take(characters).collect();
    format!("{kept}\n... and {} characters more", count - characters)
}

/// Draws numbers over time, in buckets that are long enough to be told apart.
fn draw(drawing: &Drawing<'_>, report: &Report) -> Markup {
    let Some((span, step)) = stretch(drawing, report) else {
        return markup! {};
    };
    let lines: Vec<(String, pawang_core::Series)> = drawing
        .lines
        .iter()
        .map(|(name, series)| (name.clone(), buckets(series, span, step, drawing)))
        .collect();
    let title = format!("{} per {}", drawing.title, length(step));
    let chart = Chart {
        title: &title,
        unit: drawing.unit,
        span,
        lines: lines
            .iter()
            .map(|(name, series)| (name.clone(), series))
            .collect(),
        stacked: lines.len() > 1 && !drawing.peak,
        limits: Vec::new(),
        marks: crashes(report),
    };
    chart.still()
}

fn crashes(report: &Report) -> Vec<(Timestamp, String)> {
    let mark = |crash: &crate::report::Crash| Some((stamp(crash.at?)?, "crash".to_owned()));
    report.server.crashes.iter().filter_map(mark).collect()
}

/// Returns the stretch of time of a report in whole buckets, and their length: the same for all drawings of equal resolution.
fn stretch(drawing: &Drawing<'_>, report: &Report) -> Option<(Span, i64)> {
    let finest = drawing
        .lines
        .iter()
        .map(|(_, series)| series.step)
        .max()?
        .max(1);
    let first = report.totals.first_at?.div_euclid(1_000_000);
    let last = report.totals.last_at?.div_euclid(1_000_000);
    let fits = |step: &i64| {
        let count = (last - first) / step;
        *step >= finest
            && step % finest == 0
            && usize::try_from(count).is_ok_and(|count| count < BUCKETS_MAX)
    };
    let step = STEPS.into_iter().find(fits).unwrap_or_else(|| {
        let times = (last - first) / finest / i64::try_from(BUCKETS_MAX).unwrap_or(1) + 1;
        finest * times
    });
    let from = first.div_euclid(step) * step;
    let to = (last.div_euclid(step) + 1) * step;
    let span = Span {
        from: Timestamp::from_second(from).ok()?,
        to: Timestamp::from_second(to).ok()?,
    };
    Some((span, step))
}

/// Adds up the numbers of a series within longer buckets, or takes the highest.
fn buckets(series: &Series, span: Span, step: i64, drawing: &Drawing<'_>) -> pawang_core::Series {
    let from = span.from.as_second();
    let count = usize::try_from((span.to.as_second() - from) / step).unwrap_or(0);
    let mut sums = vec![0_u64; count.min(BUCKETS_MAX * 2)];
    for (index, value) in series.values.iter().enumerate() {
        let at = i64::try_from(index)
            .ok()
            .and_then(|index| index.checked_mul(series.step));
        let place = at
            .and_then(|at| series.start.checked_add(at))
            .map(|at| (at - from).div_euclid(step));
        let place = place.and_then(|place| usize::try_from(place).ok());
        if let Some(sum) = place.and_then(|place| sums.get_mut(place)) {
            *sum = match drawing.peak {
                true => (*sum).max(*value),
                false => sum.saturating_add(*value),
            };
        }
    }
    let point = |(index, sum): (usize, &u64)| {
        let end = from + step * i64::try_from(index + 1).unwrap_or(0);
        let value = *sum as f64 / drawing.divisor;
        Some(Point {
            at: Timestamp::from_second(end).ok()?,
            reading: Some(Reading {
                mean: value,
                min: value,
                max: value,
            }),
        })
    };
    pawang_core::Series {
        database: None,
        labels: Vec::new(),
        column: String::new(),
        kind: ColumnKind::Gauge,
        unit: None,
        step: Duration::from_secs(u64::try_from(step).unwrap_or(1)),
        points: sums.iter().enumerate().filter_map(point).collect(),
    }
}

/// Returns the length of a bucket in words: `minute`, `10 min`, `2 h`.
fn length(step: i64) -> String {
    match step {
        1 => "second".to_owned(),
        60 => "minute".to_owned(),
        3_600 => "hour".to_owned(),
        86_400 => "day".to_owned(),
        604_800 => "week".to_owned(),
        step if step % 86_400 == 0 => format!("{} d", step / 86_400),
        step if step % 3_600 == 0 => format!("{} h", step / 3_600),
        step if step % 60 == 0 => format!("{} min", step / 60),
        step => format!("{step} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_buckets_add_up_to_long_ones() {
        let series = Series {
            start: 600,
            step: 60,
            values: vec![1, 2, 3, 4, 5, 6],
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        let span = Span {
            from: at(600),
            to: at(1_200),
        };
        for (peak, expected) in [(false, [15.0, 6.0]), (true, [5.0, 6.0])] {
            let mut drawing = Drawing::one("", "", "", &series);
            drawing.peak = peak;
            let long = buckets(&series, span, 300, &drawing);
            let means: Vec<f64> = long
                .points
                .iter()
                .filter_map(|point| Some(point.reading?.mean))
                .collect();
            assert_eq!(means, expected);
            assert_eq!(long.points[0].at, at(900));
        }
    }

    #[test]
    fn long_texts_say_that_they_were_cut() {
        assert_eq!(shortened("short", 10), "short");
        assert_eq!(
            shortened("0123456789", 4),
            "0123\n... and 6 characters more"
        );
    }
}
