//! Finds a backup by its name, or by as much of it as no other has, in the repositories of an instance.

use pawang_backup::{BackupId, ClusterId, Commit, Repository};
use pawang_core::{Kind, Report};

use crate::cli::Global;
use crate::estate::{Estate, Job};
use crate::repositories::{self, Opened};

/// Which backup a command is about
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Name of the backup, or as much of its begin or end as no other has; `latest` for the newest
    #[arg(value_name = "BACKUP")]
    pub(super) backup: String,
    /// Only this repository of pawang.toml
    #[arg(long, value_name = "NAME", visible_alias = "repo")]
    pub(super) repository: Option<String>,
}

/// A backup that was found.
pub(super) struct Found {
    /// The name of its repository in the configuration.
    pub(super) name: String,
    /// Its repository.
    pub(super) repository: Repository,
    /// Its cluster.
    pub(super) cluster: ClusterId,
    /// What it is made of.
    pub(super) commit: Commit,
}

impl Found {
    /// Returns its name.
    pub(super) fn id(&self) -> &BackupId {
        &self.commit.backup
    }
}

/// Returns the only instance that a command about one backup may be about.
///
/// # Errors
/// There are several, or none.
pub(super) fn only(estate: &Estate, global: &Global) -> Result<Job, Report> {
    let only = estate.only(&global.instances, "a backup")?;
    only.ok_or_else(|| Report::new(Kind::Usage, "there is no instance").with_hint("pawang init"))
}

/// Returns the repositories that a command looks into.
///
/// # Errors
/// There is none of that name, or one that is needed cannot be opened.
pub(super) async fn repositories<'a>(
    estate: &'a Estate,
    job: &Job,
    named: Option<&str>,
) -> Result<Vec<(Opened<'a>, Repository)>, Report> {
    let mut all = repositories::of_instance(&estate.config, job).await?;
    let names: Vec<String> = all.iter().map(|it| it.config.name.clone()).collect();
    all.retain(|opened| named.is_none_or(|name| name == opened.config.name));
    if all.is_empty() {
        let name = named.unwrap_or_default();
        let report = Report::new(Kind::Usage, format!("there is no repository \"{name}\""));
        return Err(report.with_detail(format!(
            "\"{}\" has {}",
            job.instance.name,
            names.join(", ")
        )));
    }
    let mut usable = Vec::with_capacity(all.len());
    for opened in all {
        let repository = opened.repository.clone()?;
        usable.push((opened, repository));
    }
    Ok(usable)
}

/// Finds the backup.
///
/// # Errors
/// There is none of that name, several begin with it, or a repository could not say.
pub(super) async fn find(estate: &Estate, job: &Job, which: &Which) -> Result<Found, Report> {
    let instance = &job.instance.name;
    let mut found = Vec::new();
    for (opened, repository) in repositories(estate, job, which.repository.as_deref()).await? {
        let cluster = repositories::cluster(&repository, instance, None).await;
        let Some(cluster) = cluster.map_err(|error| error.report())? else {
            continue;
        };
        let commits = repository
            .backups(&cluster)
            .await
            .map_err(|error| error.report())?;
        for commit in commits {
            found.push(Found {
                name: opened.config.name.clone(),
                repository: repository.clone(),
                cluster,
                commit,
            });
        }
    }
    let wanted = which.backup.to_ascii_uppercase();
    if wanted == "LATEST" {
        // A repository lists its own in order of positions; of several the one that ended last counts.
        let newest = found.into_iter().max_by_key(|it| it.commit.ended_at);
        return newest.ok_or_else(|| none(instance, &which.backup));
    }
    found.retain(|it| it.id().as_str().starts_with(&wanted) || it.id().as_str().ends_with(&wanted));
    match (found.len(), wanted.is_empty()) {
        (1, false) => Ok(found.remove(0)),
        (0, _) => Err(none(instance, &which.backup)),
        _ => {
            let names: Vec<String> = found
                .iter()
                .map(|it| format!("{} in \"{}\"", it.id(), it.name))
                .collect();
            let what = format!("\"{}\" is several backups of \"{instance}\"", which.backup);
            Err(Report::new(Kind::Usage, what)
                .with_detail(names.join(", "))
                .with_hint("name more of it, or the repository with --repository"))
        }
    }
}

fn none(instance: &str, wanted: &str) -> Report {
    let report = Report::new(
        Kind::Usage,
        format!("\"{instance}\" has no backup \"{wanted}\""),
    );
    report.with_hint(format!("pawang backup list -i {instance}"))
}
