//! Restores and drills as commands and the daemon do them: from where, by which program, and what is asked.

use std::path::{self, Path, PathBuf};
use std::time::Duration;

use pawang_backup::drill::binaries::{self, Programs};
use pawang_backup::drill::{self, DrillSettings, Drilled, Probe, ScratchSettings};
use pawang_backup::other::shell;
use pawang_backup::reach::{self, Access, Groups, Need};
use pawang_backup::restore::{self, Owner, RestorePlan, Source, Target};
use pawang_backup::{ClusterId, Repository};
use pawang_config::{
    BackupSettings, ProbeConfig, RepositoryConfig, RepositoryPlace, ScratchConfig,
};
use pawang_core::{Kind, Report, Timestamp};

use crate::estate::{Estate, Job};
use crate::repositories::Opened;
use crate::{environment, repositories};

/// Where scratch servers are when nothing else is said: it outlives a restart, and is on a disk.
const SCRATCH: &str = "/var/tmp";
/// The superuser of most clusters.
const ROLE: &str = "postgres";
/// How long recovery may take when nothing else is said, in minutes.
pub(crate) const LIMIT_MINUTES: u64 = 24 * 60;
const SHARED_BUFFERS_MB: u32 = 128;

/// A repository with the cluster that is meant.
pub(crate) struct From {
    /// What people call the cluster: the instance, or its identity.
    pub(crate) name: String,
    /// The repository.
    pub(crate) repository: Repository,
    /// How a restored server finds it.
    pub(crate) way: Way,
    /// The cluster.
    pub(crate) cluster: ClusterId,
}

/// How a server that was restored on this machine finds the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// The name in the configuration, or the place.
    word: String,
    /// The configuration that says how the place is reached.
    config: Option<PathBuf>,
    /// What its user has to be able to read for that.
    needs: Vec<Need>,
}

impl Way {
    /// Returns the way to a bucket that needs nothing but its name.
    pub(crate) fn plain(place: String) -> Way {
        Way {
            word: place,
            config: None,
            needs: Vec::new(),
        }
    }

    /// Returns the way to a folder.
    pub(crate) fn folder(folder: PathBuf) -> Way {
        Way {
            word: folder.display().to_string(),
            config: None,
            needs: vec![need("the repository", folder, Access::Enter)],
        }
    }

    /// Returns the way to a repository of the configuration: a folder by its path, a bucket by the file with its keys.
    ///
    /// # Errors
    /// The folder, or the file, is not there.
    pub(crate) fn of(entry: &RepositoryConfig, estate: &Estate) -> Result<Way, Report> {
        if let Some(RepositoryPlace::Directory(folder)) = entry.location() {
            return Ok(Way::folder(absolute(folder)?));
        }
        let config = estate.file.as_deref().map(whole).transpose()?;
        let mut needs = Vec::new();
        for (what, file) in [
            ("the configuration", &config),
            ("the secret key", &entry.secret_key_file),
            ("the certificates", &entry.ca_file),
        ] {
            if let Some(file) = file {
                needs.push(need(what, whole(file)?, Access::Read));
            }
        }
        Ok(Way {
            word: entry.name.clone(),
            config,
            needs,
        })
    }

    /// Returns the options of `pawang wal get`.
    fn options(&self) -> String {
        let config = self.config.as_deref().map(|file| {
            let file = shell(&file.display().to_string());
            format!("--config {file} ")
        });
        let config = config.unwrap_or_default();
        format!("{config}--repository {}", shell(&self.word))
    }
}

/// How a drill is done, besides from where and to where.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// The folder in which the scratch server is made and removed.
    pub(crate) scratch: PathBuf,
    /// The folder of the server's programs that was said for this work.
    pub(crate) bindir: Option<PathBuf>,
    /// The folder that the configuration names, for all instances that do not say otherwise.
    pub(crate) programs: Option<PathBuf>,
    /// A superuser of the restored cluster.
    pub(crate) role: String,
    /// Libraries without which data cannot be read.
    pub(crate) preload: String,
    /// Whether tables and indexes are looked through.
    pub(crate) amcheck: bool,
    /// How long recovery may take.
    pub(crate) limit: Duration,
    /// What is asked.
    pub(crate) probes: Vec<Probe>,
}

