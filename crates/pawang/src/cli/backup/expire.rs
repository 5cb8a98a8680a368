//! `pawang backup expire`: what the policy no longer keeps gets a tomb, and what lay under one for the grace is deleted.

use pawang_backup::retention::{self, Decision, Fate, Outcome};
use pawang_backup::{ClusterId, Repository};
use pawang_core::Report;
use serde::Serialize;

use super::find::repositories;
use crate::cli::Global;
use crate::cli::confirm::Agreement;
use crate::each::each;
use crate::environment;
use crate::estate::{Estate, Job, told};
use crate::grid::Grid;
use crate::output::{self, Exit};
use crate::repositories as opened;

/// Mark what the policy no longer keeps, and delete what was marked for longer than the grace
///
/// Each line says why. What is held, in use, or the newest proven chain is never deleted, whatever the policy says.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Only this repository of pawang.toml
    #[arg(long, value_name = "NAME", visible_alias = "repo")]
    repository: Option<String>,
    #[command(flatten)]
    agreement: Agreement,
}

/// What was done in one repository.
#[derive(Serialize)]
struct Done {
    instance: String,
    repository: String,
    #[serde(flatten)]
    outcome: Outcome,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let jobs = opened::jobs(&estate, &global.instances)?;
    let mut all = Vec::new();
    for job in &jobs {
        let Some(planned) = pass(&estate, job, args, true)? else {
            return Ok(Exit::Interrupted);
        };
        if args.dry_run {
            all.extend(planned);
            continue;
        }
        let changes = planned.iter().flat_map(|done| &done.outcome.plan.decisions);
        let changes = changes
            .filter(|decision| decision.fate != Fate::Keep)
            .count();
        if !global.json || changes > 0 && !args.agreement.given() {
            output::talk(&table(&planned).text());
        }
        if changes > 0 {
            args.agreement.ask(job)?;
        }
        let Some(done) = pass(&estate, job, args, false)? else {
            return Ok(Exit::Interrupted);
        };
        all.extend(done);
    }
    if global.json {
        output::json("pawang.backup.expire/1", &all)?;
    } else if args.dry_run {
        output::data(&table(&all).text())?;
    }
    tell(&all);
    let refused = all.iter().any(|done| !done.outcome.problems.is_empty());
    Ok(if refused { Exit::Answer } else { Exit::Good })
}

/// Looks at, or does, everything of one instance.
fn pass(
    estate: &Estate,
    job: &Job,
    args: &Args,
    dry_run: bool,
) -> Result<Option<Vec<Done>>, Report> {
    let settings = estate.config.backup_settings(&job.config);
    let policy = opened::policy(&settings.retention);
    let now = environment::now();
    let done = each(estate, std::slice::from_ref(job), async |job| {
        let mut all = Vec::new();
        for (opened, repository) in repositories(estate, job, args.repository.as_deref()).await? {
            let Some(cluster) = cluster(&repository, job).await? else {
                continue;
            };
            let outcome = retention::expire(&repository, &cluster, &policy, now, dry_run).await;
            all.push(Done {
                instance: job.instance.name.clone(),
                repository: opened.config.name.clone(),
                outcome: outcome.map_err(|error| error.report())?,
            });
        }
        Ok::<_, Report>(all)
    })?;
    done.and_then(|mut done| done.pop()).transpose()
}

async fn cluster(repository: &Repository, job: &Job) -> Result<Option<ClusterId>, Report> {
    let cluster = opened::cluster(repository, &job.instance.name, None).await;
    cluster.map_err(|error| error.report())
}

fn table(all: &[Done]) -> Grid {
    let mut grid = Grid::new(&["instance", "repository", "backup", "fate", "why"]);
    for done in all {
        for Decision { backup, fate, why } in &done.outcome.plan.decisions {
            let fate = match fate {
                Fate::Keep => "keep",
                Fate::Tomb => "mark",
                Fate::Delete => "delete",
            };
            grid.row(vec![
                done.instance.clone(),
                done.repository.clone(),
                backup.to_string(),
                fate.to_owned(),
                why.join("; "),
            ]);
        }
    }
    grid
}

fn tell(all: &[Done]) {
    for done in all {
        let (instance, repository) = (&done.instance, &done.repository);
        output::talk(&format!(
            "\"{instance}\" in \"{repository}\": {}",
            opened::expired_words(&done.outcome)
        ));
        for problem in &done.outcome.problems {
            output::talk(&format!("error: {problem}; the next run tries it again"));
        }
    }
}
