//! Values over time.

use std::time::Duration;

use pawang_core::Timestamp;
use pawang_store::history::{self, Fold, GrowthQuery, Rows, SeriesQuery};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::facts::{Origin, safe};
use super::{limit, reply, required};
use crate::problem::Problem;
use crate::routes::{Look, Reply};

/// Most series of one answer.
const SERIES_MAX: usize = 1_000;
/// Most points of one series.
const POINTS_MAX: u64 = 11_000;
/// Columns of one question.
const COLUMNS_MAX: usize = 50;

/// One row (or sum of rows) and column over time.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Series {
    /// The database, for collectors that are read in each.
    database: Option<String>,
    /// The labels that tell it apart from the other series.
    labels: Vec<String>,
    /// The column.
    column: String,
    /// `counter` or `gauge`; values of a counter are growth per second.
    kind: Value,
    /// The unit of the column.
    unit: Option<String>,
    /// Seconds from one point to the next.
    step_seconds: f64,
    /// The points, oldest first.
    points: Vec<Point>,
}

/// One step of a series.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Point {
    /// The end of the step.
    at: Timestamp,
    /// Mean of a gauge, or growth per second of a counter; absent is a gap: nothing was seen, or it was reset.
    mean: Option<f64>,
    /// Smallest.
    min: Option<f64>,
    /// Largest.
    max: Option<f64>,
}

/// What became of one row over a span.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Growth {
    /// The database, for collectors that are read in each.
    database: Option<String>,
    /// The labels of the row.
    labels: Vec<String>,
    /// Per column: growth of a counter, never across a reset; last minus first of a gauge.
    growth: Vec<Option<f64>>,
    /// Per column: the last value.
    last: Vec<Option<f64>>,
    /// How many seconds of the span were seen in a way that growth could be told.
    seconds: f64,
}

/// A text that changed, or a row that came or went.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Change {
    /// When it was first seen.
    at: Timestamp,
    /// The database, for collectors that are read in each.
    database: Option<String>,
    /// The labels of the row.
    labels: Vec<String>,
    /// The column; absent when the whole row came or went.
    column: Option<String>,
    /// What it was.
    before: Value,
    /// What it is.
    after: Value,
}

/// Answers with values over time.
pub(crate) fn series(look: &Look<'_>) -> Result<Reply, Problem> {
    let columns = columns(look)?;
    let rows = rows(look)?;
    let fold = look.visit.parameter("fold").unwrap_or("each");
    let by: Vec<&str> = match fold {
        "each" | "none" => Vec::new(),
        labels => labels.split(',').collect(),
    };
    let span = look.visit.range.span;
    let found = look.visit.reader.series(&SeriesQuery {
        instance: known(look)?,
        collector: required(look, "collector")?,
        database: look.visit.parameter("database"),
        columns: &columns,
        rows: match rows.is_empty() {
            true => Rows::All,
            false => Rows::Only(&rows),
        },
        fold: match fold {
            "each" => Fold::Each,
            _ => Fold::SumBy(&by),
        },
        span,
        step: step(look, span)?,
    })?;
    let shown: Vec<Series> = found.into_iter().take(SERIES_MAX).map(line).collect();
    reply(&shown)
}

/// Answers with how much counters grew.
pub(crate) fn growth(look: &Look<'_>) -> Result<Reply, Problem> {
    let columns = columns(look)?;
    let mut found = look.visit.reader.growth(&GrowthQuery {
        instance: known(look)?,
        collector: required(look, "collector")?,
        database: look.visit.parameter("database"),
        columns: &columns,
        span: look.visit.range.span,
    })?;
    if let Some(sort) = look.visit.parameter("sort") {
        let position = columns.iter().position(|column| *column == sort);
        let position =
            position.ok_or_else(|| Problem::parameter("sort", "one of the columns asked for"))?;
        let key = |growth: &history::Growth| growth.growth[position].unwrap_or(f64::MIN);
        found.sort_by(|a, b| key(b).total_cmp(&key(a)));
    }
    let found = found.into_iter().take(limit(look)?);
    let shown: Vec<Growth> = found
        .map(|growth| Growth {
            database: growth.database,
            labels: growth.labels,
            growth: growth.growth,
            last: growth.last,
            seconds: growth.seconds,
        })
        .collect();
    reply(&shown)
}

