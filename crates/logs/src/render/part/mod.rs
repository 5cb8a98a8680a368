//! What the report says of one subject, ready to be shown: figures, tables, charts and notes.

mod activity;
mod overview;
mod server;
mod statements;
mod timeline;

use pawang_core::Level;

pub(super) use overview::seconds;

use super::style::Clock;
use crate::report::{Report, Series, Top};

/// A subject of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Span, files, records, rates.
    Summary,
    /// What to change.
    Advice,
    /// Starts, stops and crashes.
    Server,
    /// What is wrong with the log itself.
    Integrity,
    /// Events by kind.
    Kinds,
    /// Errors by text.
    Errors,
    /// Statements by time.
    Slow,
    /// Lock waits and deadlocks.
    Locks,
    /// Checkpoints and restartpoints.
    Checkpoints,
    /// Autovacuum.
    Vacuums,
    /// Temporary files.
    Temp,
    /// Logins and sessions.
    Connections,
    /// Plans of auto_explain.
    Plans,
    /// pgaudit.
    Audit,
    /// PgBouncer.
    PgBouncer,
    /// PgBouncer and the server side by side.
    Timeline,
}

impl Section {
    /// All subjects, in the order in which a report has them.
    pub const ALL: [Section; 16] = [
        Section::Summary,
        Section::Advice,
        Section::Server,
        Section::Integrity,
        Section::Kinds,
        Section::Errors,
        Section::Slow,
        Section::Locks,
        Section::Checkpoints,
        Section::Vacuums,
        Section::Temp,
        Section::Connections,
        Section::Plans,
        Section::Audit,
        Section::PgBouncer,
        Section::Timeline,
    ];

    /// Returns its name in addresses and commands.
    pub fn name(self) -> &'static str {
        match self {
            Section::Summary => "summary",
            Section::Advice => "advice",
            Section::Server => "server",
            Section::Integrity => "integrity",
            Section::Kinds => "kinds",
            Section::Errors => "errors",
            Section::Slow => "slow",
            Section::Locks => "locks",
            Section::Checkpoints => "checkpoints",
            Section::Vacuums => "vacuums",
            Section::Temp => "temp",
            Section::Connections => "connections",
            Section::Plans => "plans",
            Section::Audit => "audit",
            Section::PgBouncer => "pgbouncer",
            Section::Timeline => "timeline",
        }
    }

    /// Returns its heading.
    pub fn title(self) -> &'static str {
        match self {
            Section::Summary => "Summary",
            Section::Advice => "Advice",
            Section::Server => "Server",
            Section::Integrity => "The log itself",
            Section::Kinds => "Events by kind",
            Section::Errors => "Errors",
            Section::Slow => "Statements",
            Section::Locks => "Locks",
            Section::Checkpoints => "Checkpoints",
            Section::Vacuums => "Vacuum",
            Section::Temp => "Temporary files",
            Section::Connections => "Connections",
            Section::Plans => "Plans",
            Section::Audit => "Audit",
            Section::PgBouncer => "PgBouncer",
            Section::Timeline => "PgBouncer and PostgreSQL",
        }
    }

    /// Returns what it shows, when asked for `rows` rows per table.
    pub(super) fn part<'a>(self, report: &'a Report, clock: &Clock, rows: usize) -> Part<'a> {
        let build = match self {
            Section::Summary => overview::summary,
            Section::Advice => overview::advice,
            Section::Server => server::server,
            Section::Integrity => overview::integrity,
            Section::Kinds => overview::kinds,
            Section::Errors => statements::errors,
            Section::Slow => statements::slow,
            Section::Locks => activity::locks,
            Section::Checkpoints => server::checkpoints,
            Section::Vacuums => server::vacuums,
            Section::Temp => statements::temp,
            Section::Connections => activity::connections,
            Section::Plans => statements::plans,
            Section::Audit => activity::audit,
            Section::PgBouncer => activity::pgbouncer,
            Section::Timeline => timeline::timeline,
        };
        let mut part = build(report, clock);
        for table in part.tables.iter_mut().filter(|table| !table.whole) {
            table.rest += table.rows.len().saturating_sub(rows) as u64;
            table.rows.truncate(rows);
        }
        part
    }
}

/// What the report says of one subject.
#[derive(Debug, Default)]
pub(super) struct Part<'a> {
    /// Numbers with their names.
    pub figures: Vec<Figure>,
    /// Tables, the most important first.
    pub tables: Vec<Table>,
    /// Drawings, for forms that can draw.
    pub charts: Vec<Drawing<'a>>,
    /// Sentences.
    pub notes: Vec<String>,
    /// Why there is nothing to show; the rest is empty then.
    pub nothing: Option<&'static str>,
}

impl Part<'_> {
    fn nothing(why: &'static str) -> Part<'static> {
        Part {
            nothing: Some(why),
            ..Part::default()
        }
    }
}

/// A number with its name.
#[derive(Debug)]
pub(super) struct Figure {
    pub name: &'static str,
    pub value: String,
    /// How bad it is, where it is.
    pub level: Level,
}

/// Returns a figure that is neither good nor bad.
fn figure(name: &'static str, value: impl Into<String>) -> Figure {
    Figure {
        name,
        value: value.into(),
        level: Level::Ok,
    }
}

