//! `pawang backup check`: everything that would make a backup or a restore fail, told before it is needed.

use pawang_core::{Level, Report};
use serde::Serialize;

use super::preflight::{Told, preflight};
use crate::cli::Global;
use crate::each::each;
use crate::estate::{Estate, told};
use crate::grid::Grid;
use crate::output::{self, Exit};
use crate::repositories;

/// Tell everything that would make a backup or a restore fail, before it is needed
///
/// Asks the server, over the replication protocol too, and writes and deletes a small object in each repository. It ends with 1
/// when something needs attention, and with 3 when something could not be seen.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// What was found of one instance.
#[derive(Serialize)]
struct Found {
    instance: String,
    findings: Vec<Told>,
}

/// Runs the command.
pub(super) fn run(_: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let jobs = repositories::jobs(&estate, &global.instances)?;
    let found = each(&estate, &jobs, async |job| Found {
        instance: job.instance.name.clone(),
        findings: preflight(&estate, job).await,
    })?;
    let Some(found) = found else {
        return Ok(Exit::Interrupted);
    };
    if global.json {
        output::json("pawang.backup.check/1", &found)?;
    } else {
        output::data(&table(&found, global.quiet).text())?;
        for told in found.iter().flat_map(|found| &found.findings) {
            if let Some(hint) = told.hint.as_ref().filter(|_| told.level > Level::Info) {
                output::talk(&format!("hint: {}: {hint}", told.subject));
            }
        }
    }
    let worst = found.iter().flat_map(|found| &found.findings);
    Ok(match worst.map(|told| told.level).max() {
        None | Some(Level::Ok | Level::Info) => Exit::Good,
        Some(Level::Unknown) => Exit::Target,
        Some(Level::Warning | Level::Critical) => Exit::Answer,
    })
}

fn table(found: &[Found], quiet: bool) -> Grid {
    let mut grid = Grid::new(&["level", "instance", "subject", "what"]);
    for found in found {
        let told = found.findings.iter();
        for told in told.filter(|told| !quiet || told.level != Level::Ok) {
            grid.row(vec![
                told.level.as_str().to_owned(),
                found.instance.clone(),
                told.subject.clone(),
                told.what.clone(),
            ]);
        }
    }
    grid
}
