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
/// Exit code 1 when something was begun and nobody knows how it ended: the next `apply` settles it; 3 when a server could
/// not be seen.
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
    let seen = Seen::of(&jobs, running);
    let exit = match (seen.unseen.is_empty(), open.is_empty()) {
        (false, _) => Exit::Target,
        (true, false) => Exit::Answer,
        (true, true) => Exit::Good,
    };
    if global.json {
        let data = json!({
            "running": seen.running,
            "unseen": seen.unseen,
            "unsettled": open,
            "policies": policies,
        });
        output::json("pawang.maintain.status/1", &data)?;
        return Ok(exit);
    }
    seen.tell()?;
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

/// What Pawang is doing, and where that could not be seen.
#[derive(Default)]
struct Seen {
    /// One row for each session that does something, its instance first.
    running: Vec<Vec<String>>,
    /// Why sessions of an instance were not, or not all, seen.
    unseen: Vec<String>,
}

impl Seen {
    fn of(jobs: &[Job], looks: Vec<Result<Look, Report>>) -> Seen {
        let mut seen = Seen::default();
        for (job, look) in jobs.iter().zip(looks) {
            let name = &job.instance.name;
            match look {
                Ok(look) => {
                    for row in look.rows {
                        seen.running.push([vec![name.clone()], row].concat());
                    }
                    if let Some(role) = look.sees_only {
                        seen.unseen.push(format!(
                            "{name}: role \"{role}\" sees its own sessions only: GRANT pg_monitor TO \"{role}\""
                        ));
                    }
                }
                Err(report) => {
                    let detail = report.detail.unwrap_or_default();
                    seen.unseen
                        .push(format!("{name}: {}: {detail}", report.primary));
                }
            }
        }
        seen
    }

    fn tell(&self) -> Result<(), Report> {
        for why in &self.unseen {
            output::talk(&format!("not seen: {why}"));
        }
        if !self.running.is_empty() {
            let mut grid = Grid::new(&[
                "instance",
                "database",
                "action",
                "for>",
                "waits for",
                "statement",
            ]);
            self.running.iter().for_each(|row| grid.row(row.clone()));
            return output::data(&grid.text());
        }
        if self.unseen.is_empty() {
            output::talk("Pawang is doing nothing on these servers");
        }
        Ok(())
    }
}

/// What one server shows.
struct Look {
    rows: Vec<Vec<String>>,
    /// The role, where it does not see what sessions of others do.
    sees_only: Option<String>,
}

async fn running(job: &Job) -> Result<Look, Report> {
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
    let server = &session.server;
    let blind = !(server.monitor || server.superuser);
    Ok(Look {
        rows: rows.rows.iter().map(row).collect(),
        sees_only: blind.then(|| server.user.clone()),
    })
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
