//! `pawang session list`: who is connected and what they do.

use std::time::Duration;

use pawang_act::session::{Process, View};
use pawang_config::matches;
use pawang_core::Report;
use serde::Serialize;

use super::person::{age, dash, since, statement, tell_hidden, views, waits_for};
use crate::cli::Global;
use crate::estate::{Estate, told};
use crate::grid::Grid;
use crate::output::{self, Exit};
use crate::when;

/// List who is connected and what they do
///
/// The column "session" is the session ID of PostgreSQL (%c of log_line_prefix): it tells a session from every other one
/// that ever was, and is what cancel and terminate take. Background processes of the server are no clients and are
/// shown with --all only.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this database, with *
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Only this role, with *
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only this application, with *
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// Only this state, such as active, idle or "idle in transaction*"
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only those that are in their state, or in their transaction, for at least so long
    #[arg(long, value_name = "LENGTH")]
    longer_than: Option<String>,
    /// Background processes of the server too
    #[arg(long)]
    all: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    instance: &'a str,
    /// Sessions of clients, whether they pass the filter or not.
    clients: usize,
    /// Processes of the server itself.
    background: usize,
    sessions: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    session: Option<String>,
    #[serde(flatten)]
    process: &'a Process,
    statement: String,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let longer_than = args.longer_than.as_deref().map(when::length).transpose()?;
    let longer_than = longer_than.and_then(|length| Duration::try_from(length).ok());
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let jobs = estate.jobs(&global.instances, None)?;
    let Some(views) = views(&estate, &jobs)? else {
        return Ok(Exit::Interrupted);
    };
    let answers: Vec<Answer<'_>> = jobs
        .iter()
        .zip(&views)
        .map(|(job, view)| answer(args, longer_than, &estate, &job.instance.name, view))
        .collect();
    if global.json {
        output::json("pawang.session.list/1", &answers)?;
        return Ok(Exit::Good);
    }
    let mut grid = Grid::new(&[
        "instance",
        "session",
        "pid>",
        "database",
        "user",
        "application",
        "client",
        "state",
        "for>",
        "transaction>",
        "waits for",
        "statement",
    ]);
    for (answer, view) in answers.iter().zip(&views) {
        for line in &answer.sessions {
            grid.row(cells(answer.instance, line, view));
        }
    }
    output::data(&grid.text())?;
    if !global.quiet {
        for answer in &answers {
            output::talk(&format!(
                "{}: {} of {} client sessions; {} background processes not counted",
                answer.instance,
                answer
                    .sessions
                    .iter()
                    .filter(|line| line.process.client_backend())
                    .count(),
                answer.clients,
                answer.background
            ));
        }
        tell_hidden(&jobs, &views);
    }
    Ok(Exit::Good)
}

fn answer<'a>(
    args: &Args,
    longer_than: Option<Duration>,
    estate: &Estate,
    instance: &'a str,
    view: &'a View,
) -> Answer<'a> {
    let wanted = |process: &&Process| {
        let is = |pattern: &Option<String>, value: Option<&str>| {
            pattern
                .as_ref()
                .is_none_or(|pattern| matches(pattern, value.unwrap_or_default()))
        };
        let long = longer_than.is_none_or(|least| {
            let ages = [process.state_change, process.xact_start];
            ages.iter()
                .any(|at| age(*at, view.at).is_some_and(|age| age >= least))
        });
        // A session whose kind cannot be seen is one of somebody else, and a client's for all that is known.
        let client = process.client_backend() || process.backend_type.is_none();
        (args.all || client)
            && is(&args.database, process.database.as_deref())
            && is(&args.user, process.user.as_deref())
            && is(&args.application, Some(&process.application))
            && is(&args.state, process.state.as_deref())
            && long
    };
    let sessions = view.processes.iter().filter(wanted).map(|process| Line {
        session: process.session_id(),
        process,
        statement: statement(estate, &process.query),
    });
    let background = view.processes.iter();
    let background = background.filter(|p| p.backend_type.is_some() && !p.client_backend());
    Answer {
        instance,
        clients: view.clients(),
        background: background.count(),
        sessions: sessions.collect(),
    }
}

fn cells(instance: &str, line: &Line<'_>, view: &View) -> Vec<String> {
    let process = line.process;
    let state = process.state.as_deref().filter(|state| !state.is_empty());
    vec![
        instance.to_owned(),
        dash(line.session.as_deref()),
        process.pid.to_string(),
        dash(process.database.as_deref()),
        dash(process.user.as_deref()),
        dash(Some(&process.application)),
        dash(process.client.as_deref()),
        dash(state.or(process.backend_type.as_deref())),
        since(process.state_change, view.at),
        since(process.xact_start, view.at),
        dash(Some(&waits_for(process, view.at))),
        line.statement.clone(),
    ]
}
