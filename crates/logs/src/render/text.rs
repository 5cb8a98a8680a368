//! Text for a terminal: the first screen of a DBA, and one subject alone.

use std::fmt::Write;

use pawang_core::Level;

use super::Style;
use super::part::{Figure, Form, Part, Row, Section, Table};
use super::style::{Clock, bytes, cut, one_line, whole};
use crate::report::Report;

/// Columns of a line where the terminal does not say.
const COLUMNS: usize = 100;
/// Columns that a column of words keeps at least before others are cut for it.
const WORDS_MIN: usize = 24;
/// Columns of a short word beyond which it is cut on a terminal.
const WORD_MAX: usize = 32;
/// Rows of the first table of a subject in the whole report; the subject alone shows all that there are.
const ROWS_SHORT: usize = 6;

/// Returns the whole report: each subject with its figures and the first rows of its first table, and last what there is nothing about.
pub fn text(report: &Report, style: &Style, long: bool) -> String {
    let clock = Clock::new(&style.zone, report.totals.first_at, report.totals.last_at);
    let mut out = String::new();
    head(&mut out, report, style, &clock);
    let mut nothing = Vec::new();
    for section in Section::ALL {
        if section == Section::Summary {
            continue;
        }
        let mut part = section.part(report, &clock, if long { usize::MAX } else { ROWS_SHORT });
        if part.nothing.is_some() {
            nothing.push(section);
            continue;
        }
        if !long {
            // A crash is told besides the events, a blocker besides its deadlock; other subjects have one table that matters.
            let kept = if matches!(section, Section::Server | Section::Locks) {
                2
            } else {
                1
            };
            part.tables.truncate(kept);
        }
        let _ = writeln!(out, "\n{}", style.heading(&section.title().to_uppercase()));
        body(&mut out, section, &part, style, long);
    }
    if !nothing.is_empty() {
        let names: Vec<&str> = nothing.iter().map(|section| section.name()).collect();
        let _ = writeln!(out, "\nnothing about: {}", names.join(", "));
    }
    out
}

/// Returns one subject alone, with all its tables.
pub fn section_text(report: &Report, section: Section, style: &Style, long: bool) -> String {
    let clock = Clock::new(&style.zone, report.totals.first_at, report.totals.last_at);
    let mut out = String::new();
    let part = section.part(report, &clock, usize::MAX);
    if let Some(why) = part.nothing {
        let _ = writeln!(out, "nothing: {why}");
        return out;
    }
    body(&mut out, section, &part, style, long);
    out
}

/// Returns the first table of a subject, headings first, nothing cut: for a pipe.
pub fn section_rows(report: &Report, section: Section, style: &Style) -> Vec<Vec<String>> {
    let clock = Clock::new(&style.zone, report.totals.first_at, report.totals.last_at);
    let part = section.part(report, &clock, usize::MAX);
    let Some(table) = part.tables.first() else {
        let cells = |figure: &Figure| vec![figure.name.to_owned(), figure.value.clone()];
        return part.figures.iter().map(cells).collect();
    };
    let headings = table.columns.iter().map(|column| column.name.to_owned());
    let mut rows = vec![headings.collect::<Vec<_>>()];
    for row in &table.rows {
        rows.push(row.cells.iter().map(|cell| one_line(cell)).collect());
    }
    rows
}

fn head(out: &mut String, report: &Report, style: &Style, clock: &Clock) {
    let totals = &report.totals;
    let part = Section::Summary.part(report, clock, usize::MAX);
    let of = |name: &str| {
        let figure = part.figures.iter().find(|figure| figure.name == name);
        figure.map_or("-", |figure| figure.value.as_str())
    };
    let span = format!(
        "{} to {} {}  ({})",
        of("from"),
        of("to"),
        of("zone"),
        of("span")
    );
    let _ = writeln!(out, "{}", style.heading(&span));
    let _ = writeln!(
        out,
        "{} records, {}  from {}",
        whole(totals.records),
        of("rate"),
        files(report)
    );
    let bad: Vec<String> = part
        .figures
        .iter()
        .filter(|figure| figure.level != Level::Ok)
        .map(|figure| style.tint(&format!("{} {}", figure.name, figure.value), figure.level))
        .collect();
    let _ = writeln!(
        out,
        "{}",
        if bad.is_empty() {
            "no warning and no error".to_owned()
        } else {
            bad.join("  ")
        }
    );
    for note in &part.notes {
        let _ = writeln!(out, "{}  {}", style.level(Level::Warning), one_line(note));
    }
}

/// Returns where the bytes came from, in one line.
fn files(report: &Report) -> String {
    let source = &report.source;
    let mut formats: Vec<&str> = source
        .files
        .iter()
        .map(|file| file.format.as_str())
        .collect();
    formats.sort_unstable();
    formats.dedup();
    let name = match source.files.as_slice() {
        [file] => one_line(&file.name),
        files => format!("{} files", files.len()),
    };
    format!("{name}, {} of {}", bytes(source.bytes), formats.join(", "))
}

fn body(out: &mut String, section: Section, part: &Part<'_>, style: &Style, long: bool) {
    figures(out, &part.figures, style);
    for note in &part.notes {
        for line in wrapped(&one_line(note), style.width.unwrap_or(COLUMNS)) {
            let _ = writeln!(out, "{line}");
        }
    }
    for table in &part.tables {
        if !table.title.is_empty() {
            let _ = writeln!(out, "{}", style.heading(&table.title));
        }
        if section == Section::Advice {
            advice(out, table, style);
            continue;
        }
        grid(out, table, style, long);
        if let Some(beyond) = table.beyond() {
            let _ = writeln!(out, "  {beyond}");
        }
    }
}