/// Returns a figure that is bad when it is more than nothing.
fn trouble(name: &'static str, count: u64, level: Level) -> Figure {
    Figure {
        name,
        value: super::style::whole(count),
        level: if count > 0 { level } else { Level::Ok },
    }
}

/// A table.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub title: String,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
    /// How many rows there are beyond.
    pub rest: u64,
    /// Whether all were kept; else there may be more.
    pub complete: bool,
    /// Whether it loses its sense without some of its rows.
    pub whole: bool,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub name: &'static str,
    pub form: Form,
}

/// What stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Amounts, at the right.
    Number,
    /// Short words.
    Word,
    /// Sentences, which may be cut.
    Words,
    /// SQL, which may be cut.
    Code,
    /// A number with its share of all as a bar, where bars can be drawn.
    Share,
}

/// A row.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// How bad it is, where that is known.
    pub level: Option<Level>,
    pub cells: Vec<String>,
    /// Share of all, from 0 to 1, for the column of form [`Form::Share`].
    pub share: f64,
    /// What there is to say beyond.
    pub details: Vec<Detail>,
}

/// More about a row.
#[derive(Debug)]
pub(super) struct Detail {
    pub name: &'static str,
    pub text: String,
    /// Whether spaces and lines matter.
    pub code: bool,
}

/// A drawing of numbers over time.
#[derive(Debug)]
pub(super) struct Drawing<'a> {
    pub title: &'static str,
    /// Unit as the chart crate knows it.
    pub unit: &'static str,
    /// By how much values are divided: 1,000,000 for seconds out of microseconds.
    pub divisor: f64,
    /// Whether a longer bucket has the highest of its values, not their sum.
    pub peak: bool,
    pub lines: Vec<(String, &'a Series)>,
}

impl<'a> Drawing<'a> {
    pub(super) fn one(
        title: &'static str,
        unit: &'static str,
        name: &str,
        series: &'a Series,
    ) -> Drawing<'a> {
        Drawing {
            title,
            unit,
            divisor: 1.0,
            peak: false,
            lines: vec![(name.to_owned(), series)],
        }
    }
}

impl Table {
    /// Begins a table; a heading that ends in `>` is of numbers, in `%` of a share, in `~` of sentences, in `;` of SQL.
    fn new(title: impl Into<String>, headings: &[&'static str]) -> Table {
        let column = |heading: &&'static str| {
            let name = heading.trim_end_matches(['>', '%', '~', ';']);
            let form = match heading.as_bytes().last() {
                Some(b'>') => Form::Number,
                Some(b'%') => Form::Share,
                Some(b'~') => Form::Words,
                Some(b';') => Form::Code,
                _ => Form::Word,
            };
            Column { name, form }
        };
        Table {
            title: title.into(),
            columns: headings.iter().map(column).collect(),
            complete: true,
            ..Table::default()
        }
    }

    /// Takes the rows of a list that may have been longer.
    fn rows_of<T>(mut self, top: &Top<T>, row: impl Fn(&T) -> Row) -> Table {
        self.rows = top.items.iter().map(row).collect();
        self.rest = top.total.saturating_sub(top.items.len() as u64);
        self.complete = top.complete;
        self
    }

    /// Takes rows.
    fn with(mut self, rows: impl Iterator<Item = Row>) -> Table {
        self.rows = rows.collect();
        self
    }

    /// Returns how many more rows there are, in words.
    pub(super) fn beyond(&self) -> Option<String> {
        let least = if self.complete { "" } else { "at least " };
        (self.rest > 0 || !self.complete)
            .then(|| format!("and {least}{} more", super::style::whole(self.rest)))
    }
}

/// Returns a row.
fn row<const N: usize>(cells: [String; N]) -> Row {
    Row {
        cells: cells.into(),
        ..Row::default()
    }
}

impl Row {
    fn level(mut self, level: Level) -> Row {
        self.level = Some(level);
        self
    }

    fn share(mut self, part: u64, whole: u64) -> Row {
        self.share = if whole == 0 {
            0.0
        } else {
            part as f64 / whole as f64
        };
        self
    }

    /// Adds what there is to say beyond, unless it is empty.
    fn more(mut self, name: &'static str, text: impl Into<String>) -> Row {
        self.add(name, text.into(), false);
        self
    }

    /// Adds a text whose spaces and lines matter, unless it is empty.
    fn code(mut self, name: &'static str, text: impl Into<String>) -> Row {
        self.add(name, text.into(), true);
        self
    }

    fn add(&mut self, name: &'static str, text: String, code: bool) {
        if !text.trim().is_empty() {
            self.details.push(Detail { name, text, code });
        }
    }
}

/// Names of a list of counts that are shown in one line.
const NAMES_MAX: usize = 4;

/// Returns the largest counts of a map in one line: `app 30, etl 4 and 2 more`.
fn names<'a>(counts: impl IntoIterator<Item = (&'a String, u64)>) -> String {
    let mut counts: Vec<(&String, u64)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let shown = counts.iter().take(NAMES_MAX);
    let shown: Vec<String> = shown
        .map(|(name, count)| format!("{name} {}", super::style::whole(*count)))
        .collect();
    let rest = counts.len().saturating_sub(NAMES_MAX);
    match rest {
        0 => shown.join(", "),
        rest => format!("{} and {rest} more", shown.join(", ")),
    }
}

/// Says whether a series has anything in it.
fn any(series: &Series) -> bool {
    series.values.iter().any(|value| *value > 0)
}
