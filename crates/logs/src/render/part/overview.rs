//! Span and numbers of records, advice, kinds, and what is wrong with the log itself.

use pawang_core::Level;

use super::{Drawing, Part, Row, Table, any, figure, names, row, trouble};
use crate::kind;
use crate::render::doubt::{doubts, remarks, said};
use crate::render::style::{Clock, bytes, one_line, percent, stamp, whole};
use crate::report::{OddLine, Report, Series, SourceFile, Top};
use crate::severity::Severity;

/// Most sentences on files: what of them was not read, is not sure or was left out.
const NOTES_MAX: usize = 10;

/// Returns how long the log is, in seconds.
pub(in crate::render) fn seconds(report: &Report) -> Option<f64> {
    let first = stamp(report.totals.first_at?)?;
    let last = stamp(report.totals.last_at?)?;
    let seconds = last.duration_since(first).as_secs_f64();
    (seconds > 0.0).then_some(seconds)
}

/// Returns a count as a rate that people can imagine: per second, minute, hour or day, whichever is at least 1.
pub(in crate::render) fn rate(count: u64, seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else {
        return "-".to_owned();
    };
    let per_second = count as f64 / seconds;
    let units = [(1.0, "s"), (60.0, "min"), (3_600.0, "h")];
    let fitting = units.iter().find(|(length, _)| per_second * length >= 1.0);
    let (length, unit) = fitting.copied().unwrap_or((86_400.0, "day"));
    pawang_chart::words::number(per_second * length) + "/" + unit
}

pub(super) fn summary<'a>(report: &'a Report, clock: &Clock) -> Part<'a> {
    let totals = &report.totals;
    let length = seconds(report);
    let severity = |severity: Severity| totals.severities.get(&severity).copied().unwrap_or(0);
    let mut figures = vec![
        figure("from", clock.full(totals.first_at)),
        figure("to", clock.full(totals.last_at)),
        figure("zone", clock.zone(totals.last_at)),
        figure(
            "span",
            length.map_or_else(|| "-".to_owned(), pawang_chart::words::duration),
        ),
        figure("records", whole(totals.records)),
        figure("rate", rate(totals.records, length)),
        figure("read", bytes(report.source.bytes)),
    ];
    figures.extend([
        trouble("PANIC", severity(Severity::Panic), Level::Critical),
        trouble("FATAL", severity(Severity::Fatal), Level::Warning),
        trouble("ERROR", severity(Severity::Error), Level::Warning),
        trouble("WARNING", severity(Severity::Warning), Level::Info),
        figure("LOG", whole(severity(Severity::Log))),
        trouble("not classified", totals.unclassified, Level::Unknown),
    ]);
    let files = Table::new(
        "Files",
        &["file", "format", "compression", "bytes>", "records>"],
    )
    .with(report.source.files.iter().map(file));
    let notes = report.source.files.iter().filter_map(|file| {
        let trouble = file.trouble.as_ref()?;
        Some(format!(
            "{}: not all of it was read: {}",
            one_line(&file.name),
            one_line(trouble)
        ))
    });
    Part {
        figures,
        tables: vec![files],
        charts: severities(report),
        notes: notes
            .chain(doubts(report))
            .chain(remarks(report))
            .take(NOTES_MAX)
            .collect(),
        nothing: None,
    }
}

fn severities(report: &Report) -> Vec<Drawing<'_>> {
    let series = &report.totals.series;
    let line = |severity: &Severity| {
        let series: &Series = series.get(severity).filter(|series| any(series))?;
        Some((severity.as_str().to_owned(), series))
    };
    let bad = [
        Severity::Panic,
        Severity::Fatal,
        Severity::Error,
        Severity::Warning,
    ];
    let lines: Vec<_> = bad.iter().filter_map(line).collect();
    let mut charts = Vec::new();
    if let Some((name, all)) = line(&Severity::Log) {
        charts.push(Drawing::one("Records", "", &name, all));
    }
    if !lines.is_empty() {
        charts.push(Drawing {
            title: "Warnings and errors",
            unit: "",
            divisor: 1.0,
            peak: false,
            lines,
        });
    }
    charts
}

fn file(file: &SourceFile) -> Row {
    let rate = file.match_rate.map(|rate| {
        let share = percent((rate * 1_000_000.0) as u64, 1_000_000);
        format!("{share} of the lines match")
    });
    let zones: Vec<String> = file.zones.iter().map(said).collect();
    let left_out = match file.foreign {
        0 => String::new(),
        lines => format!("{} lines of other programs", whole(lines)),
    };
    row([
        file.name.clone(),
        file.format.clone(),
        file.compression.clone().unwrap_or_default(),
        bytes(file.bytes),
        whole(file.records),
    ])
    .code("prefix", file.prefixes.join("\n"))
    .more("guessed", rate.unwrap_or_default())
    .more("trouble", file.trouble.clone().unwrap_or_default())
    .more("zones", zones.join(", "))
    .more("left out", left_out)
}

pub(super) fn advice<'a>(report: &'a Report, _: &Clock) -> Part<'a> {
    if report.advice.is_empty() {
        return Part::nothing("the numbers of this log ask for no change");
    }
    let mut table = Table::new("", &["what", "because~"]);
    table.rows = report
        .advice
        .iter()
        .map(|advice| {
            row([advice.title.clone(), advice.because.clone()])
                .level(advice.level)
                .code("remedy", advice.remedy.clone())
        })
        .collect();
    Part {
        tables: vec![table],
        ..Part::default()
    }
}

