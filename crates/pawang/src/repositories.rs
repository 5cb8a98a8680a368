//! From `[[repository]]` to opened repositories and to what is in them, for commands and for the daemon.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::sync::Arc;

use jiff::SignedDuration;
use pawang_backup::repository::{Keys, Mode, Rate, RepositorySettings};
use pawang_backup::retention::{Fate, Outcome, Policy};
use pawang_backup::rolling::{self, Share};
use pawang_backup::survey::{Memory, blind, survey};
use pawang_backup::take::{self, LANES, Progress, TakeRequest, Wanted};
use pawang_backup::{ClusterId, Error, Repository};
use pawang_config::{BackupRetention, BackupSettings, Config, Period, RepositoryConfig};
use pawang_core::backup::{BackupFacts, BackupPromise, RepositoryFacts, Survey};
use pawang_core::{ByteSize, Facts, Kind, Report, Secret, Server, Timestamp};

use crate::estate::{Estate, Job};
use crate::{output, taking};

/// A repository of the configuration, opened or not.
pub(crate) struct Opened<'a> {
    /// Its entry.
    pub config: &'a RepositoryConfig,
    /// It, or why it could not be opened.
    pub repository: Result<Repository, Report>,
}

/// Opens a repository of the configuration.
///
/// # Errors
/// The secret cannot be read, or the place cannot be reached or is no repository.
pub(crate) async fn open(config: &RepositoryConfig) -> Result<Repository, Report> {
    let settings = settings(config)?;
    let opened = Repository::open(&config.place, &settings).await;
    opened.map_err(|error| error.report())
}

/// Opens a repository as people name it: by its name in the configuration, or by its place, which may have an entry there.
///
/// # Errors
/// The secret cannot be read, or the place cannot be reached or is no repository.
pub(crate) async fn named<'a>(
    config: &'a Config,
    word: &str,
) -> Result<(Option<&'a RepositoryConfig>, Repository), Report> {
    let at = |place: &str| place.trim_end_matches('/') == word.trim_end_matches('/');
    let mut entries = config.repositories.iter();
    let entry = config.repository(word);
    if let Some(entry) = entry.or_else(|| entries.find(|entry| at(&entry.place))) {
        return Ok((Some(entry), open(entry).await?));
    }
    let opened = Repository::open(word, &RepositorySettings::default()).await;
    Ok((None, opened.map_err(|error| error.report())?))
}

/// Returns how the place of a repository is reached.
///
/// # Errors
/// The file of the secret key cannot be read, or a recipient is none.
pub(crate) fn settings(config: &RepositoryConfig) -> Result<RepositorySettings, Report> {
    let secret_key = config.secret_key_file.as_deref().map(secret).transpose()?;
    Ok(RepositorySettings {
        endpoint: config.endpoint.clone(),
        region: config.region.clone(),
        path_style: config.path_style,
        access_key: config.access_key.clone(),
        secret_key,
        allow_http: config.allow_http,
        certificates: config.ca_file.clone(),
        keys: Keys::load(&config.recipients, config.identity_file.as_deref())?,
        ..RepositorySettings::default()
    })
}

fn secret(path: &Path) -> Result<Secret<String>, Report> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let what = format!("could not read the secret key in \"{}\"", path.display());
        Report::new(Kind::Usage, what).with_detail(error.to_string())
    })?;
    let line = text.lines().next().unwrap_or_default();
    Ok(Secret::new(line.trim().to_owned()))
}

/// Returns the instances that a command about backups is for: those that are named, else all but those that the configuration
/// leaves alone (`repositories = []`).
///
/// # Errors
/// No instance has such a name, or how it is reached cannot be read.
pub(crate) fn jobs(estate: &Estate, names: &[String]) -> Result<Vec<Job>, Report> {
    let mut jobs = estate.jobs(names, None)?;
    if names.is_empty() {
        let alone: Vec<bool> = jobs.iter().map(|job| left_alone(estate, job)).collect();
        // Where nothing is left, each says for itself that no repository holds its backups.
        if alone.contains(&false) {
            let mut alone = alone.into_iter();
            jobs.retain(|_| alone.next() == Some(false));
        }
    }
    Ok(jobs)
}

/// Says whether there are repositories, and none of them is for this instance.
pub(crate) fn left_alone(estate: &Estate, job: &Job) -> bool {
    let config = &estate.config;
    let none = config.backup_settings(&job.config).repositories.is_empty();
    none && !config.repositories.is_empty()
}

/// Opens the repositories that hold backups of an instance.
///
/// # Errors
/// None holds any.
pub(crate) async fn of_instance<'a>(
    config: &'a Config,
    job: &Job,
) -> Result<Vec<Opened<'a>>, Report> {
    let wanted = config.backup_settings(&job.config).repositories;
    if wanted.is_empty() {
        let name = &job.instance.name;
        let report = Report::new(
            Kind::Usage,
            format!("no repository holds backups of \"{name}\""),
        );
        return Err(report.with_hint(format!("pawang backup setup -i {name} --repo /srv/backup")));
    }
    Ok(open_all(config, &wanted).await)
}

