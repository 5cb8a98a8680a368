//! Markdown for a ticket or a wiki.

use std::fmt::Write;

use pawang_core::Level;

use super::Style;
use super::part::{Form, Part, Section, Table};
use super::style::{Clock, cut, lines_of, one_line};
use crate::report::Report;

/// Characters of a cell.
const CELL_CHARACTERS_MAX: usize = 300;
/// Rows of a table.
const ROWS_MAX: usize = 50;

/// Returns the whole report; instants are in the zone of the style.
pub fn markdown(report: &Report, style: &Style) -> String {
    let mut out = "# PostgreSQL log\n".to_owned();
    let mut nothing = Vec::new();
    for section in Section::ALL {
        let part = part(report, section, style);
        match part.nothing {
            Some(why) => nothing.push((section, why)),
            None => body(&mut out, section, &part),
        }
    }
    if !nothing.is_empty() {
        out.push_str("\n## Nothing to show\n\n");
        for (section, why) in nothing {
            let _ = writeln!(out, "- {}: {why}", section.title());
        }
    }
    out
}

/// Returns one subject alone.
pub fn section_markdown(report: &Report, section: Section, style: &Style) -> String {
    let part = part(report, section, style);
    let mut out = String::new();
    match part.nothing {
        Some(why) => {
            let _ = writeln!(out, "## {}\n\nNothing: {why}", section.title());
        }
        None => body(&mut out, section, &part),
    }
    out
}

fn part<'a>(report: &'a Report, section: Section, style: &Style) -> Part<'a> {
    let clock = Clock::new(&style.zone, report.totals.first_at, report.totals.last_at);
    section.part(report, &clock, ROWS_MAX)
}

fn body(out: &mut String, section: Section, part: &Part<'_>) {
    let _ = writeln!(out, "\n## {}", section.title());
    if !part.figures.is_empty() {
        out.push('\n');
    }
    for figure in &part.figures {
        let mark = if figure.level == Level::Ok { "" } else { "**" };
        let _ = writeln!(
            out,
            "- {}: {mark}{}{mark}",
            figure.name,
            escape(&figure.value)
        );
    }
    for note in &part.notes {
        let _ = writeln!(out, "\n{}", escape(note));
    }
    for table in &part.tables {
        if section == Section::Advice {
            advice(out, table);
        } else {
            grid(out, table);
        }
    }
}

fn advice(out: &mut String, table: &Table) {
    for row in &table.rows {
        let level = row.level.unwrap_or(Level::Info);
        let [title, because] = row.cells.as_slice() else {
            continue;
        };
        let _ = writeln!(out, "\n**{level}: {}** {}", escape(title), escape(because));
        for detail in &row.details {
            fenced(out, &detail.text);
        }
    }
}

fn grid(out: &mut String, table: &Table) {
    out.push('\n');
    if !table.title.is_empty() {
        let _ = writeln!(out, "### {}\n", table.title);
    }
    let levels = table.rows.iter().any(|row| row.level.is_some());
    let (mut names, mut rules) = (String::from("|"), String::from("|"));
    if levels {
        names.push_str(" level |");
        rules.push_str("---|");
    }
    for column in &table.columns {
        let _ = write!(names, " {} |", column.name);
        rules.push_str(match column.form {
            Form::Number | Form::Share => "--:|",
            _ => "---|",
        });
    }
    let _ = writeln!(out, "{names}\n{rules}");
    for row in &table.rows {
        out.push('|');
        if levels {
            let _ = write!(out, " {} |", row.level.map_or("", Level::as_str));
        }
        for (column, cell) in table.columns.iter().zip(&row.cells) {
            let text = cut(&one_line(cell), CELL_CHARACTERS_MAX);
            let shown = match column.form {
                Form::Code => code(&text),
                _ => escape(&text),
            };
            let _ = write!(out, " {shown} |");
        }
        out.push('\n');
    }
    if let Some(beyond) = table.beyond() {
        let _ = writeln!(out, "\n{beyond}");
    }
}

/// Returns a text as code within a line of a table: it needs more backticks around it than it has within.
fn code(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let ticks = "`".repeat(longest + 1);
    let text = text.replace('|', "\\|");
    let space = if longest > 0 { " " } else { "" };
    if text.is_empty() {
        return String::new();
    }
    format!("{ticks}{space}{text}{space}{ticks}")
}

fn fenced(out: &mut String, text: &str) {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let text = lines_of(text);
    let _ = writeln!(out, "\n{fence}sql\n{}\n{fence}", text.trim_end());
}

/// Returns a text in which nothing means anything to Markdown or HTML.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '#' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_log_mean_nothing_to_markdown() {
        for (text, shown) in [
            ("a|b", "a\\|b"),
            ("<img src=x>", "&lt;img src=x&gt;"),
            ("[x](http://y)", "\\[x\\](http://y)"),
            ("two\nlines", "two lines"),
        ] {
            assert_eq!(escape(text), shown);
        }
        for (text, shown) in [
            ("select 1", "`select 1`"),
            ("a | b", "`a \\| b`"),
            ("``x", "``` ``x ```"),
            ("", ""),
        ] {
            assert_eq!(code(text), shown);
        }
    }
}
