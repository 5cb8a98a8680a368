//! Where something is wrong in the file, what was expected there, and the line itself with a caret.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::Arc;

use pawang_core::{Kind, Report};

use crate::secrets::veil;

/// Problems listed of one file; what is beyond is only counted.
pub const PROBLEMS_MAX: usize = 100;
/// Characters of a line that are quoted.
const QUOTE_CHARACTERS_MAX: usize = 120;

/// A place in the file, both counted from 1; the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line number.
    pub line: usize,
    /// Character within the line.
    pub column: usize,
}

/// One thing that is wrong in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named by the caller.
    pub file: String,
    /// Where; `None` when it concerns the whole file or the configuration was not read from one.
    pub position: Option<Position>,
    /// What is wrong, a lower-case fragment.
    pub message: String,
    /// What was expected instead; empty when the message says it all.
    pub expected: String,
    /// The line with a caret below, secrets veiled.
    pub quote: Option<String>,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Problem {
    /// Returns the form in which people see it.
    pub fn report(&self) -> Report {
        let place = self.position.map_or(String::new(), |position| {
            format!(":{}:{}", position.line, position.column)
        });
        let primary = format!("{}{place}: {}", self.file, self.message);
        let mut detail = self.expected.clone();
        if let Some(quote) = &self.quote {
            if detail.is_empty() {
                detail.push_str("the line is");
            }
            detail.push('\n');
            detail.push_str(quote);
        }
        Report {
            primary,
            detail: (!detail.is_empty()).then_some(detail),
            hint: self.hint.clone(),
            kind: Kind::Usage,
        }
    }
}

/// Something that is wrong at a key, before anybody looked where that stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistake {
    /// The key, as `alert.window[0].schedule`.
    pub path: String,
    /// What is wrong, a lower-case fragment.
    pub message: String,
    /// What was expected instead; empty when the message says it all.
    pub expected: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Mistake {
    /// Returns a mistake without hint.
    pub fn new(
        path: impl Into<String>,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) -> Mistake {
        Mistake {
            path: path.into(),
            message: message.into(),
            expected: expected.into(),
            hint: None,
        }
    }
}

/// Every problem of a file, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Errors {
    /// The problems, at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub left_off: usize,
}

impl Errors {
    /// Returns the one problem of a file as a whole.
    pub(crate) fn of_file(file: &str, message: String, hint: Option<&str>) -> Errors {
        let problem = Problem {
            file: file.to_owned(),
            position: None,
            message,
            expected: String::new(),
            quote: None,
            hint: hint.map(str::to_owned),
        };
        Errors {
            problems: vec![problem],
            left_off: 0,
        }
    }

    /// Returns the form in which people see them, one report per problem.
    pub fn reports(&self) -> Vec<Report> {
        let mut reports: Vec<Report> = self.problems.iter().map(Problem::report).collect();
        if self.left_off > 0 {
            let file = self.problems.first().map_or("", |problem| &problem.file);
            let text = format!("{file}: {} more problems are not shown", self.left_off);
            reports.push(Report::new(Kind::Usage, text));
        }
        reports
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, report) in self.reports().iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n\n" };
            write!(f, "{separator}{report}")?;
        }
        Ok(())
    }
}

/// Where each key of a configuration stands in its file, so that later problems can point at it.
#[derive(Clone, Default, PartialEq)]
pub struct Origin {
    /// The file's name; empty when the configuration was not read from a file.
    pub(crate) file: String,
    pub(crate) text: Arc<str>,
    /// Spans by path, such as `instance[0].url`.
    pub(crate) spans: BTreeMap<String, Range<usize>>,
}

