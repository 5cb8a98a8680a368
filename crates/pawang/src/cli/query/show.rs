//! `pawang query show`: one statement, hour by hour.

use jiff::tz::TimeZone;
use pawang_core::{Kind, Report, Timestamp};
use pawang_logs::regression::Hour;
use serde::Serialize;

use super::hours::hours;
use super::{blocks, milliseconds};
use crate::cli::Global;
use crate::cli::history::{History, span};
use crate::grid::Grid;
use crate::output::{self, Exit};

/// Show one statement: its text, and what its calls did hour by hour
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// PostgreSQL's query identifier, as `pawang query top` shows it
    #[arg(value_name = "QUERY ID", allow_hyphen_values = true)]
    queryid: i64,
    /// How far back: a length of time such as 1h or 7d, or an instant such as 03:12
    #[arg(long, default_value = "24h", value_name = "TIME")]
    since: String,
    /// Until when
    #[arg(long, default_value = "now", value_name = "TIME")]
    until: String,
}

#[derive(Serialize)]
struct Answer {
    instance: String,
    queryid: String,
    text: Option<String>,
    hours: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    at: Timestamp,
    calls: f64,
    total_ms: f64,
    rows: f64,
    hit_blocks: f64,
    read_blocks: f64,
    temp_blocks: f64,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let history = History::open(global)?;
    let span = span(&args.since, &args.until)?;
    let queryid = args.queryid.to_string();
    let text = history
        .reader
        .text(args.queryid)
        .map_err(|error| error.report())?;
    let mut answers = Vec::new();
    for instance in history.instances(global)? {
        let found = hours(&history.reader, &instance, span)?.remove(&queryid);
        if let Some(found) = found {
            answers.push(Answer {
                instance,
                queryid: queryid.clone(),
                text: text.clone(),
                hours: found.iter().map(line).collect(),
            });
        }
    }
    if answers.is_empty() && text.is_none() {
        return Err(Report::new(
            Kind::Answer,
            format!("there is no history of query {queryid}"),
        )
        .with_hint("pawang query top --since 7d"));
    }
    if global.json {
        output::json("pawang.query.show/1", &answers)?;
        return Ok(Exit::Good);
    }
    output::data(&format!(
        "{}\n",
        text.as_deref().unwrap_or("(the text is not known yet)")
    ))?;
    for answer in &answers {
        output::data(&format!("\n{}\n{}", answer.instance, table(&answer.hours)))?;
    }
    Ok(Exit::Good)
}

fn line(hour: &Hour) -> Line {
    Line {
        at: Timestamp::from_second(hour.hour * 3_600).unwrap_or(Timestamp::UNIX_EPOCH),
        calls: hour.calls,
        total_ms: hour.total_ms,
        rows: hour.rows,
        hit_blocks: hour.hit,
        read_blocks: hour.read,
        temp_blocks: hour.temp,
    }
}

fn table(lines: &[Line]) -> String {
    let zone = TimeZone::system();
    let mut grid = Grid::new(&[
        "hour",
        "calls>",
        "time>",
        "per call>",
        "rows>",
        "hit>",
        "read>",
        "temp>",
    ]);
    for line in lines {
        let mean = if line.calls > 0.0 {
            milliseconds(line.total_ms / line.calls)
        } else {
            "-".to_owned()
        };
        grid.row(vec![
            line.at
                .to_zoned(zone.clone())
                .strftime("%Y-%m-%d %H:%M")
                .to_string(),
            format!("{:.0}", line.calls),
            milliseconds(line.total_ms),
            mean,
            format!("{:.0}", line.rows),
            blocks(line.hit_blocks),
            blocks(line.read_blocks),
            blocks(line.temp_blocks),
        ]);
    }
    grid.text()
}
