//! Tables: aligned for people at a terminal, tab-separated and whole for a pipe.

use std::fmt::Write;

use pawang_report::one_line;

use crate::output;

/// Characters of one cell on a terminal.
const CELL_CHARACTERS_MAX: usize = 60;
const CUT: &str = "...";

/// A table in the making.
pub(crate) struct Grid {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
    numbers: Vec<bool>,
}

impl Grid {
    /// Begins a table; headings that end in `>` are of columns of numbers.
    pub(crate) fn new(headings: &[&str]) -> Grid {
        Grid {
            headings: headings
                .iter()
                .map(|h| h.trim_end_matches('>').to_owned())
                .collect(),
            numbers: headings.iter().map(|h| h.ends_with('>')).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, one cell per heading.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.headings.len(), "one cell per heading");
        let cells = cells.iter().map(|cell| one_line(cell)).collect();
        self.rows.push(cells);
    }

    /// Says whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns it for wherever stdout goes.
    pub(crate) fn text(&self) -> String {
        if output::terminal() {
            self.aligned()
        } else {
            self.separated()
        }
    }

    fn separated(&self) -> String {
        let mut out = String::new();
        for row in std::iter::once(&self.headings).chain(&self.rows) {
            let _ = writeln!(out, "{}", row.join("\t"));
        }
        out
    }

    fn aligned(&self) -> String {
        let rows: Vec<Vec<String>> = std::iter::once(&self.headings)
            .chain(&self.rows)
            .map(|row| row.iter().map(|cell| cut(cell)).collect())
            .collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..self.headings.len())
            .map(|column| width(column).unwrap_or(0))
            .collect();
        let mut out = String::new();
        for row in &rows {
            let mut line = String::new();
            for (index, cell) in row.iter().enumerate() {
                let width = widths[index];
                let _ = if self.numbers[index] {
                    write!(line, "{cell:>width$}  ")
                } else {
                    write!(line, "{cell:<width$}  ")
                };
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
        out
    }
}

fn cut(cell: &str) -> String {
    if cell.chars().count() <= CELL_CHARACTERS_MAX {
        return cell.to_owned();
    }
    let kept = cell.chars().take(CELL_CHARACTERS_MAX - CUT.len());
    kept.collect::<String>() + CUT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_gets_everything_and_a_terminal_gets_columns() {
        let mut grid = Grid::new(&["table", "rows>"]);
        assert!(grid.is_empty());
        grid.row(vec!["a".repeat(70), "5".to_owned()]);
        grid.row(vec!["b\tc".to_owned(), "1,000".to_owned()]);
        assert_eq!(
            grid.separated(),
            format!("table\trows\n{}\t5\nb c\t1,000\n", "a".repeat(70))
        );
        let expected = format!(
            "{:<60}   rows\n{}...      5\n{:<60}  1,000\n",
            "table",
            "a".repeat(57),
            "b c"
        );
        assert_eq!(grid.aligned(), expected);
    }
}
