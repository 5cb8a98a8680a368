//! `pawang history export`: every snapshot of a span, one file per collector, for other tools.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use pawang_core::{ColumnKind, Kind, Report, Snapshot, Value};
use pawang_store::history::Span;

use super::{History, show};
use crate::cli::Global;
use crate::output::{self, Exit};

/// Columns that every file begins with; the collector's own follow.
pub(super) const LEADING: [&str; 3] = ["instance", "database", "at"];

/// Export every snapshot of a span, one file per collector
///
/// Examples:
///   pawang history export --parquet DIR --since 7d
///   pawang history export --csv DIR tables statements -i dwh-1
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
#[command(group = clap::ArgGroup::new("form").required(true))]
pub(super) struct Args {
    /// Write Parquet files (zstd) into this folder
    #[arg(long, value_name = "DIR", group = "form")]
    parquet: Option<PathBuf>,
    /// Write CSV files into this folder
    #[arg(long, value_name = "DIR", group = "form")]
    csv: Option<PathBuf>,
    /// Collectors, with *; all when none is named
    collectors: Vec<String>,
    /// How far back: a length of time such as 1h or 7d, or an instant such as 03:12
    #[arg(long, default_value = "24h", value_name = "TIME")]
    since: String,
    /// Until when
    #[arg(long, default_value = "now", value_name = "TIME")]
    until: String,
}

/// One file in the making; dropping it unfinished leaves nothing behind.
pub(super) trait Sheet {
    /// Adds all rows of a snapshot.
    fn add(&mut self, instance: &str, snapshot: &Snapshot) -> Result<(), Report>;
    /// Finishes the file; returns how many rows it has.
    fn finish(self: Box<Self>) -> Result<u64, Report>;
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let history = History::open(global)?;
    let span = show::span(&args.since, &args.until)?;
    let instances = history.instances(global)?;
    let (directory, extension) = match (&args.parquet, &args.csv) {
        (Some(directory), _) => (directory, "parquet"),
        (None, Some(directory)) => (directory, "csv"),
        (None, None) => unreachable!("clap wants one of them"),
    };
    if extension == "parquet" && cfg!(not(feature = "parquet")) {
        return Err(
            Report::new(Kind::Usage, "this pawang was built without Parquet")
                .with_detail("it makes the build twice as long, and most people never need it")
                .with_hint(
                    "cargo build --release --features parquet, or pawang history export --csv DIR",
                ),
        );
    }
    std::fs::create_dir_all(directory).map_err(|error| refused(directory, &error))?;
    let mut total = 0;
    for collector in collectors(&history, &instances, &args.collectors)? {
        let path = directory.join(format!("{collector}.{extension}"));
        let rows = export(&history, &instances, &collector, span, &path)?;
        if rows > 0 && !global.quiet {
            output::talk(&format!("{rows} rows into {}", path.display()));
        }
        total += rows;
    }
    if total == 0 {
        output::talk("nothing was seen in that time");
        return Ok(Exit::Answer);
    }
    Ok(Exit::Good)
}

/// Returns the collectors of the patterns that there is history of.
fn collectors(
    history: &History,
    instances: &[String],
    patterns: &[String],
) -> Result<Vec<String>, Report> {
    let mut known = std::collections::BTreeSet::new();
    for instance in instances {
        known.extend(
            history
                .reader
                .collectors(instance)
                .map_err(|error| error.report())?,
        );
    }
    for pattern in patterns {
        if !known
            .iter()
            .any(|name| pawang_config::matches(pattern, name))
        {
            let report = Report::new(
                Kind::Usage,
                format!("there is no history of collector \"{pattern}\""),
            );
            return Err(
                match pawang_config::nearest(pattern, known.iter().map(String::as_str)) {
                    Some(nearest) => report.with_hint(format!("did you mean {nearest}?")),
                    None => report,
                },
            );
        }
    }
    known.retain(|name| {
        patterns.is_empty()
            || patterns
                .iter()
                .any(|pattern| pawang_config::matches(pattern, name))
    });
    Ok(known.into_iter().collect())
}

/// The columns of a file: all that any snapshot of the span has, since an older version of a collector may have others.
#[derive(Default)]
pub(super) struct Shape {
    /// Each with what it means and what its values are.
    pub columns: Vec<(String, ColumnKind, Option<Form>)>,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Yes or no.
    Flag,
    /// Whole numbers.
    Integer,
    /// Numbers, some of them not whole.
    Float,
    /// Instants.
    Instant,
    /// Texts, or values of several forms.
    Text,
}

impl Shape {
    fn see(&mut self, snapshot: &Snapshot) {
        for (index, column) in snapshot.columns.iter().enumerate() {
            let known = self
                .columns
                .iter()
                .position(|(name, ..)| *name == column.name);
            let place = known.unwrap_or_else(|| {
                self.columns.push((column.name.clone(), column.kind, None));
                self.columns.len() - 1
            });
            let form = &mut self.columns[place].2;
            for value in snapshot.rows.iter().map(|row| &row[index]) {
                *form = joined(*form, value);
            }
        }
    }

