//! The receiver of one instance: WAL as it is written, begun again when it ends, with what it last told.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pawang_backup::Error;
use pawang_backup::wal::receive::{LIVE_EVERY, Progress, ReceiveOptions, SPOOL_BYTES_MAX, receive};
use pawang_config::BackupSettings;
use pawang_core::backup::BackupTrouble;
use pawang_core::{Lsn, Report, Timestamp};
use pawang_store::live::BackupWork;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::setup::Setup;
use super::super::shared::Shared;
use super::work::Kind;
use super::{Keeper, signed};
use crate::repositories;

/// A receiver that ended begins again after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(15);

/// The receiver of one instance.
pub(super) struct Stream {
    /// What it was started with; another one begins when that changes.
    settings: BackupSettings,
    since: Timestamp,
    told: Arc<Mutex<Told>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What a receiver last told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// The position behind the newest WAL that every repository has, and when it came there.
    pub(super) stored: Option<(Lsn, Timestamp)>,
    /// The end of the server's WAL as it last said.
    pub(super) server_end: Option<Lsn>,
    /// Segments that wait for repositories.
    pub(super) waiting: usize,
    /// Why it ended, or what a repository refuses.
    pub(super) trouble: Option<String>,
    address: String,
}

impl Stream {
    /// Returns what readers see.
    pub(super) fn work(&self, repositories: &[String]) -> BackupWork {
        let told = self.told();
        let mut words: Vec<String> = Vec::new();
        if !told.address.is_empty() {
            words.push(format!("from {}", told.address));
        }
        if let Some((stored, _)) = told.stored {
            words.push(format!("stored up to {stored}"));
        }
        if told.waiting > 0 {
            words.push(format!("{} segments wait here", told.waiting));
        }
        BackupWork {
            work: Kind::Wal.name().to_owned(),
            repository: repositories.join(", "),
            since: self.since,
            progress: words.join(", "),
        }
    }

    /// Returns what it last told.
    pub(super) fn told(&self) -> Told {
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ends it; what it received stays in its folder for the next one.
    pub(super) async fn end(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!("a receiver of WAL broke: {error}");
        }
    }
}

impl Keeper {
    /// Starts, ends and reads the receiver of an instance.
    pub(super) fn stream(
        &mut self,
        setup: &Arc<Setup>,
        name: &str,
        settings: &BackupSettings,
        now: Timestamp,
    ) {
        let spool = self.spools.join(name);
        let Some(known) = self.known.get_mut(name) else {
            return;
        };
        let other = known
            .stream
            .as_ref()
            .is_some_and(|stream| stream.settings != *settings);
        if (other || !settings.stream)
            && let Some(stream) = known.stream.take()
        {
            // Its end is not waited for: the next one refuses a folder that is in use, and is begun again.
            stream.stop.send_replace(true);
        }
        if settings.stream && known.stream.is_none() {
            known.stream = Some(start(&self.shared, setup, name, settings, spool, now));
        }
        let Some(stream) = &known.stream else {
            return;
        };
        let told = stream.told();
        match told.trouble {
            Some(what) => {
                known.troubles.insert(
                    Kind::Wal,
                    BackupTrouble {
                        work: Kind::Wal.name().to_owned(),
                        at: now,
                        what,
                    },
                );
            }
            None => drop(known.troubles.remove(&Kind::Wal)),
        }
        let Some(((stored, at), facts)) = told.stored.zip(known.facts.as_mut()) else {
            return;
        };
        let complete = told.server_end.is_some_and(|end| end <= stored);
        let facts = Arc::make_mut(facts);
        for repository in &mut facts.repositories {
            let Ok(survey) = &mut repository.survey else {
                continue;
            };
            if survey.wal.durable.is_none_or(|durable| durable < stored) {
                survey.wal.durable = Some(stored);
                survey.wal.durable_at = survey.wal.durable_at.max(Some(at));
            }
            if complete {
                survey.wal.complete_at = Some(now);
                known.complete_at.insert(repository.name.clone(), now);
            }
        }
    }
}

