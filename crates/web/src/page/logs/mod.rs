//! Logs: what the server wrote over the range, by severity, kind, error and statement, and the way to the records themselves.

mod records;
mod tables;

use std::sync::Arc;

use maud::{Markup, html};
use pawang_chart::Chart;
use pawang_core::{ByteSize, ColumnKind, Level, Point, Reading, Series, Span, Timestamp};
use pawang_logs::report::{Integrity, Report, Top};
use pawang_logs::severity::Severity;
use pawang_store::live::LogStatus;

use super::parts::{Here, figure, instance_path, path, shell};
use super::{Page, PageError, Place, Visit};
use crate::logs::{self, Summary};
use crate::words;

pub(crate) use records::{render as records, wanted};

/// Newest records on the first page.
const NEWEST: usize = 15;
/// Steps of a chart, about.
const STEPS_MAX: i64 = 240;
/// Lines that are no records, of each sort.
const ODD_MAX: usize = 10;

/// Draws the page.
///
/// # Errors
/// There is no such instance, or the history does not answer.
pub(crate) fn render(visit: &Visit<'_>, name: &str) -> Result<Page, PageError> {
    let present = visit.instance(name)?;
    let here = Here {
        visit,
        path: instance_path(name, "logs"),
        keeps: &["sort", "show"],
    };
    let summary = logs::summary(visit, name);
    let status = summary.status.clone();
    let body = html! {
        (reading(visit, status.as_deref()))
        @match &summary.report {
            Err(blind) => (words::not_seen(blind)),
            Ok(report) => {
                (stretch(visit, &summary))
                @if report.totals.records > 0 || report.integrity != Integrity::default() {
                    (sections(&here, name, &summary, report))
                } @else {
                    (nothing(&summary))
                }
            }
        }
        @if let Some(status) = &status { (newest(visit, name, status)) }
        (words::command(&format!("pawang logs report -i {} --since {}", shell(name), since(visit))))
    };
    Ok(Page {
        title: "Logs".to_owned(),
        place: Place::Logs,
        instance: Some(name.to_owned()),
        body,
        seen_at: Some(present.facts.at),
    })
}

/// Says how reading goes, and why it does not.
fn reading(visit: &Visit<'_>, status: Option<&LogStatus>) -> Markup {
    let Some(status) = status else {
        return words::empty(
            "The log is not read: reading is switched off, or the daemon has only just begun. It is switched on by \
             enabled = true in [serve.logs].",
            Some("pawang serve reload"),
        );
    };
    html! {
        @if let Some(blind) = &status.blind { (words::not_seen(blind)) }
        @if let (Some(at), Some(directory)) = (status.read_at, &status.directory) {
            p .lead {
                "Read " (words::ago(visit.now, at)) " from " code { (directory.display()) } ", " b { (status.files.len()) }
                @if status.files.len() == 1 { " file" } @else { " files" }
                @if status.behind_bytes > 0 { ", " b { (ByteSize(status.behind_bytes)) } " still to be read" }
                "."
            }
        } @else if status.blind.is_none() {
            p .lead { "Not read yet: the first look is on its way." }
        }
        @if !status.troubles.is_empty() {
            details #log-troubles {
                summary { (words::glyph(Level::Unknown)) " " (status.troubles.len()) " not read whole" }
                ul { @for trouble in &status.troubles { li { (trouble) } } }
            }
        }
    }
}

/// Says which hours the numbers are of.
fn stretch(visit: &Visit<'_>, summary: &Summary) -> Markup {
    let late = summary.kept_since.filter(|since| *since > summary.from);
    html! {
        p .muted {
            "Whole hours from " (words::moment(visit.now, summary.from)) " to "
            @if summary.to > visit.now { "now" } @else { (words::moment(visit.now, summary.to)) }
            @if let Some(since) = late { "; hours are kept since " (words::moment(visit.now, since)) }
            "."
        }
    }
}

fn nothing(summary: &Summary) -> Markup {
    let what = match summary.kept_since {
        Some(_) => "The server wrote nothing in these hours.",
        None => "Nothing of the log was read so far.",
    };
    words::empty(what, None)
}

