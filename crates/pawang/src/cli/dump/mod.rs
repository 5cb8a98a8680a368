//! `pawang dump`: logical dumps by PostgreSQL's own client programs, kept in the repositories of backups.

mod create;
mod expire;
mod list;
mod restore;
mod verify;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use pawang_backup::dump::{Client, Dump, client};
use pawang_backup::{ClusterId, Repository};
use pawang_core::{Kind, Report};

use crate::cli::Global;
use crate::estate::{Estate, Job};
use crate::output::Exit;
use crate::repositories;

const EXAMPLES: &str = "\
Examples:
  pawang dump create -i dwh-1                                all databases and roles, by pg_dump
  pawang dump create -i dwh-1 --database sales
  pawang dump list -i dwh-1
  pawang dump restore latest -i test-1 --from dwh-1 --database sales --into sales_copy";

/// Logical dumps: taken by pg_dump, kept beside backups, restored into new databases
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Args),
    List(list::Args),
    Verify(verify::Args),
    Restore(restore::Args),
    Expire(expire::Args),
}

/// Runs the command.
///
/// # Errors
/// A program, the repository or the server refuses.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::Create(args) => create::run(args, global),
        Verb::List(args) => list::run(args, global),
        Verb::Verify(args) => verify::run(args, global),
        Verb::Restore(args) => restore::run(args, global),
        Verb::Expire(args) => expire::run(args, global),
    }
}

/// A dump that was found.
struct Found {
    repository: Repository,
    /// The name of the repository in the configuration.
    name: String,
    cluster: ClusterId,
    dump: Dump,
}

/// Returns all dumps of an instance, oldest first, from all of its repositories or the one that is named.
async fn all(estate: &Estate, job: &Job, named: Option<&str>) -> Result<Vec<Found>, Report> {
    let mut found = Vec::new();
    for opened in repositories::of_instance(&estate.config, job).await? {
        if named.is_some_and(|name| name != opened.config.name) {
            continue;
        }
        let repository = opened.repository?;
        for cluster in clusters(&repository).await? {
            let dumps = repository.dumps(&cluster).await;
            let dumps = dumps.map_err(|error| error.report())?;
            let own = dumps
                .into_iter()
                .filter(|dump| dump.instance == job.instance.name);
            found.extend(own.map(|dump| Found {
                repository: repository.clone(),
                name: opened.config.name.clone(),
                cluster,
                dump,
            }));
        }
    }
    found.sort_by(|a, b| a.dump.dump.cmp(&b.dump.dump));
    Ok(found)
}

async fn clusters(repository: &Repository) -> Result<Vec<ClusterId>, Report> {
    repository.clusters().await.map_err(|error| error.report())
}

/// Finds the dump that is named, by as much of its name as no other has, or `latest`.
async fn one(
    estate: &Estate,
    job: &Job,
    named: Option<&str>,
    wanted: &str,
) -> Result<Found, Report> {
    let instance = &job.instance.name;
    let mut found = all(estate, job, named).await?;
    let upper = wanted.to_ascii_uppercase();
    if upper != "LATEST" {
        found.retain(|it| {
            let name = it.dump.dump.as_str();
            name.starts_with(&upper) || name.ends_with(&upper)
        });
        if found.len() > 1 {
            let what = format!("\"{wanted}\" is several dumps of \"{instance}\"");
            return Err(Report::new(Kind::Usage, what)
                .with_hint("name more of it, or the repository with --repository"));
        }
    }
    found.pop().ok_or_else(|| {
        Report::new(
            Kind::Usage,
            format!("\"{instance}\" has no dump \"{wanted}\""),
        )
        .with_hint(format!("pawang dump list -i {instance}"))
    })
}

/// Returns the only instance that a command is about.
fn only(estate: &Estate, names: &[String]) -> Result<Job, Report> {
    let only = estate.only(names, "a dump")?;
    only.ok_or_else(|| Report::new(Kind::Usage, "there is no instance").with_hint("pawang init"))
}

/// Finds client programs for a server of this major version.
async fn programs(major: u32, bindir: Option<&PathBuf>) -> Result<Client, Report> {
    let found = client(major, bindir.map(PathBuf::as_path as fn(&PathBuf) -> &Path)).await;
    found.map_err(|error| error.report())
}
