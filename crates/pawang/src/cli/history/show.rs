//! `pawang history show`: the rows of a collector by what became of a column.

use jiff::tz::TimeZone;
use pawang_collect::Collector;
use pawang_core::{Column, ColumnKind, Kind, Report, Unit};
use pawang_store::history::{Growth, GrowthQuery, Span};
use serde::Serialize;

use super::History;
use crate::cli::Global;
use crate::grid::Grid;
use crate::output::{self, Exit};
use crate::{environment, when};

/// Show the rows of a collector by what became of a column: its last value, its growth, its rate
///
/// Examples:
///   pawang history show tables n_dead_tup --top 20 --since 1h
///   pawang history show statements total_exec_time --since 24h -i dwh-1
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// A collector; docs/reference/collectors.md names them with their columns
    collector: String,
    /// A column of kind counter or gauge
    column: String,
    /// How many rows
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    /// How far back: a length of time such as 1h or 7d, or an instant such as 03:12
    #[arg(long, default_value = "1h", value_name = "TIME")]
    since: String,
    /// Until when
    #[arg(long, default_value = "now", value_name = "TIME")]
    until: String,
    /// Only this database
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
}

#[derive(Serialize)]
struct Line {
    instance: String,
    database: Option<String>,
    labels: Vec<String>,
    last: Option<f64>,
    growth: Option<f64>,
    per_second: Option<f64>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let history = History::open(global)?;
    let catalog = history.estate.catalog()?;
    let collector = catalog.collectors.get(&args.collector).ok_or_else(|| {
        let names = catalog.collectors.keys().map(String::as_str);
        let report = Report::new(
            Kind::Usage,
            format!("there is no collector \"{}\"", args.collector),
        );
        match pawang_config::nearest(&args.collector, names) {
            Some(nearest) => {
                report.with_hint(format!("pawang history show {nearest} {}", args.column))
            }
            None => report.with_hint("docs/reference/collectors.md names them"),
        }
    })?;
    let column = column(collector, &args.column)?;
    let span = span(&args.since, &args.until)?;
    let mut lines = Vec::new();
    for instance in history.instances(global)? {
        let query = GrowthQuery {
            instance: &instance,
            collector: &args.collector,
            database: args.database.as_deref(),
            columns: &[&args.column],
            span,
        };
        let rows = history
            .reader
            .growth(&query)
            .map_err(|error| error.report())?;
        lines.extend(rows.into_iter().map(|row| line(&instance, row)));
    }
    let weight = |line: &Line| match column.kind {
        ColumnKind::Counter => line.growth,
        _ => line.last,
    };
    lines.sort_by(|a, b| {
        let (a, b) = (weight(a).unwrap_or(f64::MIN), weight(b).unwrap_or(f64::MIN));
        b.total_cmp(&a)
    });
    lines.truncate(usize::from(args.top));
    if global.json {
        output::json("pawang.history.show/1", &lines)?;
    } else if lines.is_empty() {
        let span = "nothing was seen of it in that time";
        output::talk(&format!("collector \"{}\": {span}", args.collector));
    } else {
        output::data(&table(collector, column, &lines))?;
    }
    Ok(if lines.is_empty() {
        Exit::Answer
    } else {
        Exit::Good
    })
}

fn column<'a>(collector: &'a Collector, name: &str) -> Result<&'a Column, Report> {
    let columns = &collector.header.columns;
    let numeric = |c: &&Column| matches!(c.kind, ColumnKind::Counter | ColumnKind::Gauge);
    let names: Vec<&str> = columns
        .iter()
        .filter(numeric)
        .map(|c| c.name.as_str())
        .collect();
    if let Some(found) = columns.iter().filter(numeric).find(|c| c.name == name) {
        return Ok(found);
    }
    let report = Report::new(
        Kind::Usage,
        format!("collector \"{}\" has no number \"{name}\"", collector.name),
    );
    let report = report.with_detail(format!("its numbers are {}", names.join(", ")));
    Err(match pawang_config::nearest(name, names.iter().copied()) {
        Some(nearest) => {
            report.with_hint(format!("pawang history show {} {nearest}", collector.name))
        }
        None => report,
    })
}

/// Reads `--since` and `--until`; a length of time counts back from the end.
///
/// # Errors
/// One of them cannot be read, or they are the wrong way round.
pub(crate) fn span(since: &str, until: &str) -> Result<Span, Report> {
    let (now, zone) = (environment::now(), TimeZone::system());
    let to = when::instant(until, now, &zone)?;
    let from = match when::length(since) {
        Ok(length) => to
            .checked_sub(length)
            .unwrap_or(pawang_core::Timestamp::MIN),
        Err(_) => when::instant(since, now, &zone)?,
    };
    if from >= to {
        let report = Report::new(
            Kind::Usage,
            "cannot look at a span that ends before it begins",
        );
        return Err(report.with_detail(format!("from {from} to {to}")));
    }
    Ok(Span { from, to })
}

fn line(instance: &str, row: Growth) -> Line {
    let growth = row.growth.first().copied().flatten();
    Line {
        instance: instance.to_owned(),
        database: row.database,
        labels: row.labels,
        last: row.last.first().copied().flatten(),
        growth,
        per_second: growth
            .filter(|_| row.seconds > 0.0)
            .map(|growth| growth / row.seconds),
    }
}

fn table(collector: &Collector, column: &Column, lines: &[Line]) -> String {
    let labels = collector
        .header
        .columns
        .iter()
        .filter(|c| c.kind == ColumnKind::Label);
    let labels: Vec<&str> = labels.map(|c| c.name.as_str()).collect();
    let databases = lines.iter().any(|line| line.database.is_some());
    let mut headings = vec!["instance"];
    headings.extend(databases.then_some("database"));
    headings.extend(&labels);
    headings.extend(["last>", "growth>", "per second>"]);
    let mut grid = Grid::new(&headings);
    let unit = unit(column.unit.as_deref());
    let show =
        |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| amount(unit, value));
    for line in lines {
        let mut cells = vec![line.instance.clone()];
        cells.extend(databases.then(|| line.database.clone().unwrap_or_default()));
        cells.extend(line.labels.iter().cloned());
        cells.extend([show(line.last), show(line.growth), show(line.per_second)]);
        grid.row(cells);
    }
    grid.text()
}

/// Shows a value; what shrank keeps its sign.
fn amount(unit: Unit, value: f64) -> String {
    if value < 0.0 {
        format!("-{}", unit.show(-value))
    } else {
        unit.show(value)
    }
}

/// Returns the unit in which a column's values are shown.
fn unit(declared: Option<&str>) -> Unit {
    match declared {
        Some("bytes") => Unit::Bytes,
        Some("s") => Unit::Seconds,
        Some("ms") => Unit::Milliseconds,
        Some("percent" | "%") => Unit::Percent,
        _ => Unit::Count,
    }
}