fn sections(here: &Here<'_>, name: &str, summary: &Summary, report: &Arc<Report>) -> Markup {
    html! {
        (figures(here, name, report))
        (charts(here.visit, summary, report))
        (tables::kinds(here, name, report))
        (tables::errors(here, name, report))
        (tables::statements(here, name, report))
        (odd(here.visit, report))
    }
}

fn figures(here: &Here<'_>, name: &str, report: &Report) -> Markup {
    let count = |least: Severity, most: Severity| -> u64 {
        let all = report.totals.severities.range(least..=most);
        all.map(|(_, count)| *count).sum()
    };
    let integrity = &report.integrity;
    let seen = |top: &Top<_>| -> u64 {
        let lines: &[pawang_logs::report::OddLine] = &top.items;
        lines.iter().map(|line| line.count).sum()
    };
    let bad = path(
        here.visit,
        &instance_path(name, "logs/records"),
        &[("severity", "fatal")],
    );
    let whole = |value: u64| html! { (words::number(value as f64)) };
    let fatal = count(Severity::Fatal, Severity::Panic);
    html! {
        dl .figures {
            (figure("records", whole(report.totals.records), "records of the log in these hours"))
            (figure("warnings", whole(count(Severity::Warning, Severity::Warning)), "records of severity WARNING"))
            (figure("errors", whole(count(Severity::Error, Severity::Error)), "statements that failed"))
            (figure("fatal", html! { @if fatal > 0 { a href=(bad) { (whole(fatal)) } } @else { (whole(fatal)) } }, "sessions that ended with FATAL, and PANIC"))
            (figure("unclassified", whole(report.totals.unclassified), "records that no rule knows; they are below"))
            (figure("forged", whole(seen(&integrity.forged)), "lines that pretend to be records, never counted as such"))
            (figure("odd", whole(seen(&integrity.raw) + seen(&integrity.malformed)), "lines outside of any record, and bytes that are no log"))
        }
    }
}

fn charts(visit: &Visit<'_>, summary: &Summary, report: &Report) -> Markup {
    let span = Span {
        from: summary.from,
        to: summary.to.min(visit.now).max(summary.from),
    };
    let kept_since = summary.kept_since.unwrap_or(span.to);
    let of = |wanted: &[Severity]| line(report, wanted, span, kept_since);
    let (fatal, error) = (
        of(&[Severity::Fatal, Severity::Panic]),
        of(&[Severity::Error]),
    );
    let warning = of(&[Severity::Warning]);
    let rest = of(&[
        Severity::Debug,
        Severity::Log,
        Severity::Info,
        Severity::Notice,
    ]);
    let draw = |title, lines: Vec<(&str, &Series)>| {
        let lines = lines.into_iter();
        let lines = lines.map(|(name, series)| (name.to_owned(), series));
        Chart {
            title,
            unit: "",
            span,
            lines: lines.collect(),
            stacked: true,
            limits: Vec::new(),
            marks: Vec::new(),
        }
        .draw()
    };
    html! {
        div .pair {
            (draw("Warnings and worse", vec![("ERROR", &error), ("WARNING", &warning), ("FATAL and PANIC", &fatal)]))
            (draw("Other records", vec![("LOG and less", &rest)]))
        }
    }
}

/// Adds up the records of some severities over a span; where hours are kept, a step without records is zero.
fn line(report: &Report, wanted: &[Severity], span: Span, kept_since: Timestamp) -> Series {
    let all = &report.totals.series;
    let fine = all
        .values()
        .map(|series| series.step)
        .max()
        .unwrap_or(0)
        .max(60);
    let (from, to) = (span.from.as_second(), span.to.as_second());
    let step = fine * ((to - from) / (fine * STEPS_MAX) + 1);
    let first = from.div_euclid(step);
    let count = usize::try_from(to.div_euclid(step) - first + 1).unwrap_or(0);
    let mut values = vec![0_u64; count];
    for series in wanted.iter().filter_map(|severity| all.get(severity)) {
        for (index, value) in (0_i64..).zip(&series.values) {
            let at = series.start + index * series.step;
            let index = usize::try_from(at.div_euclid(step) - first).ok();
            if let Some(sum) = index.and_then(|index| values.get_mut(index)) {
                *sum += value;
            }
        }
    }
    let point = |(index, value): (i64, u64)| {
        let at = Timestamp::from_second((first + index + 1) * step).ok()?;
        let value = value as f64;
        let reading = (at > kept_since).then_some(Reading {
            mean: value,
            min: value,
            max: value,
        });
        let at = at.min(span.to);
        Some(Point { at, reading })
    };
    Series {
        database: None,
        labels: Vec::new(),
        column: "records".to_owned(),
        kind: ColumnKind::Gauge,
        unit: None,
        step: std::time::Duration::from_secs(step.cast_unsigned()),
        points: (0..).zip(values).filter_map(point).collect(),
    }
}