impl fmt::Debug for Origin {
    /// Leaves the text out: it may contain passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Origin {
    /// Returns the span of `path`, or of its nearest parent that stands in the file.
    pub(crate) fn span(&self, path: &str) -> Option<Range<usize>> {
        let mut path = path;
        loop {
            if let Some(span) = self.spans.get(path) {
                return Some(span.clone());
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    /// Returns `file:line:column` of a span.
    pub(crate) fn place(&self, span: Range<usize>) -> String {
        let position = quote(&self.text, span).0;
        format!("{}:{}:{}", self.file, position.line, position.column)
    }

    /// Returns `file:line:column` of `path`.
    pub(crate) fn place_of(&self, path: &str) -> String {
        match self.span(path) {
            Some(span) => self.place(span),
            None => self.file_name().to_owned(),
        }
    }

    /// Returns a mistake at its place.
    pub(crate) fn draft(&self, mistake: Mistake) -> Draft {
        Draft::new(self.span(&mistake.path), mistake.message, mistake.expected)
            .with_hint(mistake.hint)
    }

    /// Sorts drafts by their place, keeps the first [`PROBLEMS_MAX`], and quotes their lines.
    pub(crate) fn errors(&self, mut drafts: Vec<Draft>) -> Errors {
        drafts.sort_by_key(|draft| draft.span.as_ref().map(|span| span.start));
        let left_off = drafts.len().saturating_sub(PROBLEMS_MAX);
        drafts.truncate(PROBLEMS_MAX);
        let problems = drafts.into_iter().map(|draft| self.problem(draft));
        Errors {
            problems: problems.collect(),
            left_off,
        }
    }

    fn problem(&self, draft: Draft) -> Problem {
        let quoted = draft.span.map(|span| quote(&self.text, span));
        let (position, quote) = quoted.unzip();
        Problem {
            file: self.file_name().to_owned(),
            position,
            message: draft.message,
            expected: draft.expected,
            quote,
            hint: draft.hint,
        }
    }

    fn file_name(&self) -> &str {
        if self.file.is_empty() {
            "configuration"
        } else {
            &self.file
        }
    }
}

/// A problem before its line is looked up, which costs a pass over the text.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) span: Option<Range<usize>>,
    pub(crate) message: String,
    pub(crate) expected: String,
    pub(crate) hint: Option<String>,
    /// Whether the problem is that something is not there.
    pub(crate) absence: bool,
}

impl Draft {
    /// Returns a draft without hint.
    pub(crate) fn new(
        span: Option<Range<usize>>,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) -> Draft {
        Draft {
            span,
            message: message.into(),
            expected: expected.into(),
            hint: None,
            absence: false,
        }
    }

    /// Returns a draft about something that is not there.
    pub(crate) fn absent(
        span: Range<usize>,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) -> Draft {
        Draft {
            absence: true,
            ..Draft::new(Some(span), message, expected)
        }
    }

    /// Adds what to write instead.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: Option<String>) -> Draft {
        self.hint = hint;
        self
    }
}

/// Returns the position of a byte span, and its first line with a caret under the span.
fn quote(text: &str, span: Range<usize>) -> (Position, String) {
    let start = floor_boundary(text, span.start);
    let end = floor_boundary(text, span.end).max(start);
    let line_start = text[..start].rfind('\n').map_or(0, |index| index + 1);
    let line_end = text[start..]
        .find('\n')
        .map_or(text.len(), |index| start + index);
    let line = text[line_start..line_end].trim_end_matches('\r');
    let column = text[line_start..start].chars().count();
    let position = Position {
        line: text[..line_start].matches('\n').count() + 1,
        column: column + 1,
    };
    let marked = text[start..end.min(line_end).max(start)]
        .chars()
        .count()
        .max(1);

    let shown: Vec<char> = veil(line).chars().map(printable).collect();
    // A long line is shown from a little before the caret on.
    let first = if shown.len() <= QUOTE_CHARACTERS_MAX {
        0
    } else {
        column.saturating_sub(QUOTE_CHARACTERS_MAX / 2)
    };
    let last = (first + QUOTE_CHARACTERS_MAX).min(shown.len());
    let visible: String = shown.get(first..last).unwrap_or_default().iter().collect();
    let indent: String = shown
        .get(first..column.min(shown.len()))
        .unwrap_or_default()
        .iter()
        .map(|c| if *c == '\t' { '\t' } else { ' ' })
        .collect();
    let carets = marked.min(last.saturating_sub(column).max(1));
    let number = position.line.to_string();
    let mut quote = String::new();
    let _ = writeln!(quote, "{number} | {}", visible.trim_end());
    let _ = write!(
        quote,
        "{} | {indent}{}",
        " ".repeat(number.len()),
        "^".repeat(carets)
    );
    (position, quote)
}

fn floor_boundary(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// Keeps escape sequences of a hostile file away from the terminal.
fn printable(c: char) -> char {
    if c.is_control() && c != '\t' {
        char::REPLACEMENT_CHARACTER
    } else {
        c
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_the_line_with_a_caret_under_the_span() {
        let text = "a = 1\r\n\tné = \u{1b}[31m\nlast";
        for (span, line, column, expected) in [
            (0..1, 1, 1, "1 | a = 1\n  | ^"),
            (8..11, 2, 2, "2 | \tné = \u{fffd}[31m\n  | \t^^"),
            (20..24, 3, 1, "3 | last\n  | ^^^^"),
            (24..24, 3, 5, "3 | last\n  |     ^"),
            (900..999, 3, 5, "3 | last\n  |     ^"),
        ] {
            let (position, quoted) = quote(text, span.clone());
            assert_eq!(
                (position, quoted.as_str()),
                (Position { line, column }, expected),
                "{span:?}"
            );
        }
    }

    #[test]
    fn a_long_line_is_shown_around_the_caret() {
        let text = format!("{}!{}", "x".repeat(1000), "y".repeat(1000));
        let (position, quoted) = quote(&text, 1000..1001);
        assert_eq!(position.column, 1001);
        let lines: Vec<&str> = quoted.lines().collect();
        assert_eq!(lines[0].len(), 4 + QUOTE_CHARACTERS_MAX);
        assert_eq!(lines[0].find('!'), lines[1].find('^'));
    }
}