/// Answers with changes of texts.
pub(crate) fn changes(look: &Look<'_>) -> Result<Reply, Problem> {
    let collector = required(look, "collector")?;
    let found =
        look.visit
            .reader
            .changes(known(look)?, collector, look.visit.range.span, limit(look)?)?;
    let shown: Vec<Change> = found
        .into_iter()
        .map(|change| told(look, collector, change))
        .collect();
    reply(&shown)
}

fn told(look: &Look<'_>, collector: &str, change: history::Change) -> Change {
    let origin = Origin {
        collector,
        column: change.column.as_deref().unwrap_or_default(),
        // The name is the last label of settings, and no label of lines of files.
        setting: match collector {
            "file-settings" => None,
            _ => change.labels.last().map(String::as_str),
        },
    };
    let value = |value: &Option<pawang_core::Value>| match value {
        Some(value) => safe(&look.visit, &origin, value),
        None => Value::Null,
    };
    Change {
        at: change.at,
        database: change.database,
        before: value(&change.before),
        after: value(&change.after),
        labels: change.labels,
        column: change.column,
    }
}

/// Returns the instance, when there is one of that name now or in the history.
fn known<'a>(look: &'a Look<'_>) -> Result<&'a str, Problem> {
    let name = look.arguments.get("name");
    let now = look.visit.site.live.instance(name).is_some();
    if now
        || look
            .visit
            .reader
            .instances()?
            .iter()
            .any(|known| known == name)
    {
        return Ok(name);
    }
    Err(Problem::not_found(&format!("instance \"{name}\"")))
}

fn columns<'a>(look: &'a Look<'_>) -> Result<Vec<&'a str>, Problem> {
    let columns: Vec<&str> = required(look, "column")?.split(',').collect();
    match columns.len() <= COLUMNS_MAX {
        true => Ok(columns),
        false => Err(Problem::parameter(
            "column",
            &format!("at most {COLUMNS_MAX} columns"),
        )),
    }
}

fn rows(look: &Look<'_>) -> Result<Vec<Vec<String>>, Problem> {
    let asked = look.visit.query.iter().filter(|(name, _)| name == "rows");
    asked
        .map(|(_, text)| {
            serde_json::from_str(text).map_err(|error| {
                Problem::parameter(
                    "rows",
                    "the labels of a row, such as [\"public\",\"orders\"]",
                )
                .with_detail(error.to_string())
            })
        })
        .collect()
}

fn step(look: &Look<'_>, span: history::Span) -> Result<Option<Duration>, Problem> {
    let Some(text) = look.visit.parameter("step") else {
        return Ok(None);
    };
    let length = span.from.duration_until(span.to).unsigned_abs().as_secs();
    let least = length.div_ceil(POINTS_MAX).max(1);
    let seconds: Option<u64> = text.parse().ok().filter(|seconds| *seconds >= least);
    match seconds {
        Some(seconds) => Ok(Some(Duration::from_secs(seconds))),
        None => Err(Problem::parameter(
            "step",
            &format!("a number of seconds, at least {least} for this span"),
        )),
    }
}

fn line(series: history::Series) -> Series {
    Series {
        database: series.database,
        labels: series.labels,
        column: series.column,
        kind: serde_json::to_value(series.kind).unwrap_or_default(),
        unit: series.unit,
        step_seconds: series.step.as_secs_f64(),
        points: series
            .points
            .iter()
            .map(|point| Point {
                at: point.at,
                mean: point.reading.map(|reading| reading.mean),
                min: point.reading.map(|reading| reading.min),
                max: point.reading.map(|reading| reading.max),
            })
            .collect(),
    }
}
