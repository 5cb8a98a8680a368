//! `pawang dump list`: which dumps there are.

use pawang_backup::dump::Dump;
use pawang_core::{ByteSize, Report};
use serde::Serialize;

use crate::cli::Global;
use crate::cli::restore::{estate, until_signal};
use crate::grid::Grid;
use crate::output::{self, Exit};
use crate::repositories;

/// List dumps, oldest first
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this repository of pawang.toml
    #[arg(long, value_name = "NAME", visible_alias = "repo")]
    repository: Option<String>,
}

#[derive(Serialize)]
struct Listed {
    repository: String,
    #[serde(flatten)]
    dump: Dump,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = estate(global)?;
    let jobs = repositories::jobs(&estate, &global.instances)?;
    until_signal(async {
        let mut listed = Vec::new();
        for job in &jobs {
            let found = super::all(&estate, job, args.repository.as_deref()).await?;
            listed.extend(found.into_iter().map(|found| Listed {
                repository: found.name,
                dump: found.dump,
            }));
        }
        if global.json {
            output::json("pawang.dump.list/1", &listed)?;
            return Ok(Exit::Good);
        }
        let mut grid = Grid::new(&[
            "dump",
            "instance",
            "repository",
            "ended",
            "databases",
            "stored>",
            "by",
        ]);
        for Listed { repository, dump } in &listed {
            let names: Vec<&str> = dump
                .databases
                .iter()
                .map(|it| it.database.as_str())
                .collect();
            grid.row(vec![
                dump.dump.to_string(),
                dump.instance.clone(),
                repository.clone(),
                format!("{:.0}", dump.ended_at),
                names.join(", "),
                ByteSize(dump.stored_bytes()).to_string(),
                dump.program.clone(),
            ]);
        }
        output::data(&grid.text())?;
        if listed.is_empty() {
            output::talk("there is no dump yet; take one: pawang dump create");
        }
        Ok(Exit::Good)
    })
}
