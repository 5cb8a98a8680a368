//! `pawang maintain status`: what Pawang is doing on each server right now, what was left unsettled, and when policies open.

use pawang_act::Journal;
use pawang_config::schedule::Schedule;
use pawang_core::{Report, Timestamp};
use pawang_postgres::Session;
use serde_json::json;

use crate::cli::Global;
use crate::cli::account::state;
use crate::each::each;
use crate::environment;
use crate::estate::{Estate, Job, told};
use crate::grid::Grid;
use crate::output::{self, Exit};

/// Sessions in which Pawang, this one or another, does something.
const RUNNING: &str = "SELECT a.pid, a.application_name, a.datname, a.state,
    pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) a.query_start) AS seconds,
    COALESCE(a.wait_event_type, '') AS wait, a.query
FROM pg_catalog.pg_stat_activity AS a
WHERE a.application_name LIKE 'pawang:%:%' AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
    AND a.state OPERATOR(pg_catalog.=) 'active'
ORDER BY a.query_start";

/// Show what Pawang is doing on the servers, what an earlier run left, and when policies open
///
/// Exit code 1 when something was begun and nobody knows how it ended: the next `apply` settles it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Runs the command.
pub(super) fn run(_args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let jobs = estate.jobs(&global.instances, None)?;
    let Some(running) = each(&estate, &jobs, async |job| running(job).await)? else {
        return Ok(Exit::Interrupted);
    };
    let now = environment::now();
    let open = match state::open_to_read(global)? {
        None => Vec::new(),
        Some(state) => state.open_intents().map_err(|error| error.report())?,
    };
    let policies = policies(&estate, now);
    let mut exit = [Exit::Answer, Exit::Good][usize::from(open.is_empty())];
    let mut sessions = Grid::new(&[
        "instance",
        "database",
        "action",
        "for>",
        "waits for",
        "statement",
    ]);
    let mut told = Vec::new();
    for (job, rows) in jobs.iter().zip(running) {
        match rows {
            Ok(rows) => {
                for row in rows {
                    told.push(json!({ "instance": job.instance.name, "session": row }));
                    let mut cells = vec![job.instance.name.clone()];
                    cells.extend(row);
                    sessions.row(cells);
                }
            }
            Err(report) => {
                exit = Exit::Target;
                output::talk(&report.to_string());
            }
        }
    }
    if global.json {
        let data = json!({ "running": told, "unsettled": open, "policies": policies });
        output::json("pawang.maintain.status/1", &data)?;
        return Ok(exit);
    }
    if sessions.is_empty() {
        output::talk("Pawang is doing nothing on these servers");
    } else {
        output::data(&sessions.text())?;
    }
    for intent in &open {
        output::data(&format!(
            "unsettled: {} on {}, begun by a run that did not end; the next pawang maintain apply looks what became of it\n",
            intent.action, intent.instance
        ))?;
    }
    let mut grid = Grid::new(&["policy", "window", "opens", "until"]);
    for policy in &policies {
        let text = |name: &str| policy[name].as_str().unwrap_or("-").to_owned();
        grid.row(vec![
            text("policy"),
            text("window"),
            text("opens_at"),
            text("open_until"),
        ]);
    }
    if !grid.is_empty() {
        output::data(&grid.text())?;
    }
    Ok(exit)
}

async fn running(job: &Job) -> Result<Vec<Vec<String>>, Report> {
    let session = Session::connect(&job.target, "maintain")
        .await
        .map_err(|error| error.report())?;
    let rows = session
        .read(RUNNING)
        .await
        .map_err(|error| error.report())?;
    let row = |row: &Vec<pawang_core::Value>| {
        let text = |at: usize| row.get(at).map(ToString::to_string).unwrap_or_default();
        let action = text(1).trim_start_matches("pawang:").to_owned();
        let seconds = row
            .get(4)
            .and_then(pawang_core::Value::as_float)
            .unwrap_or_default();
        vec![
            text(2),
            action,
            pawang_chart::words::duration(seconds),
            text(5),
            pawang_store::text::normalise(&text(6)),
        ]
    };
    Ok(rows.rows.iter().map(row).collect())
}

/// Returns the policies of the file, with when their windows are or will be open.
fn policies(estate: &Estate, now: Timestamp) -> Vec<serde_json::Value> {
    let policies = estate.config.maintenance.policies.iter();
    let one = |(name, policy): (&String, &pawang_config::MaintenancePolicy)| {
        let schedule = policy
            .window
            .as_deref()
            .and_then(|window| Schedule::parse(window).ok());
        let open = schedule.as_ref().and_then(|schedule| schedule.open(now));
        let next = schedule
            .as_ref()
            .filter(|_| open.is_none())
            .and_then(|schedule| schedule.next_change(now));
        json!({
            "policy": name,
            "window": policy.window,
            "opens_at": next.map(|next| next.to_string()),
            "open_until": open.map(|open| open.to.to_string()),
        })
    };
    policies.map(one).collect()
}
