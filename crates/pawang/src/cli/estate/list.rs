//! `pawang estate list`: every instance with its address and whether it answers.

use std::fmt::Write;

use pawang_core::{Report, Role};
use pawang_postgres::Session;
use serde::Serialize;

use crate::cli::Global;
use crate::each::each;
use crate::estate::{Estate, Job, told};
use crate::output::{self, Exit};

/// List every instance with its address, version, role, and whether it answers
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only read pawang.toml; do not connect
    #[arg(long)]
    offline: bool,
}

/// One line of the list.
#[derive(Serialize)]
struct Line {
    name: String,
    group: Option<String>,
    address: String,
    version: Option<String>,
    role: Option<Role>,
    error: Option<String>,
}

/// Runs the command; exit code 3 when one does not answer.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let jobs = estate.jobs(&global.instances, None)?;
    let lines = each(&estate, &jobs, async |job| line(job, args.offline).await)?;
    let Some(lines) = lines else {
        output::talk("interrupted: nothing was written");
        return Ok(Exit::Interrupted);
    };
    if global.json {
        output::json("pawang.estate.list/1", &lines)?;
    } else {
        output::data(&table(&lines, args.offline))?;
    }
    let silent = lines.iter().any(|line| line.error.is_some());
    Ok(if silent { Exit::Target } else { Exit::Good })
}

async fn line(job: &Job, offline: bool) -> Line {
    let mut line = Line {
        name: job.instance.name.clone(),
        group: job.instance.group.clone(),
        address: job.target.name(),
        version: None,
        role: None,
        error: None,
    };
    if !offline {
        match Session::connect(&job.target, "estate").await {
            Ok(session) => {
                line.version = Some(session.server.short_version());
                line.role = Some(session.server.role);
            }
            Err(error) => line.error = Some(pawang_report::one_line(&error.blind().sentence())),
        }
    }
    line
}

fn table(lines: &[Line], offline: bool) -> String {
    let mut out = String::new();
    let terminal = output::terminal();
    for line in lines {
        let role = match (&line.role, &line.error) {
            (Some(Role::Primary), _) => "primary",
            (Some(Role::Standby), _) => "standby",
            (None, Some(error)) => error,
            (None, None) => "",
        };
        let version = line
            .version
            .as_deref()
            .unwrap_or(if offline { "" } else { "-" });
        let group = line.group.as_deref().unwrap_or("-");
        let _ = if terminal {
            writeln!(
                out,
                "{:<20}  {group:<10}  {:<32}  {version:<8}  {role}",
                line.name, line.address
            )
        } else {
            writeln!(
                out,
                "{}\t{group}\t{}\t{version}\t{role}",
                line.name, line.address
            )
        };
    }
    out
}