impl Order {
    /// Returns a drill as the configuration says.
    pub(crate) fn of(scratch: &ScratchConfig, probes: &[ProbeConfig]) -> Order {
        let folder = scratch.folder.clone();
        let role = scratch.role.clone();
        let probes = probes.iter().cloned().map(|probe| Probe {
            database: probe.database,
            sql: probe.sql,
            expect: probe.expect,
        });
        Order {
            scratch: folder.unwrap_or_else(|| SCRATCH.into()),
            bindir: None,
            programs: scratch.programs.clone(),
            role: role.unwrap_or_else(|| ROLE.to_owned()),
            preload: scratch.preload.clone().unwrap_or_default(),
            amcheck: true,
            limit: Duration::from_secs(LIMIT_MINUTES * 60),
            probes: probes.collect(),
        }
    }
}

impl From {
    /// Returns the command by which a restored server gets WAL from here.
    ///
    /// # Errors
    /// This program does not know where it is itself.
    pub(crate) fn restore_command(&self) -> Result<String, Report> {
        let program = program()?;
        let mut command = format!(
            "{} wal get %f %p {}",
            shell(&program.display().to_string()),
            self.way.options()
        );
        if let Some(file) = self.repository.identity_file() {
            let file = absolute(file)?.display().to_string();
            command = format!("{command} --identity-file {}", shell(&file));
        }
        Ok(command)
    }

    /// Refuses when the user who is to run the restored server cannot read what its command to get WAL needs; whoever is not
    /// root runs it as himself.
    ///
    /// # Errors
    /// Something is out of reach.
    pub(crate) async fn check_reach(
        &self,
        owner: Option<Owner>,
        groups: Groups,
    ) -> Result<(), Report> {
        check_reach(&self.way, &self.repository, owner, groups).await
    }

    /// Returns a target anywhere in what can be restored.
    ///
    /// # Errors
    /// Nothing can be restored, or the machine has no random bytes.
    pub(crate) async fn random_target(&self, source: &Source) -> Result<Target, Report> {
        let random = u64::from_str_radix(&random_word()?, 16).unwrap_or(0);
        let target = source.random_target(&self.repository, random).await;
        target.map_err(|error| error.report())
    }

    /// Does one drill.
    ///
    /// # Errors
    /// It could not be done for a reason that says nothing about the backup.
    pub(crate) async fn drill(
        &self,
        source: &Source,
        plan: &RestorePlan,
        order: Order,
        now: Timestamp,
    ) -> Result<Drilled, Report> {
        let report = |error: pawang_backup::Error| error.report();
        let last = source.last_commit(&self.repository).await.map_err(report)?;
        let scratch = order.scratch_of(plan.cluster.major).await?;
        // What this machine lacks says nothing against the backup.
        self.check_reach(scratch.owner, Groups::Own).await?;
        let settings = DrillSettings {
            amcheck: order.amcheck_of(&scratch)?,
            scratch,
            restore_command: self.restore_command()?,
            workers: restore::WORKERS,
            limit: order.limit,
            probes: order.probes,
            last_commit_at: last.map(|commit| commit.at),
            word: random_word()?,
            tool: format!("pawang {}", env!("CARGO_PKG_VERSION")),
        };
        drill::run(&self.repository, plan, &settings, now)
            .await
            .map_err(report)
    }
}

async fn check_reach(
    way: &Way,
    repository: &Repository,
    owner: Option<Owner>,
    groups: Groups,
) -> Result<(), Report> {
    let Some(owner) = owner else {
        return Ok(());
    };
    let mut needs = vec![need("the program", program()?, Access::Start)];
    needs.extend(way.needs.iter().cloned());
    if let Some(file) = repository.identity_file() {
        let file = absolute(file)?;
        needs.push(need("the identity file", file, Access::ReadSecret));
    }
    let checked = reach::check(owner, groups, &needs).await;
    checked.map_err(|error| error.report())
}

/// Refuses when the server of a drill could not get its WAL from a repository.
///
/// # Errors
/// Something that it needs is out of reach of its user.
pub(crate) async fn check_drill(
    estate: &Estate,
    opened: &Opened<'_>,
    settings: &BackupSettings,
) -> Result<(), Report> {
    let order = Order::of(&settings.scratch, &settings.probes);
    let owner = Owner::of(&whole(&order.scratch)?);
    let way = Way::of(opened.config, estate)?;
    let repository = opened.repository.as_ref().map_err(Report::clone)?;
    check_reach(&way, repository, owner, Groups::Own).await
}