fn start(
    shared: &Arc<Shared>,
    setup: &Arc<Setup>,
    name: &str,
    settings: &BackupSettings,
    spool: PathBuf,
    now: Timestamp,
) -> Stream {
    let (stop, stopped) = watch::channel(false);
    let told = Arc::new(Mutex::new(Told::default()));
    let shared_told = Arc::clone(&told);
    let (setup, name, clock) = (Arc::clone(setup), name.to_owned(), shared.now);
    let runtime = tokio::runtime::Handle::current();
    // It compresses and writes files between two messages of the server: a thread of its own keeps others from waiting.
    let task = tokio::task::spawn_blocking(move || {
        runtime.block_on(run(setup, name, spool, stopped, shared_told, clock));
    });
    Stream {
        settings: settings.clone(),
        since: now,
        told,
        stop,
        task,
    }
}

/// Receives until the end is called; when the connection is lost it begins again.
async fn run(
    setup: Arc<Setup>,
    name: String,
    spool: PathBuf,
    mut stop: watch::Receiver<bool>,
    told: Arc<Mutex<Told>>,
    clock: fn() -> Timestamp,
) {
    loop {
        let received = once(&setup, &name, &spool, stop.clone(), &told, clock).await;
        if *stop.borrow() {
            return;
        }
        let why = match received {
            Ok(()) => "the server ended the stream".to_owned(),
            Err(report) => report.to_string().replace('\n', "; "),
        };
        tracing::warn!(instance = name, "WAL is not received: {why}");
        told.lock().unwrap_or_else(PoisonError::into_inner).trouble = Some(why);
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(AGAIN_AFTER) => {}
        }
    }
}

async fn once(
    setup: &Setup,
    name: &str,
    spool: &std::path::Path,
    stop: watch::Receiver<bool>,
    told: &Mutex<Told>,
    clock: fn() -> Timestamp,
) -> Result<(), Report> {
    let Some(job) = setup.jobs.get(name) else {
        return Ok(());
    };
    let config = &setup.estate.config;
    let settings = config.backup_settings(&job.config);
    let mut opened = Vec::new();
    for repository in repositories::of_instance(config, job).await? {
        opened.push(repository.repository?);
    }
    let options = ReceiveOptions {
        target: job.target.clone(),
        repositories: opened,
        slot: Some(settings.slot),
        spool: spool.to_owned(),
        spool_bytes_max: SPOOL_BYTES_MAX,
        live_every: Some(LIVE_EVERY),
        allow_standby: false,
        cluster: None,
        clock,
    };
    let observe = move |progress: Progress| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        heard(&mut told, progress, name, clock());
    };
    let received = receive(&options, stop, &observe).await;
    received.map(drop).map_err(|error: Error| error.report())
}

fn heard(told: &mut Told, progress: Progress, instance: &str, now: Timestamp) {
    let stored = |told: &mut Told, position: Lsn| {
        if told.stored.is_none_or(|(stored, _)| stored < position) {
            told.stored = Some((position, now));
        }
        told.trouble = None;
    };
    match progress {
        Progress::Started { address, .. } => {
            tracing::info!(instance, "WAL is received from {address}");
            told.address = address;
            told.trouble = None;
        }
        Progress::Flushed { server_end, .. } => told.server_end = Some(server_end),
        Progress::Live { position } => stored(told, position),
        Progress::Stored { waiting, .. } => told.waiting = waiting,
        Progress::Switched { timeline, position } => {
            tracing::info!(
                instance,
                "the server goes on with timeline {} at {position}",
                timeline.0
            );
        }
        Progress::Gap(gap) => tracing::error!(
            instance,
            "WAL from {} to {} is missing for ever: {}; take a backup",
            gap.from,
            gap.to,
            gap.cause
        ),
        Progress::Diverged { segment, kept } => tracing::error!(
            instance,
            "the server sends another segment {segment} than before; the old one is kept in \"{}\"",
            kept.display()
        ),
        Progress::Trouble {
            problem, waiting, ..
        } => {
            told.waiting = waiting;
            told.trouble = Some(problem);
        }
    }
}

/// Says whether what went wrong is tried again already.
pub(super) fn again(at: Option<Timestamp>, now: Timestamp, after: Duration) -> bool {
    at.is_none_or(|at| now.duration_since(at) >= signed(after))
}
