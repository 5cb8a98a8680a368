//! `pawang dump verify`: all of a dump is read again.

use std::path::PathBuf;

use pawang_backup::dump;
use pawang_core::Report;
use serde_json::json;

use crate::cli::Global;
use crate::cli::restore::{estate, until_signal};
use crate::output::{self, Exit};

/// Read a dump again: its bytes against their hashes, its contents by pg_restore --list
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the dump, or as much of its begin or end as no other has; `latest` for the newest
    #[arg(value_name = "DUMP", default_value = "latest")]
    dump: String,
    /// Only this repository of pawang.toml
    #[arg(long, value_name = "NAME", visible_alias = "repo")]
    repository: Option<String>,
    /// Folder of the client programs, when it is none of the usual
    #[arg(
        long,
        value_name = "DIR",
        visible_alias = "programs",
        hide_short_help = true
    )]
    bindir: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = estate(global)?;
    let job = super::only(&estate, &global.instances)?;
    until_signal(async {
        let found = super::one(&estate, &job, args.repository.as_deref(), &args.dump).await?;
        let major = found.dump.server_version / 10_000;
        let client = super::programs(major, args.bindir.as_ref()).await?;
        let (cluster, dump) = (&found.cluster, &found.dump);
        let problems = dump::verify(&found.repository, cluster, dump, Some(&client)).await;
        let problems = problems.map_err(|error| error.report())?;
        let name = &found.dump.dump;
        if global.json {
            let told = json!({ "dump": name, "repository": found.name, "problems": problems });
            output::json("pawang.dump.verify/1", &told)?;
        } else if problems.is_empty() {
            let count = found.dump.databases.len();
            output::data(&format!(
                "dump {name} in \"{}\" is whole: {count} databases, each readable by pg_restore\n",
                found.name
            ))?;
        } else {
            for problem in &problems {
                let line = pawang_report::one_line(problem);
                output::data(&format!("dump {name} is damaged: {line}\n"))?;
            }
        }
        Ok(match problems.is_empty() {
            true => Exit::Good,
            false => Exit::Answer,
        })
    })
}
