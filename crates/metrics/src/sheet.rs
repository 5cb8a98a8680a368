//! Rows that are ready to be written: which snapshots, which of their rows, and the labels of each.
//!
//! Here is what protects whoever scrapes: bounds, no series twice, nothing that is too old to be true.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write;

use jiff::SignedDuration;
use pawang_config::{MetricsConfig, matches};
use pawang_core::{ColumnKind, Snapshot, Timestamp, Value};
use pawang_store::live::Present;

use crate::fold;
use crate::layout::{Family, Layout, Number};

/// Longest text of a label; PostgreSQL's own names have at most 63 bytes.
pub(crate) const LABEL_BYTES_MAX: usize = 512;
/// A snapshot that is older than so many intervals is not the present any more; the history says the same.
const INTERVALS_MAX: u32 = 10;
/// Columns that say how large a row is, best first; the largest rows are kept.
const SIZES: [&str; 6] = [
    "size_bytes",
    "relation_bytes",
    "bytes",
    "total_exec_time",
    "total_time",
    "calls",
];

/// Schemas whose tables are not the user's.
const SYSTEM_SCHEMAS: [&str; 2] = ["pg_catalog", "information_schema"];

/// Some rows of one snapshot, with their labels.
pub(crate) struct Sheet<'a> {
    /// The instance; `None` for what belongs to Pawang itself.
    pub(crate) server: Option<&'a str>,
    pub(crate) snapshot: Cow<'a, Snapshot>,
    pub(crate) layout: Layout,
    /// Labels of all rows, as they are written: in braces, and a blank.
    text: String,
    /// Rows that are shown.
    pub(crate) rows: Vec<Line>,
    /// Numbers of some families, one after the other.
    block: Vec<Option<Number>>,
    /// The first family of the block.
    block_first: usize,
}

/// A metric is written row by row, and rows lie far apart in memory: so many metrics are read in one go.
const BLOCK_FAMILIES: usize = 8;

/// A row that is shown.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    /// Its place in the snapshot.
    pub(crate) row: usize,
    begin: usize,
    end: usize,
}

/// Makes a layout of a collector's name and columns, and of whether it is read in one database.
pub(crate) type MakeLayout<'a> = &'a dyn Fn(&str, &[pawang_core::Column], bool) -> Layout;

impl<'a> Sheet<'a> {
    /// Takes all rows of a snapshot; of rows with the same labels only the first, the number of others is returned.
    pub(crate) fn new(
        server: Option<&'a str>,
        snapshot: Cow<'a, Snapshot>,
        layout: Layout,
    ) -> (Sheet<'a>, usize) {
        let mut sheet = Sheet {
            server,
            snapshot,
            layout,
            text: String::new(),
            rows: Vec::new(),
            block: Vec::new(),
            block_first: 0,
        };
        let rows = sheet.snapshot.rows.len();
        sheet.rows.reserve(rows);
        for row in 0..rows {
            if sheet.is_of_system(row) {
                continue;
            }
            let begin = sheet.text.len();
            sheet.write_labels(row);
            let end = sheet.text.len();
            sheet.rows.push(Line { row, begin, end });
        }
        let all = sheet.rows.len();
        let mut seen = HashSet::with_capacity(all);
        let text = &sheet.text;
        sheet
            .rows
            .retain(|line| seen.insert(&text[line.begin..line.end]));
        let repeated = all - sheet.rows.len();
        (sheet, repeated)
    }

    /// Reads the numbers of a family, and those of some families after it.
    pub(crate) fn load(&mut self, family: usize) {
        let rows = self.rows.len();
        let loaded = self.block.len().checked_div(rows).unwrap_or(0);
        if !(self.block_first..self.block_first + loaded).contains(&family) {
            let families = self.layout.families.iter().skip(family);
            let families: Vec<&Family> = families.take(BLOCK_FAMILIES).collect();
            self.block.clear();
            self.block.resize(rows * families.len(), None);
            for (place, line) in self.rows.iter().enumerate() {
                let row = &self.snapshot.rows[line.row];
                for (column, family) in families.iter().enumerate() {
                    self.block[column * rows + place] = family.number(row);
                }
            }
            self.block_first = family;
        }
    }

