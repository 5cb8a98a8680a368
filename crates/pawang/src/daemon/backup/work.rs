//! What is done inside windows, one thing at a time on an instance: backups that are due, then drills, then
//! expiring what is no longer kept.

use std::sync::Arc;
use std::time::Duration;

use pawang_backup::retention;
use pawang_backup::take::{self, Progress, Wanted};
use pawang_config::BackupSettings;
use pawang_core::Kind::{Answer, Target};
use pawang_core::backup::BackupTrouble;
use pawang_core::{ByteSize, Report, Timestamp};
use tokio::sync::watch;

use super::super::setup::Setup;
use super::due::{Due, drill_due, due};
use super::stream::again;
use super::{Keeper, open};
use crate::{recovering, repositories};

/// What went wrong is tried again after so long, while the window is open.
const AGAIN_AFTER: Duration = Duration::from_secs(900);

/// A kind of work on backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// WAL is received.
    Wal,
    /// A backup is taken.
    Backup,
    /// A backup is proven by a restore.
    Drill,
    /// What is no longer kept is marked and deleted.
    Expire,
}

impl Kind {
    /// Returns its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Wal => "wal",
            Kind::Backup => "backup",
            Kind::Drill => "drill",
            Kind::Expire => "expire",
        }
    }
}

/// What came of work.
pub(super) struct Done {
    instance: String,
    kind: Kind,
    at: Timestamp,
    result: Result<String, Report>,
}

impl Keeper {
    /// Begins what is due on an instance while its window is open.
    pub(super) fn begin(
        &mut self,
        setup: &Arc<Setup>,
        name: &str,
        settings: &BackupSettings,
        now: Timestamp,
    ) {
        let Some(window) = open(settings, now) else {
            return;
        };
        let Some(known) = self.known.get_mut(name) else {
            return;
        };
        let early = |kind: Kind| !again(known.again_at.get(&kind).copied(), now, AGAIN_AFTER);
        let (None, Some(facts)) = (&known.running, &known.facts) else {
            return;
        };
        // What was seen before the last backup ended says that it is still due.
        let seen = !known.looking && known.looked_at.is_some();
        let due = due(facts, settings, now).filter(|_| seen && !early(Kind::Backup));
        let drill = drill_due(facts, settings, now).filter(|_| seen && !early(Kind::Drill));
        let drill = drill.map(str::to_owned);
        let expired = known.expired_at.is_some_and(|at| at >= window.from);
        let kind = match &due {
            Some(_) => Kind::Backup,
            None if drill.is_some() => Kind::Drill,
            None if seen && !expired && !early(Kind::Expire) => Kind::Expire,
            None => return,
        };
        let full = due.as_ref().and_then(|due| {
            let mut repositories = facts.repositories.iter();
            let found = repositories.find(|it| it.name == due.repository)?;
            repositories::full(found)
        });
        let (tell, progress) = watch::channel(String::new());
        known.running = Some((kind, now, progress));
        let (setup, instance, clock) = (Arc::clone(setup), name.to_owned(), self.shared.now);
        let stop = self.stop.clone();
        self.works.spawn(async move {
            let result = match (due, full) {
                (_, Some(report)) => Err(report),
                (Some(due), None) => take_backup(&setup, &instance, &due, &tell, stop).await,
                (None, None) => match &drill {
                    Some(name) => drill_one(&setup, &instance, name, &tell, stop, now).await,
                    None => expire(&setup, &instance, &tell, now).await,
                },
            };
            Done {
                instance,
                kind,
                at: clock(),
                result,
            }
        });
    }

    /// Takes over what came of work.
    pub(super) fn done(&mut self, done: Done) {
        let Done {
            instance,
            kind,
            at,
            result,
        } = done;
        let known = self.known.entry(instance.clone()).or_default();
        known.running = None;
        // What was done changes what is there.
        known.looked_at = None;
        match result {
            Ok(told) => {
                tracing::info!(instance, "{}: {told}", kind.name());
                known.troubles.remove(&kind);
                known.again_at.remove(&kind);
                if kind == Kind::Expire {
                    known.expired_at = Some(at);
                }
            }
            Err(report) => {
                tracing::warn!(instance, "{} went wrong: {report}", kind.name());
                known.again_at.insert(kind, at);
                known.troubles.insert(
                    kind,
                    BackupTrouble {
                        work: kind.name().to_owned(),
                        at,
                        what: report.primary,
                    },
                );
            }
        }
    }
}

