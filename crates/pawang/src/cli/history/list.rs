//! `pawang history list`: of what there is history, and from when to when.

use jiff::tz::TimeZone;
use pawang_core::Report;
use serde::Serialize;

use super::History;
use crate::cli::Global;
use crate::grid::Grid;
use crate::output::{self, Exit};

/// List the instances that there is history of, with its first and last instant
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

#[derive(Serialize)]
struct Line {
    instance: String,
    from: Option<pawang_core::Timestamp>,
    to: Option<pawang_core::Timestamp>,
}

/// Runs the command.
pub(super) fn run(_args: &Args, global: &Global) -> Result<Exit, Report> {
    let history = History::open(global)?;
    let mut lines = Vec::new();
    for instance in history.instances(global)? {
        let span = history
            .reader
            .extent(&instance)
            .map_err(|error| error.report())?;
        lines.push(Line {
            instance,
            from: span.map(|span| span.from),
            to: span.map(|span| span.to),
        });
    }
    if global.json {
        output::json("pawang.history.list/1", &lines)?;
        return Ok(Exit::Good);
    }
    let zone = TimeZone::system();
    let show = |at: Option<pawang_core::Timestamp>| match at {
        Some(at) => at
            .to_zoned(zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S %Z")
            .to_string(),
        None => "-".to_owned(),
    };
    let mut grid = Grid::new(&["instance", "from", "to"]);
    for line in &lines {
        grid.row(vec![line.instance.clone(), show(line.from), show(line.to)]);
    }
    output::data(&grid.text())?;
    Ok(Exit::Good)
}