/// Shows what is no record, and what no rule knows.
fn odd(visit: &Visit<'_>, report: &Report) -> Markup {
    let integrity = &report.integrity;
    let sorts = [
        (
            "Forged lines",
            "they pretend to be records",
            &integrity.forged,
        ),
        (
            "Lines outside of records",
            "output of programs that the server runs",
            &integrity.raw,
        ),
        (
            "Bytes that are no log",
            "they could not be read",
            &integrity.malformed,
        ),
    ];
    html! {
        @if !report.unclassified.items.is_empty() {
            section #unclassified {
                h2 { "Unclassified" small { "records that no rule knows" } }
                div .wide tabindex="0" role="region" aria-label="unclassified" { table {
                    thead { tr { th scope="col" { "Text" } th .number scope="col" { "Count" } th scope="col" { "Last" } } }
                    tbody { @for text in report.unclassified.items.iter().take(ODD_MAX) { tr {
                        td .words { span .sql title=(text.sample) { (text.text) } }
                        td .number { (words::number(text.count as f64)) }
                        td { (tables::moment(visit, text.last_at)) }
                    } } }
                } }
            }
        }
        @for (title, what, lines) in sorts {
            @if !lines.items.is_empty() {
                section {
                    h2 { (title) small { (what) } }
                    ul .odd { @for line in lines.items.iter().take(ODD_MAX) {
                        li { code { (line.text) } " " span .muted { "×" (words::number(line.count as f64)) } }
                    } }
                }
            }
        }
        @if integrity.gaps.total > 0 {
            p .muted { "Line numbers of " b { (integrity.gaps.total) } " sessions have holes: records are missing there." }
        }
    }
}

fn newest(visit: &Visit<'_>, name: &str, status: &LogStatus) -> Markup {
    let found = logs::records(visit, name, status, &Default::default(), NEWEST);
    let all = path(visit, &instance_path(name, "logs/records"), &[]);
    html! {
        section #newest {
            h2 { "Newest records" small { a href=(all) { "all, with filters" } } }
            @if found.records.is_empty() { p .muted { "None in this stretch of time." } }
            (records::list(visit, name, &found, NEWEST))
        }
    }
}

/// Returns how far the visit looks back, as the command line says it.
fn since(visit: &Visit<'_>) -> String {
    match (visit.range.frozen, visit.range.name.as_str()) {
        (false, name) if !name.is_empty() => name.to_owned(),
        _ => format!("{:.0}", visit.range.span.from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_covers_the_span_and_loses_no_record() {
        let mut report = Report::default();
        let series = pawang_logs::report::Series {
            start: 7_200,
            step: 60,
            values: vec![3, 0, 4],
        };
        report.totals.series.insert(Severity::Error, series);
        let at = |second| Timestamp::from_second(second).unwrap();
        for (from, to) in [(3_600, 10_800), (0, 30 * 86_400), (7_200, 7_320)] {
            let span = Span {
                from: at(from),
                to: at(to),
            };
            let line = line(
                &report,
                &[Severity::Error, Severity::Fatal],
                span,
                at(7_200),
            );
            let readings = line.points.iter().map(|point| point.reading);
            let sum: f64 = readings.flatten().map(|reading| reading.mean).sum();
            assert!((sum - 7.0).abs() < 1e-9, "{from}..{to}: {sum}");
            assert!(line.points.len() <= 300, "{from}..{to}");
            let blank = line.points.iter().filter(|point| point.reading.is_none());
            assert_eq!(
                blank.count() > 0,
                from < 7_200 && to < 86_400,
                "{from}..{to}"
            );
        }
    }
}
