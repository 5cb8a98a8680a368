//! `pawang session tree`: who waits for whom, root blockers first.

use pawang_act::session::{Branch, PREPARED, Process, View};
use pawang_core::{Report, Unit};
use serde::Serialize;

use super::person::{dash, since, statement, tell_hidden, views, waits_for};
use crate::cli::Global;
use crate::estate::{Estate, told};
use crate::grid::Grid;
use crate::output::{self, Exit};

/// Show who waits for whom, root blockers first
///
/// Root blockers wait for nobody themselves; the one whose victims have waited longest together comes first. What waits
/// stands below what it waits for, once. Exit code 1 when somebody waits.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

#[derive(Serialize)]
struct Answer<'a> {
    instance: &'a str,
    branches: Vec<Line<'a>>,
    prepared: &'a [pawang_act::session::Prepared],
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    branch: Branch,
    session: Option<String>,
    process: Option<&'a Process>,
    statement: String,
}

/// Runs the command.
pub(super) fn run(_: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let jobs = estate.jobs(&global.instances, None)?;
    let Some(views) = views(&estate, &jobs)? else {
        return Ok(Exit::Interrupted);
    };
    let answers: Vec<Answer<'_>> = jobs
        .iter()
        .zip(&views)
        .map(|(job, view)| answer(&estate, &job.instance.name, view))
        .collect();
    let quiet = answers.iter().all(|answer| answer.branches.is_empty());
    if global.json {
        output::json("pawang.session.tree/1", &answers)?;
    } else if quiet {
        if !global.quiet {
            output::talk("nobody waits for a lock");
        }
    } else {
        output::data(&page(&answers, &views))?;
        if !global.quiet {
            let waits = answers.iter().find(|answer| !answer.branches.is_empty());
            let name = waits.map_or("NAME", |answer| answer.instance);
            output::talk(&format!(
                "hint: pawang session terminate --blockers -i {name}"
            ));
        }
    }
    if !global.quiet {
        tell_hidden(&jobs, &views);
    }
    Ok(if quiet { Exit::Good } else { Exit::Answer })
}

fn answer<'a>(estate: &Estate, instance: &'a str, view: &'a View) -> Answer<'a> {
    let line = |branch: Branch| {
        let process = view.process(branch.pid);
        Line {
            session: process.and_then(Process::session_id),
            statement: process.map_or_else(String::new, |p| statement(estate, &p.query)),
            process,
            branch,
        }
    };
    Answer {
        instance,
        branches: view.tree().into_iter().map(line).collect(),
        prepared: &view.prepared,
    }
}

fn page(answers: &[Answer<'_>], views: &[View]) -> String {
    let mut grid = Grid::new(&[
        "instance",
        "pid",
        "session",
        "user",
        "state",
        "for>",
        "blocks>",
        "waited below>",
        "waits for",
        "statement",
    ]);
    for (answer, view) in answers.iter().zip(views) {
        for line in &answer.branches {
            grid.row(cells(answer, line, view));
        }
    }
    grid.text()
}

fn cells(answer: &Answer<'_>, line: &Line<'_>, view: &View) -> Vec<String> {
    let branch = &line.branch;
    let own = match branch.pid {
        PREPARED => {
            let gids = answer.prepared.iter().map(|prepared| prepared.gid.as_str());
            format!("prepared {}", gids.collect::<Vec<_>>().join(" "))
        }
        pid => pid.to_string(),
    };
    let mut waits = line
        .process
        .map(|p| waits_for(p, view.at))
        .unwrap_or_default();
    if !branch.also_behind.is_empty() {
        let others: Vec<String> = branch.also_behind.iter().map(i64::to_string).collect();
        waits.push_str(&format!(", also behind {}", others.join(" ")));
    }
    if branch.circle {
        waits.push_str(" (in a circle: the server ends one of them)");
    }
    let below = branch.waited_below_ms as f64 / 1_000.0;
    vec![
        answer.instance.to_owned(),
        format!("{}{own}", "> ".repeat(branch.depth)),
        dash(line.session.as_deref()),
        dash(line.process.and_then(|p| p.user.as_deref())),
        dash(
            line.process
                .and_then(|p| p.state.as_deref().or(p.backend_type.as_deref())),
        ),
        since(line.process.and_then(|p| p.state_change), view.at),
        branch.victims.to_string(),
        if branch.victims == 0 {
            "-".to_owned()
        } else {
            Unit::Seconds.show(below)
        },
        dash(Some(&waits)),
        line.statement.clone(),
    ]
}