/// Opens the repositories of these names.
pub(crate) async fn open_all<'a>(config: &'a Config, names: &[String]) -> Vec<Opened<'a>> {
    let mut opened = Vec::with_capacity(names.len());
    for config in names.iter().filter_map(|name| config.repository(name)) {
        let repository = open(config).await;
        opened.push(Opened { config, repository });
    }
    opened
}

/// Returns what a server says of its cluster, when its role may see it.
pub(crate) fn cluster_of(server: &Server) -> Option<ClusterId> {
    let system_identifier = server.epoch.system_identifier;
    (system_identifier != 0).then_some(ClusterId {
        system_identifier,
        major: server.version / 10_000,
    })
}

/// Returns the cluster of an instance: the one that its server names, else the one that was backed up last under its name.
///
/// The second way needs no server: it is gone when its backups are needed most.
///
/// # Errors
/// The store could not say.
pub(crate) async fn cluster(
    repository: &Repository,
    instance: &str,
    server: Option<ClusterId>,
) -> Result<Option<ClusterId>, Error> {
    if server.is_some() {
        return Ok(server);
    }
    let mut found: Option<(Timestamp, ClusterId)> = None;
    for cluster in repository.clusters().await? {
        let (commits, _) = repository.readable_backups(&cluster).await?;
        let newest = commits.iter().filter(|it| it.server.instance == instance);
        if let Some(ended_at) = newest.map(|commit| commit.ended_at).max() {
            found = found.max(Some((ended_at, cluster)));
        }
    }
    Ok(found.map(|(_, cluster)| cluster))
}

/// Returns the retention as the engine takes it.
pub(crate) fn policy(retention: &BackupRetention) -> Policy {
    let signed = |period: Period| SignedDuration::try_from(period.0).unwrap_or(SignedDuration::MAX);
    Policy {
        keep_fulls: retention.fulls,
        keep_age: retention.age.map(signed),
        window: retention.window.map(signed),
        daily: retention.daily.unwrap_or(0),
        weekly: retention.weekly.unwrap_or(0),
        monthly: retention.monthly.unwrap_or(0),
        yearly: retention.yearly.unwrap_or(0),
        grace: retention.grace.map_or(SignedDuration::ZERO, signed),
    }
}

/// Returns what was promised for an instance.
pub(crate) fn promise(settings: &BackupSettings) -> BackupPromise {
    BackupPromise {
        rpo: settings.rpo,
        rto: settings.rto,
        drill_every: settings.drill_every,
        verify_every: settings.verify_every,
        slot: settings.stream.then(|| settings.slot.clone()),
    }
}

/// Looks into one repository for one instance; what cannot be seen stays unseen.
pub(crate) async fn look(
    opened: &Opened<'_>,
    instance: &str,
    server: Option<ClusterId>,
    policy: &Policy,
    memory: &mut Memory,
    now: Timestamp,
) -> RepositoryFacts {
    let seen = async {
        let repository = opened.repository.as_ref();
        let repository =
            repository.map_err(|report| blind(&Error::Refused(Box::new(report.clone()))))?;
        let cluster = cluster(repository, instance, server).await;
        let survey = match cluster.map_err(|error| blind(&error))? {
            None => Survey::default(),
            Some(cluster) => survey(repository, &cluster, policy, memory, now)
                .await
                .map_err(|error| blind(&error))?,
        };
        let space = opened.config.space.map(|space| space.0.0);
        // Only a limit for all clusters is worth a look at all of them.
        let all_bytes = match space {
            Some(_) => Some(repository.bytes().await.map_err(|error| blind(&error))?),
            None => None,
        };
        Ok(Survey {
            all_bytes,
            space_bytes: space,
            ..survey
        })
    };
    RepositoryFacts {
        name: opened.config.name.clone(),
        place: opened.config.place.clone(),
        at: now,
        survey: seen.await,
        troubles: Vec::new(),
    }
}

/// Looks into all repositories of an instance once.
///
/// # Errors
/// No repository holds backups of it.
pub(crate) async fn look_once(
    config: &Config,
    job: &Job,
    server: Option<&Server>,
    now: Timestamp,
) -> Result<BackupFacts, Report> {
    let settings = config.backup_settings(&job.config);
    let policy = policy(&settings.retention);
    let cluster = server.and_then(cluster_of);
    let mut repositories = Vec::new();
    for opened in of_instance(config, job).await? {
        let mut memory = Memory::default();
        let name = &job.instance.name;
        repositories.push(look(&opened, name, cluster, &policy, &mut memory, now).await);
    }
    Ok(BackupFacts {
        repositories,
        others: Vec::new(),
        promise: promise(&settings),
    })
}