    /// Returns the numbers of a family that was loaded, one per row that is shown.
    pub(crate) fn numbers(&self, family: usize) -> &[Option<Number>] {
        let rows = self.rows.len();
        let begin = (family - self.block_first) * rows;
        &self.block[begin..begin + rows]
    }

    /// Gives back the memory of [`Sheet::load`].
    pub(crate) fn forget_numbers(&mut self) {
        self.block = Vec::new();
        self.block_first = 0;
    }

    /// Returns the labels of a row as they are written, in braces and with a blank.
    pub(crate) fn labels(&self, line: Line) -> &str {
        &self.text[line.begin..line.end]
    }

    fn is_of_system(&self, row: usize) -> bool {
        let schema = self.layout.user_schemas;
        let schema = schema.and_then(|column| self.snapshot.rows[row][column].as_text());
        schema.is_some_and(|schema| {
            SYSTEM_SCHEMAS.contains(&schema) || schema.starts_with("pg_toast")
        })
    }

    fn write_labels(&mut self, row: usize) {
        let mut text = std::mem::take(&mut self.text);
        let begin = text.len();
        text.push('{');
        each_label(
            self.server,
            &self.snapshot,
            &self.layout,
            row,
            |name, value| {
                write_label(&mut text, name, value);
            },
        );
        if text.len() == begin + 1 {
            text.pop();
        } else {
            text.push('}');
        }
        text.push(' ');
        self.text = text;
    }

    /// Returns how many samples all rows have.
    pub(crate) fn samples_of_all(&self) -> u64 {
        let samples = self.rows.iter().map(|line| self.samples(*line) as u64);
        samples.sum()
    }

    /// Returns how many samples a row has.
    fn samples(&self, line: Line) -> usize {
        let row = &self.snapshot.rows[line.row];
        let families = self.layout.families.iter();
        families
            .filter(|family| family.number(row).is_some())
            .count()
    }

    /// Returns the column that says how large a row is.
    fn size_column(&self) -> Option<usize> {
        let columns = &self.snapshot.columns;
        let named = SIZES.iter();
        let named = named.filter_map(|name| columns.iter().position(|c| c.name == *name));
        let number = |kinds: &[ColumnKind]| columns.iter().position(|c| kinds.contains(&c.kind));
        named
            .chain(number(&[ColumnKind::Counter]))
            .chain(number(&[ColumnKind::Gauge]))
            .next()
    }
}

/// Calls `take` with every label of a row that is not empty, in the order of the columns.
pub(crate) fn each_label(
    server: Option<&str>,
    snapshot: &Snapshot,
    layout: &Layout,
    row: usize,
    mut take: impl FnMut(&str, &str),
) {
    if let Some(server) = server {
        take(layout.server_label, server);
    }
    if let Some(database) = &snapshot.database {
        take(layout.database_label, database);
    }
    for (column, name) in &layout.labels {
        with_text(&snapshot.rows[row][*column], |text| take(name, text));
    }
}

/// Calls `take` with a value as the text of a label; an empty label is none.
pub(crate) fn with_text(value: &Value, take: impl FnOnce(&str)) {
    let made;
    let text = match value {
        Value::Null => return,
        Value::Text(text) => text,
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        other => {
            made = other.to_string();
            made.as_str()
        }
    };
    if !text.is_empty() {
        take(&text[..text.floor_char_boundary(LABEL_BYTES_MAX)]);
    }
}

/// Appends `name="value"`, after a comma unless it is the first label.
pub(crate) fn write_label(text: &mut String, name: &str, value: &str) {
    if !text.ends_with('{') {
        text.push(',');
    }
    text.push_str(name);
    text.push_str("=\"");
    let special = |byte: &u8| matches!(byte, b'\\' | b'"' | b'\n');
    if value.as_bytes().iter().any(special) {
        for letter in value.chars() {
            // Writing to a String cannot fail.
            let _ = match letter {
                '\\' => write!(text, "\\\\"),
                '"' => write!(text, "\\\""),
                '\n' => write!(text, "\\n"),
                other => write!(text, "{other}"),
            };
        }
    } else {
        text.push_str(value);
    }
    text.push('"');
}

