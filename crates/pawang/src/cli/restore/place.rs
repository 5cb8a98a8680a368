//! Which backups a command restores: those of an instance in the repositories of pawang.toml, or of a folder that is named.

use std::path::Path;

use pawang_backup::{ClusterId, Error, Repository};
use pawang_config::{RepositoryConfig, RepositoryPlace};
use pawang_core::{Kind, Report};

use crate::cli::Global;
use crate::estate::{Estate, Job, told};
use crate::recovering::{From, Way};
use crate::repositories;

/// Which backups
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// Repository of pawang.toml, a folder, or s3://bucket/prefix; the first of the instance when not said
    #[arg(long, value_name = "NAME|PLACE", visible_alias = "repo")]
    pub(crate) repository: Option<String>,
    /// Cluster in the repository, when there is no instance that names it
    #[arg(long, value_name = "CLUSTER", hide_short_help = true)]
    cluster: Option<String>,
}

/// Opens a folder, which may be a copy of a part of a repository, but not one of a newer format.
async fn bare(folder: &Path) -> Result<Repository, Error> {
    let opened = Repository::directory(folder)?;
    opened.marker().await?;
    Ok(opened)
}

/// Returns the entry of a folder, which says with which key it is read.
fn entry_at<'a>(estate: &'a Estate, folder: &Path) -> Option<&'a RepositoryConfig> {
    let mut entries = estate.config.repositories.iter();
    entries.find(|entry| match entry.location() {
        Some(RepositoryPlace::Directory(at)) => {
            std::fs::canonicalize(at).is_ok_and(|at| at == folder)
        }
        _ => false,
    })
}

impl Place {
    /// Opens the repository and finds the cluster.
    ///
    /// # Errors
    /// There is none, or several where one is needed.
    pub(crate) async fn open(&self, estate: &Estate, global: &Global) -> Result<From, Report> {
        let job = self.job(estate, global)?;
        let (repository, way) = match (&self.repository, &job) {
            (Some(place), _) if place.contains("://") => of_place(estate, place).await?,
            (Some(name), _) if name.contains('/') => {
                let folder = std::fs::canonicalize(name).map_err(|error| {
                    let what = format!("could not open repository \"{name}\"");
                    Report::new(Kind::Target, what)
                        .with_detail(error.to_string())
                        .with_hint("pawang backup setup --repo /srv/backup")
                })?;
                let mut opened = bare(&folder).await.map_err(|error| error.report())?;
                if let Some(entry) = entry_at(estate, &folder) {
                    opened = opened.with_keys(repositories::settings(entry)?.keys);
                }
                (opened, Way::folder(folder))
            }
            (named, Some(job)) => of_instance(estate, job, named.as_deref()).await?,
            (_, None) => {
                return Err(Report::new(Kind::Usage, "no repository is named")
                    .with_hint("add -i INSTANCE, or --repository /srv/backup"));
            }
        };
        let cluster = self.cluster(&repository, job.as_ref()).await?;
        let name = job.map_or_else(|| cluster.to_string(), |job| job.instance.name);
        Ok(From {
            name,
            repository,
            way,
            cluster,
        })
    }

    /// Returns the instance, when there is a configuration that has one.
    pub(crate) fn job(&self, estate: &Estate, global: &Global) -> Result<Option<Job>, Report> {
        let by_folder = self
            .repository
            .as_ref()
            .is_some_and(|name| name.contains('/'));
        if estate.config.instances.is_empty() || (by_folder && global.instances.is_empty()) {
            return Ok(None);
        }
        estate.only(&global.instances, "a restore")
    }

    async fn cluster(
        &self,
        repository: &Repository,
        job: Option<&Job>,
    ) -> Result<ClusterId, Report> {
        if let Some(text) = &self.cluster {
            return text.parse().map_err(|_| {
                Report::new(Kind::Usage, format!("cannot read \"{text}\" as a cluster"))
                    .with_detail(
                        "it is its system identifier and major version, as 7300000000000000001-17",
                    )
            });
        }
        if let Some(job) = job {
            let name = &job.instance.name;
            let found = repositories::cluster(repository, name, None).await;
            return found.map_err(|error| error.report())?.ok_or_else(|| {
                Report::new(
                    Kind::Target,
                    format!(
                        "repository {} has no backup of \"{name}\"",
                        repository.place()
                    ),
                )
                .with_hint(format!("pawang backup create -i {name}"))
            });
        }
        let clusters = repository
            .clusters()
            .await
            .map_err(|error| error.report())?;
        match clusters[..] {
            [only] => Ok(only),
            [] => Err(Report::new(
                Kind::Target,
                format!("repository {} has no cluster", repository.place()),
            )
            .with_hint("pawang backup create")),
            _ => {
                let names: Vec<String> = clusters.iter().map(ToString::to_string).collect();
                Err(Report::new(
                    Kind::Usage,
                    format!("repository {} has several clusters", repository.place()),
                )
                .with_detail(names.join(", "))
                .with_hint(format!("--cluster {}", names[0])))
            }
        }
    }
}

/// Opens a place that is written as a URL; how a bucket is reached may be in the configuration.
async fn of_place(estate: &Estate, place: &str) -> Result<(Repository, Way), Report> {
    let (entry, repository) = repositories::named(&estate.config, place).await?;
    let way = match entry {
        Some(entry) => Way::of(entry, estate)?,
        None => Way::plain(place.to_owned()),
    };
    Ok((repository, way))
}

async fn of_instance(
    estate: &Estate,
    job: &Job,
    named: Option<&str>,
) -> Result<(Repository, Way), Report> {
    let all = repositories::of_instance(&estate.config, job).await?;
    let mut chosen = all
        .into_iter()
        .filter(|opened| named.is_none_or(|name| opened.config.name == name));
    let opened = chosen.next().ok_or_else(|| {
        Report::new(
            Kind::Usage,
            format!(
                "\"{}\" has no repository \"{}\"",
                job.instance.name,
                named.unwrap_or_default()
            ),
        )
        .with_hint("a folder is written with a slash, as ./backup")
    })?;
    let way = Way::of(opened.config, estate)?;
    Ok((opened.repository?, way))
}

/// Reads the configuration.
///
/// # Errors
/// It has mistakes.
pub(crate) fn estate(global: &Global) -> Result<Estate, Report> {
    Estate::load(global.config.as_deref()).map_err(told)
}
