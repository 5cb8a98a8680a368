//! What is done inside windows, one thing at a time on an instance: backups that are due, then drills, then
//! expiring what is no longer kept, then reading a share of what is stored again.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use pawang_backup::retention::{self, Expired};
use pawang_backup::take::{self, Progress, Wanted};
use pawang_backup::verify::{self, Depth, Pace, VerifySettings};
use pawang_backup::wal::reread::{self, Reread, RereadSettings};
use pawang_config::schedule::Occurrence;
use pawang_config::{BackupSettings, RepositoryConfig};
use pawang_core::Kind::{Answer, Target};
use pawang_core::backup::BackupTrouble;
use pawang_core::{ByteSize, Report, Timestamp};
use tokio::sync::watch;

use super::super::setup::Setup;
use super::due::{Due, drill_due, due, verify_due};
use super::stream::again;
use super::{Keeper, Known, open};
use crate::estate::Job;
use crate::{recovering, repositories, taking};

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
    /// A share of what is stored is read again.
    Verify,
}

impl Kind {
    /// Returns its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Wal => "wal",
            Kind::Backup => "backup",
            Kind::Drill => "drill",
            Kind::Expire => "expire",
            Kind::Verify => "verify",
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
        let window = open(settings, now);
        let Some(known) = self.known.get_mut(name) else {
            return;
        };
        let Some(work) = next(known, settings, window, now) else {
            return;
        };
        let kind = work.kind();
        let (tell, progress) = watch::channel(String::new());
        known.running = Some((kind, now, progress));
        let errand = Errand {
            setup: Arc::clone(setup),
            instance: name.to_owned(),
            tell,
            stop: self.stop.clone(),
            clock: self.shared.now,
            now,
        };
        self.works.spawn(async move {
            let result = errand.run(&work).await;
            Done {
                instance: errand.instance,
                kind,
                at: (errand.clock)(),
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
                if !told.is_empty() {
                    tracing::info!(instance, "{}: {told}", kind.name());
                }
                known.troubles.remove(&kind);
                known.again_at.remove(&kind);
                if kind == Kind::Expire {
                    known.expired_at = Some(at);
                }
            }
            Err(report) => {
                tracing::warn!(instance, "{} went wrong: {}", kind.name(), report.line());
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

/// Something that is due.
enum Work {
    Backup(Due),
    /// It would be due, but for a reason.
    Refused(Report),
    Drill(String),
    Expire,
    /// In which repository, and until when.
    Verify(String, Option<Timestamp>),
}

impl Work {
    fn kind(&self) -> Kind {
        match self {
            Work::Backup(_) | Work::Refused(_) => Kind::Backup,
            Work::Drill(_) => Kind::Drill,
            Work::Expire => Kind::Expire,
            Work::Verify(..) => Kind::Verify,
        }
    }
}

/// Returns what is done next on an instance on which nothing is done now.
fn next(
    known: &Known,
    settings: &BackupSettings,
    window: Option<Occurrence>,
    now: Timestamp,
) -> Option<Work> {
    let early = |kind: Kind| !again(known.again_at.get(&kind).copied(), now, AGAIN_AFTER);
    // What was seen before the last backup ended says that it is still due.
    let seen = !known.looking && known.looked_at.is_some();
    let facts = known.facts.as_ref().filter(|_| seen)?;
    if known.running.is_some() {
        return None;
    }
    if let Some(window) = &window {
        if let Some(due) = due(facts, settings, now).filter(|_| !early(Kind::Backup)) {
            let mut repositories = facts.repositories.iter();
            let found = repositories.find(|it| it.name == due.repository);
            let full = found.and_then(repositories::full);
            return Some(full.map_or(Work::Backup(due), Work::Refused));
        }
        if let Some(name) = drill_due(facts, settings, now).filter(|_| !early(Kind::Drill)) {
            return Some(Work::Drill(name.to_owned()));
        }
        let expired = known.expired_at.is_some_and(|at| at >= window.from);
        if !expired && !early(Kind::Expire) {
            return Some(Work::Expire);
        }
    }
    // It asks nothing of the server: where no window is set, any time is good.
    let until = window.map(|window| window.to);
    if until.is_none() && settings.window.is_some() {
        return None;
    }
    let name = verify_due(facts, settings, now).filter(|_| !early(Kind::Verify))?;
    Some(Work::Verify(name.to_owned(), until))
}

/// What a piece of work needs.
struct Errand {
    setup: Arc<Setup>,
    instance: String,
    tell: watch::Sender<String>,
    stop: watch::Receiver<bool>,
    clock: fn() -> Timestamp,
    now: Timestamp,
}

impl Errand {
    async fn run(&self, work: &Work) -> Result<String, Report> {
        match work {
            Work::Backup(due) => self.take_backup(due).await,
            Work::Refused(report) => Err(report.clone()),
            Work::Drill(name) => self.drill(name).await,
            Work::Expire => self.expire().await,
            Work::Verify(name, until) => self.verify(name, *until).await,
        }
    }

    /// Waits until the daemon is told to end.
    async fn stopped(&self) {
        let mut stop = self.stop.clone();
        // A sender that is gone means the same.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    /// Returns an instance and a repository; none when the configuration has lost one of them.
    fn found(&self, name: &str) -> Option<(&Job, &RepositoryConfig)> {
        let config = &self.setup.estate.config;
        let job = self.setup.jobs.get(&self.instance);
        job.zip(config.repository(name))
    }

    /// Takes a backup that is due; told to end, it is dropped, and what it wrote is swept later.
    async fn take_backup(&self, due: &Due) -> Result<String, Report> {
        let Some((job, entry)) = self.found(&due.repository) else {
            return Ok(String::new());
        };
        let settings = self.setup.estate.config.backup_settings(&job.config);
        let wanted = if due.full { Wanted::Full } else { Wanted::Auto };
        let repository = repositories::open(entry).await?;
        let request = repositories::take_request(entry, &repository, job, &settings, wanted)?;
        let mut observe = |progress: Progress| {
            if let Progress::Note(note) = &progress {
                tracing::info!(instance = self.instance, "{note}");
            }
            self.tell
                .send_replace(repositories::progress_words(&progress));
        };
        let taken = tokio::select! {
            biased;
            () = self.stopped() => {
                return Err(Report::new(Target, "the daemon ended before the backup did"));
            }
            taken = take::take(request, &mut observe) => taken,
        };
        let commit = taken.map_err(|error| error.report())?;
        let size = ByteSize(commit.stored_bytes());
        Ok(format!(
            "{} in \"{}\", {size}",
            commit.backup, due.repository
        ))
    }

    /// Proves a backup by a restore to a random point; told to end, it is dropped, and its server with it.
    async fn drill(&self, name: &str) -> Result<String, Report> {
        let Some((job, entry)) = self.found(name) else {
            return Ok(String::new());
        };
        let estate = &self.setup.estate;
        let mut begun = |words: String| drop(self.tell.send_replace(words));
        let proven = tokio::select! {
            biased;
            () = self.stopped() => {
                return Err(Report::new(Target, "the daemon ended before the drill did"));
            }
            proven = recovering::prove(estate, job, entry, &mut begun, self.now) => proven?,
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
    async fn expire(&self) -> Result<String, Report> {
        let Some(job) = self.setup.jobs.get(&self.instance) else {
            return Ok(String::new());
        };
        let config = &self.setup.estate.config;
        let policy = repositories::policy(&config.backup_settings(&job.config).retention);
        let mut told = Vec::new();
        for opened in repositories::of_instance(config, job).await? {
            let name = &opened.config.name;
            self.tell.send_replace(format!("in \"{name}\""));
            let repository = opened.repository?;
            let report = |error: pawang_backup::Error| error.report();
            let cluster = repositories::cluster(&repository, &self.instance, None).await;
            let Some(cluster) = cluster.map_err(report)? else {
                continue;
            };
            let outcome = retention::expire(&repository, &cluster, &policy, self.now, false).await;
            let outcome = outcome.map_err(report)?;
            if outcome.deleted != Expired::default() {
                told.push(format!(
                    "in \"{name}\": {}",
                    repositories::expired_words(&outcome)
                ));
            }
            if let Some(problem) = outcome.problems.first() {
                tracing::warn!(
                    instance = self.instance,
                    "not all could be deleted in \"{name}\": {problem}"
                );
            }
        }
        Ok(told.join("; "))
    }

    /// Reads a share of what is stored again; at the end of the window, or told to end, what was read is kept.
    async fn verify(&self, name: &str, until: Option<Timestamp>) -> Result<String, Report> {
        let Some((job, entry)) = self.found(name) else {
            return Ok(String::new());
        };
        let report = |error: pawang_backup::Error| error.report();
        let settings = self.setup.estate.config.backup_settings(&job.config);
        let repository = repositories::open(entry).await?;
        let cluster = repositories::cluster(&repository, &self.instance, None).await;
        let Some(cluster) = cluster.map_err(report)? else {
            return Ok(String::new());
        };
        let shares = repositories::share(&repository, &cluster, &settings, self.now).await?;
        let (stop, clock) = (self.stop.clone(), self.clock);
        let go_on = move || !*stop.borrow() && until.is_none_or(|until| clock() < until);
        let pace = Arc::new(Pace {
            rate: repositories::verify_rate(entry, &settings),
            go_on: Box::new(go_on),
        });
        let (mut bytes, mut wrong) = (0, None);
        for share in shares {
            let (backup, size) = (&share.backup, ByteSize(share.bytes));
            self.tell
                .send_replace(format!("{size} of {backup} in \"{name}\""));
            let how = VerifySettings {
                depth: Depth::Hashed,
                parts: Some(share.parts),
                pace: Some(Arc::clone(&pace)),
                threads: NonZeroUsize::MIN,
                owner: taking::owner()?.word,
                tool: format!("pawang {}", env!("CARGO_PKG_VERSION")),
                clock: self.clock,
            };
            let verified = verify::verify(&repository, &cluster, backup, &how).await;
            let Some(proof) = verified.map_err(report)? else {
                break;
            };
            bytes += proof.phases.iter().filter_map(|it| it.bytes).sum::<u64>();
            let problems = proof.problems.into_iter();
            wrong = wrong.or(problems.map(|problem| (backup.to_string(), problem)).next());
        }
        self.tell.send_replace(format!("WAL in \"{name}\""));
        let how = RereadSettings {
            every: SignedDuration::try_from(settings.verify_every).unwrap_or(SignedDuration::MAX),
            pace: &pace,
            tool: format!("pawang {}", env!("CARGO_PKG_VERSION")),
            clock: self.clock,
        };
        let turn = reread::turn(&repository, &cluster, &how).await;
        told(name, bytes, wrong, turn.map_err(report)?)
    }
}

/// Returns the words for what was read again of a repository, or what is wrong with it.
fn told(
    name: &str,
    mut bytes: u64,
    mut wrong: Option<(String, String)>,
    wal: Option<Reread>,
) -> Result<String, Report> {
    if let Some(read) = wal {
        bytes += read.bytes;
        // What was found before is known, and told by the survey.
        let now = read.ended_at;
        let segments = read.wrong.into_iter().filter(|(_, wrong)| wrong.at == now);
        let mut segments = segments.map(|(name, wrong)| (name, wrong.problem));
        wrong = wrong.or_else(|| segments.next());
    }
    match wrong {
        None => {
            let bytes = ByteSize(bytes);
            Ok(format!("{bytes} in \"{name}\" are what was stored"))
        }
        Some((object, problem)) => {
            let what = format!("{object} in \"{name}\" is not what was stored");
            Err(Report::new(Answer, what).with_detail(problem))
        }
    }
}
