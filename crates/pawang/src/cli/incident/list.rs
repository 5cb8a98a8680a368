//! `pawang incident list`: what is open, and what was.

use pawang_alert::incident::overdue;
use pawang_core::alert::{Incident, IncidentState};
use pawang_core::{Report, Timestamp};
use pawang_store::state::IncidentQuery;
use serde_json::json;

use crate::cli::Global;
use crate::cli::account::state;
use crate::environment;
use crate::grid::Grid;
use crate::output::{self, Exit};

/// Incidents that are listed.
const LISTED_MAX: usize = 200;

/// List incidents that are not closed, the newest first
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Also those that are closed
    #[arg(long)]
    all: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let query = IncidentQuery {
        open: !args.all,
        limit: LISTED_MAX,
        ..IncidentQuery::default()
    };
    let mut incidents = match state::open_to_read(global)? {
        Some(state) => state.incidents(&query).map_err(|error| error.report())?,
        None => Vec::new(),
    };
    let wanted = |name: &String| {
        global
            .instances
            .iter()
            .any(|p| pawang_config::matches(p, name))
    };
    incidents
        .retain(|incident| global.instances.is_empty() || incident.instances.iter().any(wanted));
    let now = environment::now();
    if global.json {
        let list: Vec<_> = incidents
            .iter()
            .map(|incident| json!({ "incident": incident, "overdue": overdue(incident, now) }))
            .collect();
        output::json("pawang.incident.list/1", &list)?;
        return Ok(Exit::Good);
    }
    let mut grid = Grid::new(&[
        "incident>",
        "priority",
        "state",
        "opened",
        "clock",
        "instances",
        "alerts>",
        "title",
    ]);
    for incident in &incidents {
        grid.row(vec![
            incident.id.to_string(),
            incident.priority.to_string(),
            word(incident.state).to_owned(),
            format!("{:.0}", incident.opened_at),
            clock(incident, now),
            incident.instances.join(" "),
            incident.alerts.len().to_string(),
            incident.title.clone(),
        ]);
    }
    output::data(&grid.text())?;
    Ok(Exit::Good)
}

/// Returns the word for how far an incident is.
pub(super) fn word(state: IncidentState) -> &'static str {
    match state {
        IncidentState::Open => "open",
        IncidentState::Mitigated => "mitigated",
        IncidentState::Closed => "closed",
    }
}

/// Returns how the clock against the response time stands.
pub(super) fn clock(incident: &Incident, now: Timestamp) -> String {
    let late = if overdue(incident, now) {
        ", too late"
    } else {
        ""
    };
    match &incident.responded {
        Some((at, by)) => format!("{by} responded {at:.0}{late}"),
        None => format!("respond by {:.0}{late}", incident.respond_by),
    }
}