    /// Returns where each column stands in a snapshot, if it does.
    pub(super) fn places(&self, snapshot: &Snapshot) -> Vec<Option<usize>> {
        let place = |name: &str| snapshot.columns.iter().position(|c| c.name == name);
        self.columns.iter().map(|(name, ..)| place(name)).collect()
    }
}

/// Returns the form that holds a value beside all values before it.
fn joined(form: Option<Form>, value: &Value) -> Option<Form> {
    let next = match value {
        Value::Null => return form,
        Value::Bool(_) => Form::Flag,
        Value::Int(_) => Form::Integer,
        Value::Float(_) => Form::Float,
        Value::Time(_) => Form::Instant,
        Value::Text(_) | Value::List(_) => Form::Text,
    };
    Some(match (form, next) {
        (None, next) => next,
        (Some(form), next) if form == next => form,
        (Some(Form::Integer | Form::Float), Form::Integer | Form::Float) => Form::Float,
        _ => Form::Text,
    })
}

/// Writes one file; it appears under its name when it is whole. The history is read twice: first for the columns.
fn export(
    history: &History,
    instances: &[String],
    collector: &str,
    span: Span,
    path: &Path,
) -> Result<u64, Report> {
    let mut shape = Shape::default();
    each(history, instances, collector, span, &mut |_, snapshot| {
        shape.see(snapshot);
        Ok(())
    })?;
    if shape.columns.is_empty() {
        return Ok(0);
    }
    let mut sheet = begin(path, shape)?;
    each(
        history,
        instances,
        collector,
        span,
        &mut |instance, snapshot| sheet.add(instance, snapshot),
    )?;
    sheet.finish()
}

/// Does something with every snapshot of a collector.
fn each(
    history: &History,
    instances: &[String],
    collector: &str,
    span: Span,
    work: &mut dyn FnMut(&str, &Snapshot) -> Result<(), Report>,
) -> Result<(), Report> {
    for instance in instances {
        let mut done = Ok(());
        let mut each = |snapshot: Snapshot| {
            done = work(instance, &snapshot);
            match done {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        };
        let walked = history.reader.walk(instance, collector, span, &mut each);
        walked.map_err(|error| error.report())?;
        done?;
    }
    Ok(())
}

fn begin(path: &Path, shape: Shape) -> Result<Box<dyn Sheet>, Report> {
    #[cfg(feature = "parquet")]
    if path
        .extension()
        .is_some_and(|extension| extension == "parquet")
    {
        return Ok(Box::new(super::parquet::Parquet::begin(path, shape)?));
    }
    Ok(Box::new(Csv::begin(path, shape)?))
}

/// Says that a file or folder cannot be written.
pub(super) fn refused(path: &Path, error: &dyn std::fmt::Display) -> Report {
    Report::new(
        Kind::Usage,
        format!("could not write \"{}\"", path.display()),
    )
    .with_detail(error.to_string())
}

/// Returns the name under which a file is written until it is whole.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

/// A comma-separated file: RFC 4180, a heading, NULL as nothing.
struct Csv {
    path: PathBuf,
    file: BufWriter<File>,
    shape: Shape,
    rows: u64,
}

impl Csv {
    fn begin(path: &Path, shape: Shape) -> Result<Csv, Report> {
        let file = File::create(unfinished(path)).map_err(|error| refused(path, &error))?;
        let headings = LEADING.into_iter().map(str::to_owned);
        let own = shape.columns.iter().map(|(name, ..)| quoted(name));
        let headings: Vec<String> = headings.chain(own).collect();
        let mut csv = Csv {
            path: path.to_owned(),
            file: BufWriter::new(file),
            shape,
            rows: 0,
        };
        csv.line(&headings)?;
        Ok(csv)
    }

    fn line(&mut self, cells: &[String]) -> Result<(), Report> {
        let written = writeln!(self.file, "{}", cells.join(","));
        written.map_err(|error| refused(&self.path, &error))
    }
}

impl Sheet for Csv {
    fn add(&mut self, instance: &str, snapshot: &Snapshot) -> Result<(), Report> {
        let places = self.shape.places(snapshot);
        for row in &snapshot.rows {
            let mut cells = vec![
                quoted(instance),
                quoted(snapshot.database.as_deref().unwrap_or_default()),
                snapshot.at.to_string(),
            ];
            let value = |place: &Option<usize>| place.map_or(&Value::Null, |place| &row[place]);
            cells.extend(places.iter().map(|place| quoted(&value(place).to_string())));
            self.line(&cells)?;
            self.rows += 1;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<u64, Report> {
        let done = self
            .file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .and_then(|()| std::fs::rename(unfinished(&self.path), &self.path));
        done.map_err(|error| refused(&self.path, &error))?;
        Ok(self.rows)
    }
}

/// Quotes a cell that needs it.
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