/// Returns where the server writes its WAL, when that was seen just now.
pub(crate) fn position(facts: &Facts) -> Option<u64> {
    let wal = facts.snapshot("wal", None).ok()?;
    let position = wal.first()?.int("current_lsn")?;
    u64::try_from(position).ok()
}

/// Returns what a backup is taken with, from the configuration.
///
/// # Errors
/// The operating system gives no random numbers.
pub(crate) fn take_request(
    config: &RepositoryConfig,
    repository: &Repository,
    job: &Job,
    settings: &BackupSettings,
    wanted: Wanted,
) -> Result<TakeRequest, Report> {
    let store_rate = config.bandwidth.and_then(|rate| NonZeroU64::new(rate.0.0));
    Ok(TakeRequest {
        wanted,
        checkpoint_fast: false,
        rate_max: settings.max_rate.map(ByteSize),
        lanes: lanes(settings.lanes),
        store_rate: store_rate.map(|rate| Arc::new(Rate::new(rate))),
        space: config.space.map(|space| space.0),
        ..taking::request(job, repository)?
    })
}

/// Returns what has to be read again now of what a repository holds of a cluster.
///
/// # Errors
/// The store could not say, or an object of the catalogue cannot be read.
pub(crate) async fn share(
    repository: &Repository,
    cluster: &ClusterId,
    settings: &BackupSettings,
    now: Timestamp,
) -> Result<Vec<Share>, Report> {
    let report = |error: Error| error.report();
    // A commit that rots hides its own backup only, and is told by the survey.
    let (commits, _) = repository.readable_backups(cluster).await.map_err(report)?;
    let (mut reads, mut turn_at) = (Vec::new(), None);
    for commit in &commits {
        let proofs = repository.proofs(cluster, &commit.backup).await;
        let proofs = proofs.map_err(report)?;
        turn_at = turn_at.max(rolling::turn_at(proofs.iter()));
        reads.extend(rolling::reads(commit, proofs.iter()));
    }
    let every = SignedDuration::try_from(settings.verify_every).unwrap_or(SignedDuration::MAX);
    Ok(rolling::plan(reads, turn_at, every, now))
}

/// Returns how fast it may be read again: no faster than anything may be read from there.
pub(crate) fn verify_rate(config: &RepositoryConfig, settings: &BackupSettings) -> Rate {
    let most = config.bandwidth.map_or(u64::MAX, |rate| rate.0.0);
    Rate::new(NonZeroU64::new(settings.verify_rate.min(most)).unwrap_or(NonZeroU64::MIN))
}

/// Returns how many connections read files over SQL.
pub(crate) fn lanes(wanted: Option<u32>) -> NonZeroUsize {
    let wanted = wanted.and_then(|count| usize::try_from(count).ok());
    wanted.and_then(NonZeroUsize::new).unwrap_or(LANES)
}

/// Says what a backup that is taken does now, in a few words.
pub(crate) fn progress_words(progress: &Progress) -> String {
    match progress {
        Progress::Reads(Mode::Local | Mode::Lanes, files) => format!("reads {files}"),
        Progress::Reads(Mode::Protocol, why) => format!("reads by the replication protocol: {why}"),
        Progress::Checkpoint => "the server makes a checkpoint".to_owned(),
        Progress::Started {
            estimate: Some(size),
            ..
        } => format!("begun, about {size}"),
        Progress::Started { estimate: None, .. } => "begun".to_owned(),
        Progress::Came(size) => format!("{size} came"),
        Progress::Wal {
            stop,
            fetching: true,
        } => format!("fetches WAL up to {stop}"),
        Progress::Wal {
            stop,
            fetching: false,
        } => format!("waits for WAL up to {stop}"),
        Progress::Note(note) => note.clone(),
    }
}

/// Says why no backup is begun, when the repository holds as much as it may.
pub(crate) fn full(facts: &RepositoryFacts) -> Option<Report> {
    let survey = facts.survey.as_ref().ok()?;
    let space = survey.space_bytes?;
    let used = survey.all_bytes.unwrap_or(survey.used_bytes);
    take::full(&facts.name, ByteSize(used), ByteSize(space))
}

/// Returns in words what was done, or would be.
pub(crate) fn expired_words(outcome: &Outcome) -> String {
    let decisions = outcome.plan.decisions.iter();
    let marked = decisions.filter(|decision| decision.fate == Fate::Tomb);
    let (expired, verb) = match &outcome.would_delete {
        Some(would) => (would, "would be "),
        None => (&outcome.deleted, ""),
    };
    format!(
        "{} {verb}marked until the grace is over, {} and {} of WAL {verb}deleted, {} {verb}freed",
        output::counted(marked.count() as u64, "backup"),
        output::counted(expired.backups.len() as u64, "backup"),
        output::counted(expired.wal_objects, "object"),
        ByteSize(expired.bytes)
    )
}