/// Takes a backup that is due; told to end, it is dropped, and what it wrote is swept later.
async fn take_backup(
    setup: &Setup,
    instance: &str,
    due: &Due,
    tell: &watch::Sender<String>,
    mut stop: watch::Receiver<bool>,
) -> Result<String, Report> {
    let config = &setup.estate.config;
    let found = setup
        .jobs
        .get(instance)
        .zip(config.repository(&due.repository));
    let Some((job, entry)) = found else {
        return Ok(String::new());
    };
    let settings = config.backup_settings(&job.config);
    let wanted = if due.full { Wanted::Full } else { Wanted::Auto };
    let repository = repositories::open(entry).await?;
    let request = repositories::take_request(entry, &repository, job, &settings, wanted)?;
    let mut observe = |progress: Progress| {
        if let Progress::Note(note) = &progress {
            tracing::info!(instance, "{note}");
        }
        tell.send_replace(repositories::progress_words(&progress));
    };
    let taken = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {
            return Err(Report::new(Target, "the daemon ended before the backup did"));
        }
        taken = take::take(request, &mut observe) => taken,
    };
    let commit = taken.map_err(|error| error.report())?;
    let size = ByteSize(commit.parts.iter().map(|part| part.bytes).sum());
    Ok(format!(
        "{} in \"{}\", {size}",
        commit.backup, due.repository
    ))
}

/// Proves a backup by a restore to a random point; told to end, it is dropped, and its server with it.
async fn drill_one(
    setup: &Setup,
    instance: &str,
    name: &str,
    tell: &watch::Sender<String>,
    mut stop: watch::Receiver<bool>,
    now: Timestamp,
) -> Result<String, Report> {
    let estate = &setup.estate;
    let found = setup.jobs.get(instance).zip(estate.config.repository(name));
    let Some((job, entry)) = found else {
        return Ok(String::new());
    };
    let mut begun = |words: String| drop(tell.send_replace(words));
    let proven = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {
            return Err(Report::new(Target, "the daemon ended before the drill did"));
        }
        proven = recovering::prove(estate, job, entry, &mut begun, now) => proven?,
    };
    let Some(drilled) = proven else {
        return Ok(String::new());
    };
    let backup = &drilled.proof.backup;
    match drilled.proof.problems.first() {
        None => Ok(format!("{backup} in \"{name}\" is proven")),
        Some(problem) => {
            let what = format!("{backup} in \"{name}\" is not proven");
            Err(Report::new(Answer, what).with_detail(problem.clone()))
        }
    }
}

/// Marks and deletes by the policy in all repositories of an instance.
async fn expire(
    setup: &Setup,
    instance: &str,
    tell: &watch::Sender<String>,
    now: Timestamp,
) -> Result<String, Report> {
    let Some(job) = setup.jobs.get(instance) else {
        return Ok(String::new());
    };
    let config = &setup.estate.config;
    let policy = repositories::policy(&config.backup_settings(&job.config).retention);
    let (mut backups, mut bytes) = (0, 0);
    for opened in repositories::of_instance(config, job).await? {
        let name = &opened.config.name;
        tell.send_replace(format!("in \"{name}\""));
        let repository = opened.repository?;
        let report = |error: pawang_backup::Error| error.report();
        let cluster = repositories::cluster(&repository, instance, None).await;
        let Some(cluster) = cluster.map_err(report)? else {
            continue;
        };
        let outcome = retention::expire(&repository, &cluster, &policy, now, false).await;
        let outcome = outcome.map_err(report)?;
        backups += outcome.deleted.backups.len();
        bytes += outcome.deleted.bytes;
        if let Some(problem) = outcome.problems.first() {
            tracing::warn!(
                instance,
                "not all could be deleted in \"{name}\": {problem}"
            );
        }
    }
    Ok(format!(
        "{backups} backups deleted, {} freed",
        ByteSize(bytes)
    ))
}
