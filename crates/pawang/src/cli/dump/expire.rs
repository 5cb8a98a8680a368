//! `pawang dump expire`: dumps that no rule keeps go, with a tomb and its grace first.

use pawang_backup::dump;
use pawang_backup::retention::Fate;
use pawang_core::Report;

use crate::cli::Global;
use crate::cli::confirm::Agreement;
use crate::cli::restore::{estate, until_signal};
use crate::grid::Grid;
use crate::output::{self, Exit};
use crate::{environment, repositories, taking};

/// Delete dumps that no rule of `retention` keeps, each counted as a full backup
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    agreement: Agreement,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = estate(global)?;
    let job = super::only(&estate, &global.instances)?;
    let settings = estate.config.backup_settings(&job.config);
    let policy = repositories::policy(&settings.retention);
    if !args.dry_run {
        args.agreement.ask(&job)?;
    }
    until_signal(async {
        let mut fates = Vec::new();
        let mut places = Vec::new();
        for found in super::all(&estate, &job, None).await? {
            let place = (found.name.clone(), found.cluster);
            if places.contains(&place) {
                continue;
            }
            places.push(place);
            let (repository, cluster) = (&found.repository, &found.cluster);
            let (owner, now) = (taking::owner()?, environment::now());
            let done = dump::expire(repository, cluster, &policy, &owner, now, args.dry_run).await;
            fates.extend(done.map_err(|error| error.report())?);
        }
        if global.json {
            output::json("pawang.dump.expire/1", &fates)?;
            return Ok(Exit::Good);
        }
        let mut grid = Grid::new(&["dump", "fate", "why"]);
        for fate in &fates {
            let word = match (fate.decision.fate, fate.deleted) {
                (_, true) => "deleted",
                (Fate::Keep, _) => "keep",
                (Fate::Tomb, _) => "mark",
                (Fate::Delete, _) => "delete",
            };
            grid.row(vec![
                fate.decision.backup.to_string(),
                word.to_owned(),
                fate.decision.why.join("; "),
            ]);
        }
        output::data(&grid.text())?;
        Ok(Exit::Good)
    })
}