/// Writes figures side by side, as many as a line holds.
fn figures(out: &mut String, figures: &[Figure], style: &Style) {
    let width = style.width.unwrap_or(COLUMNS);
    let mut used = 0;
    for figure in figures {
        let text = format!("{} {}", figure.name, one_line(&figure.value));
        let length = text.chars().count();
        if used > 0 && used + 3 + length > width {
            out.push('\n');
            used = 0;
        }
        if used > 0 {
            out.push_str("   ");
            used += 3;
        }
        used += length;
        if figure.level == Level::Ok {
            out.push_str(&text);
        } else {
            out.push_str(&style.tint(&text, figure.level));
        }
    }
    if used > 0 {
        out.push('\n');
    }
}

/// Writes advice as sentences: they are read, not compared.
fn advice(out: &mut String, table: &Table, style: &Style) {
    let width = style.width.unwrap_or(COLUMNS).saturating_sub(6);
    for row in &table.rows {
        let level = style.level(row.level.unwrap_or(Level::Info));
        let mut texts = row.cells.iter().map(|cell| one_line(cell));
        let title = texts.next().unwrap_or_default();
        for (index, line) in wrapped(&title, width).iter().enumerate() {
            let start = if index == 0 { level.as_str() } else { "    " };
            let _ = writeln!(out, "{start}  {line}");
        }
        for text in texts {
            for line in wrapped(&text, width) {
                let _ = writeln!(out, "      {line}");
            }
        }
        for detail in &row.details {
            for line in detail.text.lines() {
                let _ = writeln!(out, "      {}", one_line(line));
            }
        }
    }
    if let Some(beyond) = table.beyond() {
        let _ = writeln!(out, "      {beyond}");
    }
}

/// Writes a table: numbers at the right, and what is left of the line for words.
fn grid(out: &mut String, table: &Table, style: &Style, long: bool) {
    let levels = table.rows.iter().any(|row| row.level.is_some());
    let rows: Vec<Vec<String>> = table
        .rows
        .iter()
        .map(|row| row.cells.iter().map(|cell| one_line(cell)).collect())
        .collect();
    let widths = widths(table, &rows, style.width, levels);
    let blank = if levels { "      " } else { "" };
    let names: Vec<String> = table.columns.iter().map(|c| c.name.to_owned()).collect();
    let _ = writeln!(out, "{blank}{}", line(table, &names, &widths));
    for (row, cells) in table.rows.iter().zip(&rows) {
        let level = match (levels, row.level) {
            (true, Some(level)) => style.level(level) + "  ",
            (true, None) => blank.to_owned(),
            (false, _) => String::new(),
        };
        let _ = writeln!(out, "{level}{}", line(table, cells, &widths));
        if long {
            more(out, row);
        }
    }
}

fn more(out: &mut String, row: &Row) {
    for detail in &row.details {
        for (index, line) in detail.text.lines().enumerate() {
            let name = if index == 0 { detail.name } else { "" };
            let line: String = line
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            let _ = writeln!(out, "          {name:<16} {}", line.trim_end());
        }
    }
}

/// Returns the width of each column; words give way until the line fits.
fn widths(table: &Table, rows: &[Vec<String>], width: Option<usize>, levels: bool) -> Vec<usize> {
    let mut widths: Vec<usize> = table
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let cells = rows.iter().map(|row| row[index].chars().count());
            let most = cells.max().unwrap_or(0).max(column.name.chars().count());
            match (column.form, width) {
                (Form::Word, Some(_)) => most.min(WORD_MAX),
                _ => most,
            }
        })
        .collect();
    let Some(width) = width else {
        return widths;
    };
    let soft: Vec<usize> = (0..table.columns.len())
        .filter(|index| matches!(table.columns[*index].form, Form::Words | Form::Code))
        .collect();
    let used = |widths: &[usize]| {
        widths.iter().sum::<usize>()
            + 2 * widths.len().saturating_sub(1)
            + if levels { 6 } else { 0 }
    };
    // The last column of words is the one that tells most: the others give way first.
    for (place, index) in soft.iter().enumerate() {
        let excess = used(&widths).saturating_sub(width);
        let least = if place + 1 == soft.len() {
            8
        } else {
            WORDS_MIN
        };
        widths[*index] = widths[*index]
            .saturating_sub(excess)
            .max(least.min(widths[*index]));
    }
    widths
}

fn line(table: &Table, cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for ((column, cell), width) in table.columns.iter().zip(cells).zip(widths) {
        let cell = cut(cell, *width);
        let _ = match column.form {
            Form::Number | Form::Share => write!(line, "{cell:>width$}  "),
            _ => write!(line, "{cell:<width$}  "),
        };
    }
    line.truncate(line.trim_end().len());
    line
}

/// Returns a sentence in lines of a width.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        let length = lines[last].chars().count();
        if length > 0 && length + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            let space = if length > 0 { " " } else { "" };
            lines[last].push_str(space);
            lines[last].push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_give_way_until_a_line_fits() {
        let table = Table {
            columns: vec![
                super::super::part::Column {
                    name: "count",
                    form: Form::Number,
                },
                super::super::part::Column {
                    name: "statement",
                    form: Form::Code,
                },
            ],
            ..Table::default()
        };
        let rows = vec![vec!["12".to_owned(), "select ".repeat(40)]];
        let widths = widths(&table, &rows, Some(80), true);
        assert_eq!(widths.iter().sum::<usize>() + 2 + 6, 80);
        let shown = line(&table, &rows[0], &widths);
        assert!(
            shown.chars().count() <= 74 && shown.ends_with("..."),
            "{shown}"
        );
    }

    #[test]
    fn sentences_are_wrapped_between_words() {
        assert_eq!(wrapped("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrapped("longword x", 4), ["longword", "x"]);
    }
}
