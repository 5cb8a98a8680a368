//! A table before it is drawn: headings, lines, and how they sort.

use pawang_core::Level;

/// A column.
#[derive(Clone, Copy)]
pub(crate) struct Heading {
    /// Its name.
    pub name: &'static str,
    /// Characters that it takes; 0 takes what is left.
    pub width: u16,
    /// Whether it is a number.
    pub right: bool,
}

/// What a cell shows and sorts by.
#[derive(Clone, Default)]
pub(crate) struct Cell {
    /// The text.
    pub text: String,
    /// Numbers sort by this, texts by themselves.
    pub sort: Option<f64>,
}

/// One line.
#[derive(Clone, Default)]
pub(crate) struct Line {
    /// What it is, across refreshes, so that the cursor stays on it.
    pub key: String,
    /// One per heading.
    pub cells: Vec<Cell>,
    /// Its colour; `Ok` has none.
    pub level: Option<Level>,
    /// What `enter` shows.
    pub detail: Vec<(String, String)>,
}

/// A table.
#[derive(Default)]
pub(crate) struct Table {
    /// Its columns.
    pub headings: Vec<Heading>,
    /// Its lines, in the order that says most.
    pub lines: Vec<Line>,
    /// Sentences above it.
    pub notes: Vec<String>,
    /// What is said when it has no lines.
    pub empty: String,
}

impl Heading {
    /// Returns a column of texts.
    pub(crate) const fn text(name: &'static str, width: u16) -> Heading {
        Heading {
            name,
            width,
            right: false,
        }
    }

    /// Returns a column of numbers.
    pub(crate) const fn number(name: &'static str, width: u16) -> Heading {
        Heading {
            name,
            width,
            right: true,
        }
    }
}

impl Cell {
    /// Returns a cell that sorts by its text.
    pub(crate) fn text(text: impl Into<String>) -> Cell {
        Cell {
            text: text.into(),
            sort: None,
        }
    }

    /// Returns a cell that sorts by a number; what was not seen sorts last.
    pub(crate) fn number(text: String, value: Option<f64>) -> Cell {
        Cell {
            text,
            sort: Some(value.unwrap_or(f64::NEG_INFINITY)),
        }
    }
}

impl Table {
    /// Keeps the lines in which a word occurs, in any case.
    pub(crate) fn filter(&mut self, word: &str) {
        if word.is_empty() {
            return;
        }
        let word = word.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&word);
        self.lines.retain(|line| {
            line.cells.iter().any(|cell| has(&cell.text))
                || line.detail.iter().any(|(_, text)| has(text))
        });
        if self.lines.is_empty() {
            self.empty = format!("nothing matches \"{word}\"");
        }
    }

    /// Sorts by a column, numbers from the largest and texts from A; `reverse` turns it around.
    pub(crate) fn sort(&mut self, column: usize, reverse: bool) {
        self.lines.sort_by(|a, b| {
            let (Some(a), Some(b)) = (a.cells.get(column), b.cells.get(column)) else {
                return std::cmp::Ordering::Equal;
            };
            let order = match (a.sort, b.sort) {
                (Some(a), Some(b)) => b.total_cmp(&a),
                _ => a.text.cmp(&b.text),
            };
            if reverse { order.reverse() } else { order }
        });
    }
}
