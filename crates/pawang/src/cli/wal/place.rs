//! Which cluster and which repositories a command of `pawang wal` is about.

use std::path::{Path, PathBuf};

use pawang_backup::{ClusterId, Repository};
use pawang_config::{InstanceConfig, matches};
use pawang_core::{Kind, Report};
use pawang_postgres::control_file;

use crate::cli::Global;
use crate::estate::{Estate, told};
use crate::repositories;

/// Where WAL is kept, and whose it is
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// Name of a repository of pawang.toml, a folder, or s3://bucket/prefix (repeatable); else those of the instance
    #[arg(long = "repository", value_name = "NAME|PLACE", visible_alias = "repo")]
    repositories: Vec<String>,
    /// Data directory of the server, instead of the folder that the command runs in
    ///
    /// PostgreSQL runs archive_command and restore_command in its data directory.
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    data_directory: Option<PathBuf>,
}

impl Place {
    /// Opens the repositories; all of them, or none.
    pub(super) async fn open(&self, global: &Global) -> Result<Vec<Repository>, Report> {
        let mut opened = Vec::new();
        // A server calls this for every segment: a folder needs no configuration, and no mistake in one stops it.
        let folders = self.repositories.iter().all(|place| place.starts_with('/'));
        let without = folders && global.config.is_none() && !self.repositories.is_empty();
        let estate = match without {
            true => Estate::default(),
            false => Estate::load(global.config.as_deref()).map_err(told)?,
        };
        for word in &self.repositories {
            opened.push(repositories::named(&estate.config, word).await?.1);
        }
        if opened.is_empty() {
            for name in self.named(&estate, global)? {
                if let Some(config) = estate.config.repository(&name) {
                    opened.push(repositories::open(config).await?);
                }
            }
        }
        if opened.is_empty() {
            let report = Report::new(Kind::Usage, "no repository is named");
            return Err(report.with_hint("pawang backup setup --repo /srv/backup"));
        }
        Ok(opened)
    }

    /// Returns the repositories of the instance that is named, else of the one whose data directory this is, else those that
    /// all instances share.
    fn named(&self, estate: &Estate, global: &Global) -> Result<Vec<String>, Report> {
        estate.named(&global.instances)?;
        let mut of: Vec<&InstanceConfig> = self.of(estate, global);
        // What is left alone says nothing of where the others have theirs.
        let kept =
            |it: &&InstanceConfig| !estate.config.backup_settings(it).repositories.is_empty();
        if global.instances.is_empty() && of.iter().any(kept) {
            of.retain(kept);
        }
        let sets = of
            .iter()
            .map(|it| estate.config.backup_settings(it).repositories);
        let mut sets: Vec<Vec<String>> = sets.collect();
        sets.dedup();
        if sets.len() > 1 {
            let report = Report::new(Kind::Usage, "instances have different repositories");
            return Err(report
                .with_detail("nothing says which instance this is")
                .with_hint(format!("add -i {}", of[0].name)));
        }
        // Without instances the repositories of the file are for whoever asks.
        let every = || {
            estate
                .config
                .repositories
                .iter()
                .map(|it| it.name.clone())
                .collect()
        };
        Ok(sets.pop().unwrap_or_else(every))
    }