pub(super) fn kinds<'a>(report: &'a Report, clock: &Clock) -> Part<'a> {
    if report.kinds.is_empty() {
        return Part::nothing("the log has no records");
    }
    let of = report.totals.records;
    let mut kinds = Table::new(
        "",
        &["kind", "count%", "share>", "first", "last", "earliest~"],
    );
    kinds.rows = report
        .kinds
        .iter()
        .map(|kind| {
            let known = kind::find(&kind.kind).map(|id| &kind::kinds()[usize::from(id.0)]);
            let said = |text: fn(&kind::Kind) -> &String| known.map(text).cloned();
            row([
                kind.kind.clone(),
                whole(kind.count),
                percent(kind.count, of),
                clock.at(kind.first_at),
                clock.at(kind.last_at),
                kind.sample.clone(),
            ])
            .level(kind.level)
            .share(kind.count, of)
            .more("meaning", said(|kind| &kind.meaning).unwrap_or_default())
            .more("cause", said(|kind| &kind.cause).unwrap_or_default())
            .more("remedy", said(|kind| &kind.remedy).unwrap_or_default())
        })
        .collect();
    let mut tables = vec![kinds];
    if report.unclassified.total > 0 {
        let table = Table::new("Not classified", &["count>", "first", "last", "text~"]);
        tables.push(table.rows_of(&report.unclassified, |text| {
            row([
                whole(text.count),
                clock.at(text.first_at),
                clock.at(text.last_at),
                text.text.clone(),
            ])
            .code("earliest", text.sample.clone())
        }));
    }
    Part {
        tables,
        ..Part::default()
    }
}

pub(super) fn integrity<'a>(report: &'a Report, clock: &Clock) -> Part<'a> {
    let found = &report.integrity;
    let lines = |top: &Top<OddLine>| {
        top.items
            .iter()
            .map(|odd| odd.count)
            .sum::<u64>()
            .max(top.total)
    };
    let lost: u64 = found.gaps.items.iter().map(|gap| gap.lines).sum();
    let figures = vec![
        trouble("forged lines", lines(&found.forged), Level::Critical),
        trouble("lines of no record", lines(&found.raw), Level::Info),
        trouble("malformed", lines(&found.malformed), Level::Warning),
        trouble("holes", found.gaps.total, Level::Warning),
        trouble("lines missing", lost, Level::Warning),
        trouble("texts cut", found.cut, Level::Info),
        trouble("without time", found.timeless, Level::Info),
    ];
    if figures.iter().all(|figure| figure.level == Level::Ok) {
        return Part::nothing("nothing is missing, forged or malformed");
    }
    let odd = |title: &str, level: Level, top: &Top<OddLine>| {
        Table::new(title, &["count>", "text~"]).rows_of(top, |odd| {
            row([whole(odd.count), odd.text.clone()]).level(level)
        })
    };
    let mut tables = vec![
        odd(
            "Forged lines, which were not counted",
            Level::Critical,
            &found.forged,
        ),
        Table::new(
            "Holes in the line numbers of sessions",
            &["before", "pid>", "lines missing>"],
        )
        .rows_of(&found.gaps, |gap| {
            row([clock.at(gap.at), gap.pid.to_string(), whole(gap.lines)])
        }),
        odd("Malformed", Level::Warning, &found.malformed),
        odd("Lines of no record", Level::Info, &found.raw),
    ];
    tables.retain(|table| !table.rows.is_empty());
    let mut notes = Vec::new();
    if lines(&found.forged) > 0 {
        notes.push(
            "Somebody put a line end into the name of a user, a database or an application: csvlog and jsonlog cannot be forged so."
                .to_owned(),
        );
    }
    let figures = figures
        .into_iter()
        .filter(|figure| figure.level != Level::Ok)
        .collect();
    Part {
        figures,
        tables,
        notes,
        ..Part::default()
    }
}

/// Returns counts by name as a table of its own.
pub(super) fn counts<'a>(
    title: &'static str,
    name: &'static str,
    counts: impl IntoIterator<Item = (&'a String, &'a u64)>,
) -> Table {
    let mut counts: Vec<(&String, u64)> = counts.into_iter().map(|(n, c)| (n, *c)).collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let all: u64 = counts.iter().map(|(_, count)| count).sum();
    Table::new(title, &[name, "count%", "share>"]).with(counts.iter().map(|(name, count)| {
        row([
            if name.is_empty() { "(none)" } else { name }.to_owned(),
            whole(*count),
            percent(*count, all),
        ])
        .share(*count, all)
    }))
}

/// Returns the largest counts of a map in one line.
pub(super) fn counted<'a>(counts: impl IntoIterator<Item = (&'a String, &'a u64)>) -> String {
    names(counts.into_iter().map(|(name, count)| (name, *count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_in_a_unit_that_people_can_imagine() {
        for (count, seconds, shown) in [
            (7_200, 3_600.0, "2/s"),
            (360, 3_600.0, "6/min"),
            (3, 3_600.0, "3/h"),
            (1, 172_800.0, "0.5/day"),
        ] {
            assert_eq!(rate(count, Some(seconds)), shown);
        }
        assert_eq!(rate(5, None), "-");
    }
}
