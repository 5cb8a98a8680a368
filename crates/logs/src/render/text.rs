//! Text for a terminal: the first screen of a DBA, and one subject alone.

use std::fmt::Write;

use pawang_core::Level;

use super::Style;
use super::part::{Figure, Form, Part, Row, Section, Table};
use super::style::{Clock, bytes, cut, lines_of, one_line, whole};
use crate::report::Report;

/// Columns of a line where the terminal does not say.
const COLUMNS: usize = 100;
/// Columns that a column of words keeps at least before others are cut for it.
const WORDS_MIN: usize = 24;
/// Columns that a column of words should have; minor columns are left out for it.
const WORDS_WANTED: usize = 48;
/// Columns that are left out where words have too little room, the last first.
const MINOR: [&str; 8] = [
    "first",
    "share",
    "severity",
    "since",
    "waits itself",
    "mean",
    "slowest",
    "p95",
];
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
    let fitted = |line: &str| cut(line, style.width.unwrap_or(usize::MAX));
    let _ = writeln!(out, "{}", style.heading(&fitted(&span)));
    let records = format!(
        "{} records, {}  from {}",
        whole(totals.records),
        of("rate"),
        files(report)
    );
    let _ = writeln!(out, "{}", fitted(&records));
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
        let width = style.width.unwrap_or(usize::MAX).saturating_sub(6);
        let note = cut(&one_line(note), width);
        let _ = writeln!(out, "{}  {note}", style.level(Level::Warning));
    }
}

/// Returns where the bytes came from, in one line.
fn files(report: &Report) -> String {
    let source = &report.source;
    let mut formats: Vec<&str> = source
        .files
        .iter()
        .map(|file| file.format.as_str())
        .filter(|format| !format.is_empty())
        .collect();
    formats.sort_unstable();
    formats.dedup();
    let name = match source.files.as_slice() {
        [file] => one_line(&file.name),
        files => format!("{} files", files.len()),
    };
    match formats.join(", ") {
        formats if formats.is_empty() => format!("{name}, {}", bytes(source.bytes)),
        formats => format!("{name}, {} of {formats}", bytes(source.bytes)),
    }
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
        let text = cut(&text, width);
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
    let mut columns: Vec<usize> = (0..table.columns.len()).collect();
    let mut widths = widths(table, &columns, style.width, levels);
    // What can be done without makes room for the words.
    while narrow(table, &columns, &widths) {
        let minor = |index: &usize| MINOR.contains(&table.columns[*index].name);
        let Some(place) = columns.iter().rposition(minor) else {
            break;
        };
        columns.remove(place);
        widths = self::widths(table, &columns, style.width, levels);
    }
    let blank = if levels { "      " } else { "" };
    let names = |index: &usize| table.columns[*index].name.to_owned();
    let names: Vec<String> = columns.iter().map(names).collect();
    let _ = writeln!(out, "{blank}{}", line(table, &columns, &names, &widths));
    for row in &table.rows {
        let level = match (levels, row.level) {
            (true, Some(level)) => style.level(level) + "  ",
            (true, None) => blank.to_owned(),
            (false, _) => String::new(),
        };
        let cells = columns.iter().map(|index| one_line(&row.cells[*index]));
        let cells: Vec<String> = cells.collect();
        let _ = writeln!(out, "{level}{}", line(table, &columns, &cells, &widths));
        if long {
            more(out, row);
        }
    }
}

/// Says whether a column of words is too narrow to say much although it has more to say.
fn narrow(table: &Table, columns: &[usize], widths: &[usize]) -> bool {
    columns.iter().zip(widths).any(|(index, width)| {
        let soft = matches!(table.columns[*index].form, Form::Words | Form::Code);
        soft && *width < WORDS_WANTED && *width < most(table, *index)
    })
}

/// Returns the characters of the widest cell of a column.
fn most(table: &Table, index: usize) -> usize {
    let cells = table
        .rows
        .iter()
        .map(|row| one_line(&row.cells[index]).chars().count());
    let name = table.columns[index].name.chars().count();
    cells.max().unwrap_or(0).max(name)
}

fn more(out: &mut String, row: &Row) {
    for detail in &row.details {
        for (index, line) in detail.text.lines().enumerate() {
            let name = if index == 0 { detail.name } else { "" };
            let line = lines_of(line);
            let _ = writeln!(out, "          {name:<16} {}", line.trim_end());
        }
    }
}

/// Returns the width of each column; words give way until the line fits.
fn widths(table: &Table, columns: &[usize], width: Option<usize>, levels: bool) -> Vec<usize> {
    let natural = |index: &usize| {
        let most = most(table, *index);
        match (table.columns[*index].form, width) {
            (Form::Word, Some(_)) => most.min(WORD_MAX),
            _ => most,
        }
    };
    let mut widths: Vec<usize> = columns.iter().map(natural).collect();
    let Some(width) = width else {
        return widths;
    };
    let soft = |place: &usize| {
        let form = table.columns[columns[*place]].form;
        matches!(form, Form::Words | Form::Code)
    };
    let soft: Vec<usize> = (0..columns.len()).filter(soft).collect();
    let used = |widths: &[usize]| {
        let gaps = 2 * widths.len().saturating_sub(1) + if levels { 6 } else { 0 };
        widths.iter().sum::<usize>() + gaps
    };
    // The last column of words is the one that tells most: the others give way first.
    for (order, place) in soft.iter().enumerate() {
        let excess = used(&widths).saturating_sub(width);
        let least = if order + 1 == soft.len() {
            8
        } else {
            WORDS_MIN
        };
        let least = least.min(widths[*place]);
        widths[*place] = widths[*place].saturating_sub(excess).max(least);
    }
    // A terminal that is too narrow even so shortens names.
    for place in 0..columns.len() {
        let excess = used(&widths).saturating_sub(width);
        if table.columns[columns[place]].form == Form::Word {
            let least = widths[place].min(8);
            widths[place] = widths[place].saturating_sub(excess).max(least);
        }
    }
    widths
}

fn line(table: &Table, columns: &[usize], cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for ((index, cell), width) in columns.iter().zip(cells).zip(widths) {
        let cell = cut(cell, *width);
        let _ = match table.columns[*index].form {
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
        let table = Table {
            rows: vec![Row {
                cells: vec!["12".to_owned(), "select ".repeat(40)],
                ..Row::default()
            }],
            ..table
        };
        let widths = widths(&table, &[0, 1], Some(80), true);
        assert_eq!(widths.iter().sum::<usize>() + 2 + 6, 80);
        let shown = line(&table, &[0, 1], &table.rows[0].cells, &widths);
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
