//! `pawang query regressions`: statements that became slower than they use to be at this hour of the week.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use pawang_core::{Report, Timestamp};
use pawang_logs::regression::{self, Cause, CauseKind, Hour, Mark, Regression};
use pawang_store::history::{Reader, Span};
use serde::Serialize;

use super::hours::hours;
use super::marks::{marks, stale};
use super::milliseconds;
use crate::cli::Global;
use crate::cli::history::History;
use crate::grid::Grid;
use crate::output::{self, Exit};
use crate::{environment, when};

/// Two weeks make the baseline, besides what is judged.
const BASELINE_HOURS: i64 = 336;

/// Show statements that became slower than they use to be at this hour of the week
///
/// The baseline of an hour is the median of the same hour in the two weeks before (of other days or of all hours while
/// there is less history). A statement is told when every hour since some hour is slower than the baseline allows, at
/// least 1.5 times and by at least one second in all. Causes are what happened to the server in that hour or the one
/// before, with its time and how it is known, and what calls do now that they did not do before; what is concluded from
/// numbers alone is called a guess. Exit code 1 when there is one.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How much of the newest time is judged
    #[arg(long, default_value = "24h", value_name = "LENGTH")]
    since: String,
}

/// Hours of each statement, by its query identifier.
type Hours = BTreeMap<String, Vec<Hour>>;

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
    let recent = Span {
        from: at((newest - judged - 1) * 3_600),
        to: now,
    };
    let mut lines = Vec::new();
    let mut looked_at = 0;
    for instance in history.instances(global)? {
        let reader = &history.reader;
        let marks = marks(reader, &instance, recent)?;
        let mut all: Hours = hours(reader, &instance, span)?;
        let renamed = joined(reader, &mut all, &marks)?;
        looked_at += all.len();
        let mut found = Vec::new();
        for (queryid, hours) in all {
            if let Some(regression) = regression::regression(&hours, newest, judged) {
                found.push((queryid, regression));
            }
        }
        if found.is_empty() {
            continue;
        }
        let stale = stale(reader, &instance, now)?;
        for (queryid, mut regression) in found {
            let text = text(reader, &queryid)?;
            regression.explain(text.as_deref(), &marks, &stale);
            regression.causes.extend(renamed.get(&queryid).cloned());
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

fn text(reader: &Reader, queryid: &str) -> Result<Option<String>, Report> {
    match queryid.parse() {
        Ok(queryid) => reader.text(queryid).map_err(|error| error.report()),
        Err(_) => Ok(None),
    }
}

/// Gives statements of a new major version the hours that they had under another identifier, and says so.
fn joined(
    reader: &Reader,
    all: &mut Hours,
    marks: &[Mark],
) -> Result<BTreeMap<String, Cause>, Report> {
    let mut told = BTreeMap::new();
    for upgrade in marks.iter().filter(|mark| mark.kind == CauseKind::Upgrade) {
        let at = upgrade.at.as_second().div_euclid(3_600);
        let (mut over, mut new) = (BTreeMap::new(), Vec::new());
        for (queryid, hours) in all.iter() {
            let first = hours.first().map_or(i64::MAX, |hour| hour.hour);
            let last = hours.last().map_or(i64::MIN, |hour| hour.hour);
            if last > at && first < at {
                continue;
            }
            let Some(text) = text(reader, queryid)? else {
                continue;
            };
            if first >= at {
                new.push((queryid.clone(), text));
            } else {
                over.insert(text, queryid.clone());
            }
        }
        for (queryid, text) in new {
            let Some(earlier) = over.remove(&text) else {
                continue;
            };
            let mut hours = all.remove(&earlier).unwrap_or_default();
            hours.extend(all.remove(&queryid).unwrap_or_default());
            all.insert(queryid.clone(), hours);
            let cause = Cause {
                kind: CauseKind::Upgrade,
                what: format!("its query id was {earlier} before the upgrade"),
                at: Some(upgrade.at),
                evidence: "the same text, which nothing is called by under both".to_owned(),
                guess: true,
            };
            told.insert(queryid, cause);
        }
    }
    Ok(told)
}

/// Says a cause with its time and its evidence.
fn sentence(cause: &Cause, zone: &TimeZone) -> String {
    let at = cause
        .at
        .map(|at| format!("{}, ", at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M")));
    let guess = if cause.guess { "a guess: " } else { "" };
    format!(
        "{guess}{} ({}{})",
        cause.what,
        at.unwrap_or_default(),
        cause.evidence
    )
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
            found
                .causes
                .iter()
                .map(|cause| sentence(cause, &zone))
                .collect::<Vec<_>>()
                .join("; "),
            line.text.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    grid.text()
}
