//! `pawang query regressions`: statements that became slower than they use to be at this hour of the week.

use jiff::tz::TimeZone;
use pawang_core::{Report, Timestamp};
use pawang_logs::regression::{self, Mark, Regression};
use pawang_store::history::{Reader, Span};
use serde::Serialize;

use super::hours::hours;
use super::milliseconds;
use crate::cli::Global;
use crate::cli::history::History;
use crate::grid::Grid;
use crate::output::{self, Exit};
use crate::{environment, when};

/// Two weeks make the baseline, besides what is judged.
const BASELINE_HOURS: i64 = 336;
/// Changes of settings that are looked through.
const CHANGES_MAX: usize = 1_000;

/// Show statements that became slower than they use to be at this hour of the week
///
/// The baseline of an hour is the median of the same hour in the two weeks before (of other days or of all hours while
/// there is less history). A statement is told when every hour since some hour is slower than the baseline allows, at
/// least 1.5 times and by at least one second in all. Exit code 1 when there is one.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How much of the newest time is judged
    #[arg(long, default_value = "24h", value_name = "LENGTH")]
    since: String,
}

#[derive(Serialize)]
struct Line {
    instance: String,
    queryid: String,
    since: Timestamp,
    regression: Regression,
    text: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let history = History::open(global)?;
    let judged = (when::length(&args.since)?.as_secs() / 3_600).max(1);
    let now = environment::now();
    let newest = now.as_second().div_euclid(3_600);
    let span = Span {
        from: at((newest - judged - BASELINE_HOURS) * 3_600),
        to: now,
    };
    let mut lines = Vec::new();
    let mut looked_at = 0;
    for instance in history.instances(global)? {
        let marks = marks(&history.reader, &instance, span)?;
        for (queryid, hours) in hours(&history.reader, &instance, span)? {
            looked_at += 1;
            let Some(regression) = regression::regression(&hours, newest, judged, &marks) else {
                continue;
            };
            let text = match queryid.parse() {
                Ok(queryid) => history
                    .reader
                    .text(queryid)
                    .map_err(|error| error.report())?,
                Err(_) => None,
            };
            lines.push(Line {
                instance: instance.clone(),
                since: at(regression.since_hour * 3_600),
                queryid,
                regression,
                text,
            });
        }
    }
    lines.sort_by(|a, b| b.regression.extra_ms.total_cmp(&a.regression.extra_ms));
    if global.json {
        output::json("pawang.query.regressions/1", &lines)?;
    } else if lines.is_empty() {
        output::talk(&format!("none of {looked_at} statements became slower"));
    } else {
        output::data(&table(&lines))?;
    }
    Ok(if lines.is_empty() {
        Exit::Good
    } else {
        Exit::Answer
    })
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Returns what happened to the server: settings that changed, and starts.
fn marks(reader: &Reader, instance: &str, span: Span) -> Result<Vec<Mark>, Report> {
    let changes = reader
        .changes(instance, "settings", span, CHANGES_MAX)
        .map_err(|error| error.report())?;
    let shown = |value: &Option<pawang_core::Value>| {
        let text = value
            .as_ref()
            .and_then(|value| value.as_text().map(str::to_owned));
        text.unwrap_or_else(|| "nothing".to_owned())
    };
    let told = changes.into_iter().filter_map(|change| {
        let column = change.column.as_deref()?;
        let name = change.labels.first()?;
        (column == "setting").then(|| Mark {
            hour: change.at.as_second().div_euclid(3_600),
            what: format!(
                "setting {name} changed from {} to {}",
                shown(&change.before),
                shown(&change.after)
            ),
        })
    });
    Ok(told.collect())
}

fn table(lines: &[Line]) -> String {
    let zone = TimeZone::system();
    let mut grid = Grid::new(&[
        "instance",
        "query id",
        "since",
        "slower>",
        "per call before>",
        "now>",
        "extra>",
        "calls>",
        "cause",
        "text",
    ]);
    for line in lines {
        let found = &line.regression;
        grid.row(vec![
            line.instance.clone(),
            line.queryid.clone(),
            line.since
                .to_zoned(zone.clone())
                .strftime("%Y-%m-%d %H:%M")
                .to_string(),
            format!("x{:.1}", found.ratio),
            milliseconds(found.before_ms),
            milliseconds(found.now_ms),
            milliseconds(found.extra_ms),
            format!("{:.0}", found.calls),
            found.causes.join("; "),
            line.text.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    grid.text()
}