/// Proves a backup of an instance in one repository by a restore to a random point; `None` when nothing is there.
///
/// # Errors
/// It could not be done for a reason that says nothing about the backup.
pub(crate) async fn prove(
    estate: &Estate,
    job: &Job,
    entry: &RepositoryConfig,
    begun: &mut (dyn FnMut(String) + Send),
    now: Timestamp,
) -> Result<Option<Drilled>, Report> {
    let report = |error: pawang_backup::Error| error.report();
    let instance = &job.instance.name;
    let way = Way::of(entry, estate)?;
    let repository = repositories::open(entry).await?;
    let cluster = repositories::cluster(&repository, instance, None).await;
    let Some(cluster) = cluster.map_err(report)? else {
        return Ok(None);
    };
    let from = From {
        name: instance.clone(),
        repository,
        way,
        cluster,
    };
    let source = Source::read(&from.repository, &cluster)
        .await
        .map_err(report)?;
    let wanted = restore::Wanted {
        target: from.random_target(&source).await?,
        inclusive: true,
        timeline: None,
        backup: None,
    };
    let plan = source
        .plan(&from.repository, &wanted)
        .await
        .map_err(report)?;
    let (backup, name, target) = (plan.backup(), &entry.name, &plan.target);
    begun(format!("{backup} in \"{name}\" to {target}"));
    let settings = estate.config.backup_settings(&job.config);
    let order = Order::of(&settings.scratch, &settings.probes);
    if let Some(instead) = order.programs_of(cluster.major).await?.instead {
        begun(format!("{backup} in \"{name}\" to {target}; {instead}"));
    }
    from.drill(&source, &plan, order, now).await.map(Some)
}

impl Order {
    /// Returns the programs of a server of a major version.
    ///
    /// # Errors
    /// They are not on this machine, or not where it was said.
    pub(crate) async fn programs_of(&self, major: u32) -> Result<Programs, Report> {
        binaries::server(major, self.bindir.as_deref(), self.programs.as_deref()).await
    }

    /// Returns a scratch server for a cluster of a major version, with a folder that nobody else has.
    ///
    /// # Errors
    /// No such server is on this machine.
    pub(crate) async fn scratch_of(&self, major: u32) -> Result<ScratchSettings, Report> {
        let name = format!("pawang-drill-{}", random_word()?);
        let parent = whole(&self.scratch)?;
        Ok(ScratchSettings {
            programs: self.programs_of(major).await?.folder,
            owner: Owner::of(&parent),
            folder: parent.join(name),
            role: self.role.clone(),
            shared_buffers_mb: SHARED_BUFFERS_MB,
            preload: self.preload.clone(),
            environment: Vec::new(),
            settings: Vec::new(),
        })
    }

    /// Returns the program that looks through tables and indexes, when that is wanted.
    ///
    /// # Errors
    /// It is not on this machine.
    pub(crate) fn amcheck_of(&self, scratch: &ScratchSettings) -> Result<Option<PathBuf>, Report> {
        if !self.amcheck {
            return Ok(None);
        }
        let found = binaries::amcheck(&scratch.programs);
        found.map(Some).ok_or_else(|| {
            Report::new(Kind::Target, "pg_amcheck is not on this machine")
                .with_detail(
                    "without it nobody looks through tables and indexes, and nothing is proven",
                )
                .with_hint("install the package of the server, or add --no-amcheck")
        })
    }
}

fn need(what: &'static str, path: PathBuf, access: Access) -> Need {
    Need { what, path, access }
}

/// Returns the path of this program, which a restored server calls to get WAL.
///
/// # Errors
/// It does not know where it is itself.
pub(crate) fn program() -> Result<PathBuf, Report> {
    environment::program().ok_or_else(|| {
        Report::new(
            Kind::Target,
            "could not find out where this program is, which a restored server calls to get WAL",
        )
    })
}

/// Returns a path that holds wherever the program is called.
///
/// # Errors
/// It cannot be said.
pub(crate) fn whole(path: &Path) -> Result<PathBuf, Report> {
    path::absolute(path).map_err(|error| {
        let what = format!("cannot read \"{}\" as a path", path.display());
        Report::new(Kind::Usage, what).with_detail(error.to_string())
    })
}

/// Returns the whole path of a folder or file that is there.
///
/// # Errors
/// It is not.
pub(crate) fn absolute(folder: &Path) -> Result<PathBuf, Report> {
    std::fs::canonicalize(folder).map_err(|error| {
        let what = format!("could not open \"{}\"", folder.display());
        Report::new(Kind::Target, what).with_detail(error.to_string())
    })
}

/// Returns a word that nobody else has: 16 hexadecimal digits.
///
/// # Errors
/// The machine has no random bytes.
pub(crate) fn random_word() -> Result<String, Report> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| {
        Report::new(Kind::Target, "could not get random bytes").with_detail(error.to_string())
    })?;
    Ok(format!("{:016x}", u64::from_le_bytes(bytes)))
}
