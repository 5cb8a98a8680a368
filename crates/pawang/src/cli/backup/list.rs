//! `pawang backup list`: the backups of each instance and repository, oldest first.

use pawang_core::backup::{BackupFacts, BackupSummary, RepositoryFacts};
use pawang_core::{ByteSize, Report};
use serde::Serialize;

use crate::cli::Global;
use crate::each::each;
use crate::environment;
use crate::estate::{Estate, told};
use crate::grid::Grid;
use crate::output::{self, Exit};
use crate::repositories;

/// List backups, with what is proven of each and why it stays or goes
///
/// The server itself is not asked: its backups are found by the name of the instance, also when it is gone.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// The backups of one instance.
#[derive(Serialize)]
struct Listed {
    instance: String,
    #[serde(flatten)]
    facts: BackupFacts,
}

/// Runs the command.
pub(super) fn run(_: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let jobs = repositories::jobs(&estate, &global.instances)?;
    let now = environment::now();
    let looked = each(&estate, &jobs, async |job| {
        let facts = repositories::look_once(&estate.config, job, None, now).await;
        (job.instance.name.clone(), facts)
    })?;
    let Some(looked) = looked else {
        return Ok(Exit::Interrupted);
    };
    let listed = looked.into_iter().map(|(instance, facts)| {
        let facts = facts?;
        Ok(Listed { instance, facts })
    });
    let listed = listed.collect::<Result<Vec<Listed>, Report>>()?;
    if global.json {
        output::json("pawang.backup.list/1", &listed)?;
    } else {
        output::data(&table(&listed).text())?;
    }
    Ok(tell(&listed))
}

fn table(listed: &[Listed]) -> Grid {
    let mut grid = Grid::new(&[
        "instance",
        "repository",
        "backup",
        "kind",
        "ended",
        "state",
        "data>",
        "stored>",
        "stays or goes",
    ]);
    for Listed { instance, facts } in listed {
        for repository in &facts.repositories {
            let backups = repository.survey.iter().flat_map(|survey| &survey.backups);
            for backup in backups {
                grid.row(row(instance, repository, backup));
            }
        }
    }
    grid
}

fn row(instance: &str, repository: &RepositoryFacts, backup: &BackupSummary) -> Vec<String> {
    let state = match &backup.broken {
        Some(_) => "broken".to_owned(),
        None if backup.pages_wrong > 0 => format!("{}, wrong pages", backup.state.name()),
        None => backup.state.name().to_owned(),
    };
    vec![
        instance.to_owned(),
        repository.name.clone(),
        backup.id.clone(),
        backup.kind.clone(),
        format!("{:.0}", backup.ended_at),
        state,
        ByteSize(backup.data_bytes).to_string(),
        ByteSize(backup.stored_bytes).to_string(),
        backup.fate.clone(),
    ]
}

/// Tells what could not be seen and what is not there.
fn tell(listed: &[Listed]) -> Exit {
    let mut exit = Exit::Good;
    for Listed { instance, facts } in listed {
        for repository in &facts.repositories {
            match &repository.survey {
                Err(blind) => {
                    output::talk(&format!(
                        "error: repository \"{}\" of \"{instance}\" was not seen: {}\nhint: {}",
                        repository.name,
                        blind.sentence(),
                        blind.remedy()
                    ));
                    exit = Exit::Target;
                }
                Ok(survey) if survey.backups.is_empty() => output::talk(&format!(
                    "repository \"{}\" has no backup of \"{instance}\"; take one: pawang backup create -i {instance}",
                    repository.name
                )),
                Ok(_) => {}
            }
        }
    }
    exit
}