    /// Returns the instances that are meant: those that are named, else the one whose data directory this is, else all.
    fn of<'a>(&self, estate: &'a Estate, global: &Global) -> Vec<&'a InstanceConfig> {
        let here = self.data_directory.as_deref().unwrap_or(Path::new("."));
        let here = here.canonicalize().ok();
        let all = &estate.config.instances;
        let mut of: Vec<&InstanceConfig> = all
            .iter()
            .filter(|instance| match &global.instances[..] {
                [] => true,
                names => names.iter().any(|name| matches(name, &instance.name)),
            })
            .collect();
        let is_here = |instance: &&InstanceConfig| {
            let folder = instance.data_directory.as_ref();
            here.is_some() && folder.and_then(|folder| folder.canonicalize().ok()) == here
        };
        if of.iter().any(is_here) {
            of.retain(is_here);
        }
        of
    }

    /// Returns the name of the only instance that is meant; none when there are several, or no configuration.
    fn instance(&self, global: &Global) -> Result<Option<String>, Report> {
        // A folder that is named is looked into without a configuration.
        if !self.repositories.is_empty() && global.instances.is_empty() {
            return Ok(None);
        }
        let estate = Estate::load(global.config.as_deref()).map_err(told)?;
        Ok(match self.of(&estate, global)[..] {
            [only] => Some(only.name.clone()),
            _ => None,
        })
    }

    /// Reads who the server is that runs the command.
    pub(super) fn server(&self) -> Result<Server, Report> {
        server_of(self.data_directory.as_deref())
    }

    /// Returns the cluster that is asked for: by name, else that of the instance, else the only one of the repository.
    pub(super) async fn cluster(
        &self,
        repository: &Repository,
        named: Option<&str>,
        global: &Global,
    ) -> Result<ClusterId, Report> {
        if let Some(name) = named {
            let wrong = |_| {
                Report::new(Kind::Usage, format!("cannot read \"{name}\" as a cluster"))
                    .with_detail(
                        "expected its system identifier and major version: 7300000000000000001-17",
                    )
            };
            return name.parse().map_err(wrong);
        }
        if self.data_directory.is_some() {
            return Ok(self.server()?.cluster);
        }
        let report = |error: pawang_backup::Error| error.report();
        let instance = self.instance(global)?;
        if let Some(name) = &instance {
            let of_instance = repositories::cluster(repository, name, None).await;
            if let Some(cluster) = of_instance.map_err(report)? {
                return Ok(cluster);
            }
        }
        let clusters = repository.clusters().await.map_err(report)?;
        match clusters[..] {
            [only] => {
                let Some(name) = instance.filter(|_| !global.instances.is_empty()) else {
                    return Ok(only);
                };
                let (commits, _) = repository.readable_backups(&only).await.map_err(report)?;
                // WAL may be received before the first backup; but where there are some, they are under other names.
                if commits.is_empty() {
                    return Ok(only);
                }
                let what = format!(
                    "repository {} has nothing of \"{name}\"",
                    repository.place()
                );
                Err(Report::new(Kind::Target, what)
                    .with_detail(format!("its only cluster is {only}"))
                    .with_hint(format!("pawang backup create -i {name}")))
            }
            [] => Err(Report::new(
                Kind::Target,
                format!("repository {} has no cluster", repository.place()),
            )),
            _ => {
                let names: Vec<String> = clusters.iter().map(ToString::to_string).collect();
                let found = format!("repository {} has several clusters", repository.place());
                let none = instance.map(|name| format!("none has a backup of \"{name}\": "));
                let (none, names) = (none.unwrap_or_default(), names.join(", "));
                // Nobody can say which of them is meant.
                Err(Report::new(Kind::Usage, found)
                    .with_detail(format!("{none}{names}"))
                    .with_hint("add -i INSTANCE, or --cluster CLUSTER"))
            }
        }
    }
}

/// The server that runs the command.
pub(super) struct Server {
    pub(super) cluster: ClusterId,
    pub(super) segment_bytes: u32,
    /// Whether it replays for ever.
    pub(super) standby: bool,
}

/// Reads who the server is whose data directory this is, or is named.
pub(super) fn server_of(data_directory: Option<&Path>) -> Result<Server, Report> {
    let folder = data_directory.unwrap_or(Path::new("."));
    let control = control_file::read(folder).map_err(|error| {
        error
            .report()
            .with_hint("run it in the data directory, or name that: --data-directory DIR")
    })?;
    Ok(Server {
        cluster: ClusterId {
            system_identifier: control.system_identifier,
            major: control.major,
        },
        segment_bytes: control.wal_segment_bytes,
        standby: folder.join("standby.signal").exists(),
    })
}

/// Runs a future on this thread; files are compressed and checked on others.
pub(super) fn wait<T>(work: impl Future<Output = T>) -> Result<T, Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| {
        Report::new(Kind::Target, "could not start a runtime").with_detail(error.to_string())
    })?;
    Ok(runtime.block_on(work))
}
