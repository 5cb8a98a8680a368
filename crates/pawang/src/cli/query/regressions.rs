//! `pawang query regressions`: statements that became slower than they usually are at this hour of the week.

use std::ops::Range;

use jiff::tz::TimeZone;
use pawang_core::{Kind, Report, Snapshot};
use pawang_logs::choose::{Wish, choose};
use pawang_logs::engine::{PIECE_BYTES, Settings};
use pawang_logs::input::expand;
use pawang_logs::regression::history::{Asked, Slower, kept_log, slower};
use pawang_logs::regression::{self, Cause, Log, Regression};
use pawang_logs::resume::directory_of;
use pawang_store::history::Rows;

use super::milliseconds;
use crate::cli::Global;
use crate::cli::history::History;
use crate::grid::Grid;
use crate::output::{self, Exit};
use crate::{environment, when};

/// Show statements that became slower than they usually are at this hour of the week
///
/// The baseline of an hour is the median of the same hour in the two weeks before (of other days or of all hours while
/// there is less history). A statement is told when every hour since some hour is slower than the baseline allows, at
/// least 1.5 times and by at least one second in all. Causes are what happened to the server in that hour or the one
/// before, with its time and how it is known: from the history, and from the server log as far as `pawang serve` or
/// --log read it (DDL, plans of auto_explain). What is concluded from numbers alone is called a guess, and where nothing
/// else is known it says so. Exit code 1 when there is one.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How much of the newest time is judged
    #[arg(long, default_value = "24h", value_name = "LENGTH")]
    since: String,
    /// Look for causes in these log files of the one instance of -i, instead of in what `pawang serve` kept of its log (repeatable)
    #[arg(long, value_name = "FILE")]
    log: Vec<String>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let history = History::open(global)?;
    let judged = (when::length(&args.since)?.as_secs() / 3_600).max(1);
    let instances = history.instances(global)?;
    if !args.log.is_empty() && instances.len() > 1 {
        let what = "cannot tell whose log --log is: there is history of more than one instance";
        let hint = format!("pawang query regressions -i {} --log FILE", instances[0]);
        return Err(Report::new(Kind::Usage, what).with_hint(hint));
    }
    let (mut lines, mut told, mut refused) = (Vec::new(), Vec::new(), None);
    for instance in instances {
        let log = |hours| match args.log.is_empty() {
            true => kept(&history, &instance, hours),
            false => given(&args.log, &form(&history, &instance), hours).unwrap_or_else(|report| {
                let read = Err(report.primary.clone());
                refused = Some(report);
                Log { read }
            }),
        };
        let found = slower(&history.reader, &everything(&instance, judged), log);
        let found = found.map_err(|error| error.report())?;
        let unknown = found.unknown();
        told.push((
            unknown.is_some(),
            instance,
            unknown.unwrap_or_else(|| found.nothing()),
        ));
        lines.extend(found.slower);
    }
    if let Some(report) = refused {
        return Err(report);
    }
    lines.sort_by(|a, b| b.regression.extra_ms.total_cmp(&a.regression.extra_ms));
    if global.json {
        output::json("pawang.query.regressions/1", &lines)?;
    } else if !lines.is_empty() {
        output::data(&table(&lines))?;
    }
    let unseen = told.iter().any(|(unknown, ..)| *unknown);
    for (unknown, instance, words) in told {
        if unknown || lines.is_empty() {
            output::talk(&format!("{instance}: {words}"));
        }
    }
    Ok(match (unseen, lines.is_empty()) {
        (true, _) => Exit::Target,
        (false, true) => Exit::Good,
        (false, false) => Exit::Answer,
    })
}

/// Asks for all statements of an instance.
pub(super) fn everything(instance: &str, judged: i64) -> Asked<'_> {
    Asked {
        instance,
        rows: Rows::All,
        now: environment::now(),
        judged,
    }
}

/// Returns what a daemon kept of the log of an instance.
pub(super) fn kept(history: &History, instance: &str, hours: Range<i64>) -> Log {
    match history.estate.data_directory() {
        Some(data) => kept_log(&directory_of(&data, instance), hours),
        None => Log {
            read: Err("there is no data directory".to_owned()),
        },
    }
}

/// Returns the form of an instance's log, as its settings told it last: `%Q %u` may also be read as one name.
fn form(history: &History, instance: &str) -> Wish {
    let settings = history
        .reader
        .snapshots_at(instance, "settings", environment::now());
    let settings = settings.unwrap_or_default();
    let setting = |name: &str| {
        let mut rows = settings.iter().flat_map(Snapshot::rows);
        let row = rows.find(|row| row.text("name") == Some(name))?;
        row.text("setting").map(str::to_owned)
    };
    let (prefix, zone) = (setting("log_line_prefix"), setting("log_timezone"));
    Wish::told(prefix.as_deref(), zone.as_deref())
}

/// Reads the log files that were named.
fn given(files: &[String], wish: &Wish, hours: Range<i64>) -> Result<Log, Report> {
    let found = expand(files, Some(Box::new(std::io::stdin())));
    for left in &found.skipped {
        output::talk(&format!("warning: {}: {}", left.name, left.why));
    }
    let settings = Settings {
        threads: 1,
        piece_bytes: PIECE_BYTES,
        choose: &|head| choose(head, wish),
    };
    let refused = |error: &pawang_logs::Error| {
        Report::from_error(Kind::Usage, error).with_hint("pawang query regressions --log FILE")
    };
    let (log, source) =
        regression::read(found.inputs, &settings, hours).map_err(|error| refused(&error))?;
    for file in &source.files {
        if let Some(trouble) = &file.trouble {
            output::talk(&format!("warning: {}: {trouble}", file.name));
        }
    }
    Ok(log)
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

/// Says all causes of a regression, or that they are not known.
pub(super) fn causes(regression: &Regression, zone: &TimeZone) -> Vec<String> {
    let causes = regression.causes.iter().map(|cause| sentence(cause, zone));
    regression.unknown().into_iter().chain(causes).collect()
}

fn table(lines: &[Slower]) -> String {
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
            causes(found, &zone).join("; "),
            line.text.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    grid.text()
}