/// Returns the sheets of one collector and instance, and the number of samples that are not shown.
pub(crate) fn of_collector<'a>(
    present: &'a Present,
    collector: &str,
    make: MakeLayout<'_>,
    samples_max: usize,
    now: Timestamp,
) -> (Vec<Sheet<'a>>, usize) {
    let mut sheets = Vec::new();
    let mut dropped = 0;
    for snapshot in current(present, collector, now) {
        let snapshot = fold::fold(snapshot);
        let layout = make(
            &snapshot.collector,
            &snapshot.columns,
            snapshot.database.is_some(),
        );
        if layout.families.is_empty() {
            continue;
        }
        let families = layout.families.len();
        let server = Some(present.instance.name.as_str());
        let (sheet, repeated) = Sheet::new(server, snapshot, layout);
        dropped += repeated * families;
        sheets.push(sheet);
    }
    dropped += bound(&mut sheets, samples_max);
    (sheets, dropped)
}

/// Returns the snapshots of a collector that are still the present, one per database.
pub(crate) fn current<'a>(
    present: &'a Present,
    collector: &str,
    now: Timestamp,
) -> impl Iterator<Item = &'a Snapshot> {
    let answers = present.facts.server.is_ok();
    let mut databases = HashSet::new();
    let sightings = present.facts.sightings.iter();
    let snapshots = sightings
        .filter(move |sighting| sighting.collector == collector)
        .filter_map(|sighting| sighting.seen.as_deref().ok());
    let oldest = oldest(present, collector, now);
    // What a server said before it went away is no longer so.
    snapshots
        .filter(move |snapshot| answers || snapshot.epoch.is_none())
        .filter(move |snapshot| oldest.is_none_or(|oldest| snapshot.at >= oldest))
        .filter(move |snapshot| databases.insert(snapshot.database.as_deref()))
}

/// The server's clock stamps snapshots, and it may differ from ours: age is told by the newest of its own snapshots,
/// and by the time that passed here since the newest round.
fn oldest(present: &Present, collector: &str, now: Timestamp) -> Option<Timestamp> {
    let status = present
        .collectors
        .iter()
        .find(|status| status.name == collector)?;
    let sightings = present.facts.sightings.iter();
    let snapshots = sightings.filter_map(|sighting| sighting.seen.as_deref().ok());
    let newest = snapshots.map(|snapshot| snapshot.at).max()?;
    let age = status.interval_now.max(status.interval) * INTERVALS_MAX;
    let since = now
        .duration_since(present.facts.at)
        .max(SignedDuration::ZERO);
    let age = SignedDuration::try_from(age).ok()?;
    newest.checked_sub(age).ok()?.checked_add(since).ok()
}

/// Keeps the largest rows so that at most `samples_max` samples are left; returns the number of those that are not.
fn bound(sheets: &mut [Sheet<'_>], samples_max: usize) -> usize {
    let most = sheets
        .iter()
        .map(|sheet| sheet.rows.len() * sheet.layout.families.len());
    if most.sum::<usize>() <= samples_max {
        return 0;
    }
    let mut lines: Vec<(f64, usize, Line, usize)> = Vec::new();
    for (place, sheet) in sheets.iter_mut().enumerate() {
        let column = sheet.size_column();
        for line in std::mem::take(&mut sheet.rows) {
            let row = &sheet.snapshot.rows[line.row];
            let size = column.and_then(|column| row[column].as_float());
            lines.push((size.unwrap_or(f64::MIN), place, line, sheet.samples(line)));
        }
    }
    lines.sort_by(|one, other| other.0.total_cmp(&one.0));
    let (mut kept, mut dropped, mut full) = (0, 0, false);
    for (_, place, line, samples) in lines {
        full |= kept + samples > samples_max;
        if full {
            dropped += samples;
        } else {
            kept += samples;
            sheets[place].rows.push(line);
        }
    }
    for sheet in sheets {
        sheet.rows.sort_by_key(|line| line.row);
    }
    dropped
}

/// Returns whether the configuration and the request want a collector.
pub(crate) fn wanted(name: &str, config: &MetricsConfig, collect: Option<&[String]>) -> bool {
    asked(name, config.collectors.as_deref()) && asked(name, collect)
}

/// Returns whether a name is among those that are asked for; both `-` and `_` are taken for either.
pub(crate) fn asked(name: &str, patterns: Option<&[String]>) -> bool {
    let plain = |text: &str| text.replace('_', "-");
    let name = plain(name);
    patterns.is_none_or(|patterns| {
        patterns
            .iter()
            .any(|pattern| matches(&plain(pattern), &name))
    })
}
