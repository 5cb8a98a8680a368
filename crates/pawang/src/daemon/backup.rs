//! Repositories: looked into again and again, WAL received as it is written, and what is due done inside windows.

mod due;
mod stream;
mod work;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pawang_backup::ClusterId;
use pawang_backup::survey::Memory;
use pawang_config::schedule::{Occurrence, Schedule};
use pawang_config::{BackupSettings, RepositoryPlace};
use pawang_core::backup::{
    BackupFacts, BackupTrouble, OtherDrill, RepositoryFacts, UNIMPORTANT_BYTES,
};
use pawang_core::{Blind, Lsn, Server, Timestamp};
use pawang_store::Store;
use pawang_store::live::{BackupWork, BackupsPresent};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::setup::Setup;
use super::shared::Shared;
use crate::elsewhere::Drills;
use crate::repositories;
use stream::Stream;
use work::{Done, Kind};

/// Streams and windows are looked at so often.
const EVERY: Duration = Duration::from_secs(2);
/// Readers are told so often how far work is: each time every open page asks anew.
const SHOW_EVERY: Duration = Duration::from_secs(5);
/// A repository in a folder is looked into so often, one in a bucket less: each look lists it.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const LOOK_BUCKET_EVERY: Duration = Duration::from_secs(300);
/// A look that takes longer is given up, and nothing is known then.
const LOOK_MAX: Duration = Duration::from_secs(180);
/// What runs may take so long to stop when the daemon ends.
const END_MAX: Duration = Duration::from_secs(15);

/// What is known of the backups of each instance, and what runs.
struct Keeper {
    shared: Arc<Shared>,
    setup: watch::Receiver<Arc<Setup>>,
    stop: watch::Receiver<bool>,
    /// Where WAL waits for repositories.
    spools: PathBuf,
    known: BTreeMap<String, Known>,
    /// What is known of drills of other tools' backups.
    drills: Arc<Mutex<Drills>>,
    looks: JoinSet<Looked>,
    works: JoinSet<Done>,
}

/// What is known of one instance.
#[derive(Default)]
struct Known {
    looked_at: Option<Timestamp>,
    looking: bool,
    /// How many looks came back.
    looked: u64,
    /// Which of them readers see, and since when.
    shown: Option<(u64, Timestamp)>,
    facts: Option<Arc<BackupFacts>>,
    memories: BTreeMap<String, Memory>,
    /// When all WAL that the server had written was last seen to be stored, by repository.
    complete_at: BTreeMap<String, Timestamp>,
    troubles: BTreeMap<Kind, BackupTrouble>,
    stream: Option<Stream>,
    /// What is being done, since when.
    running: Option<(Kind, Timestamp, watch::Receiver<String>)>,
    /// Not before this after something went wrong.
    again_at: BTreeMap<Kind, Timestamp>,
    /// When expiring was last done.
    expired_at: Option<Timestamp>,
}

/// What a look found.
struct Looked {
    instance: String,
    facts: Option<BackupFacts>,
    memories: BTreeMap<String, Memory>,
}

/// The task, as seen from the main loop.
pub(super) struct Backups {
    setup: watch::Sender<Arc<Setup>>,
    stop: watch::Sender<bool>,
}

impl Backups {
    /// The name under which its end is told.
    pub(super) const NAME: &str = "task that keeps backups";

    /// Starts the task.
    pub(super) fn start(
        services: &mut JoinSet<&'static str>,
        setup: &Arc<Setup>,
        shared: &Arc<Shared>,
        directory: &Path,
    ) -> Backups {
        let (setup, kept) = watch::channel(Arc::clone(setup));
        let (stop, stopped) = watch::channel(false);
        let keeper = Keeper {
            shared: Arc::clone(shared),
            setup: kept,
            stop: stopped,
            spools: directory.join("wal"),
            known: BTreeMap::new(),
            drills: Arc::default(),
            looks: JoinSet::new(),
            works: JoinSet::new(),
        };
        services.spawn(async move {
            keeper.run().await;
            Backups::NAME
        });
        Backups { setup, stop }
    }

    /// Gives the task another configuration; what runs goes on by the one that it began with.
    pub(super) fn take_setup(&self, setup: &Arc<Setup>) {
        self.setup.send_replace(Arc::clone(setup));
    }

    /// Calls the end.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }
}

impl Keeper {
    async fn run(mut self) {
        let mut stop = self.stop.clone();
        loop {
            tokio::select! {
                biased;
                // A sender that is gone means the same.
                _ = stop.wait_for(|stop| *stop) => break,
                Some(looked) = self.looks.join_next(), if !self.looks.is_empty() => match looked {
                    Ok(looked) => self.looked(looked),
                    Err(error) => tracing::error!("a look into a repository broke: {error}"),
                },
                Some(done) = self.works.join_next(), if !self.works.is_empty() => match done {
                    Ok(done) => self.done(done),
                    Err(error) => tracing::error!("work on backups broke: {error}"),
                },
                () = tokio::time::sleep(EVERY) => self.round(),
            }
        }
        self.looks.abort_all();
        let ended = timeout(END_MAX, async {
            for known in self.known.values_mut() {
                if let Some(stream) = known.stream.take() {
                    stream.end().await;
                }
            }
            while self.works.join_next().await.is_some() {}
        });
        if ended.await.is_err() {
            tracing::warn!(
                "work on backups did not stop in time: the next run sweeps what it left"
            );
        }
    }

    fn round(&mut self) {
        let setup = Arc::clone(&self.setup.borrow_and_update());
        let gone: Vec<String> = self
            .known
            .keys()
            .filter(|name| !setup.jobs.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            self.known.remove(&name);
        }
        let now = (self.shared.now)();
        for (name, job) in &setup.jobs {
            let settings = setup.estate.config.backup_settings(&job.config);
            self.look(&setup, name, &settings, now);
            if settings.repositories.is_empty() {
                // Drills of other tools' backups are shown all the same.
                if let Some(known) = self.known.get_mut(name) {
                    known.stream = None;
                    let seen = known.facts.as_ref();
                    if seen.is_some_and(|facts| !facts.repositories.is_empty()) {
                        // It had repositories until the configuration changed.
                        known.facts = None;
                        known.looked_at = None;
                        self.shared.live.put_backups(name, None);
                    }
                }
            } else {
                self.stream(&setup, name, &settings, now);
                self.begin(&setup, name, &settings, now);
            }
            self.show(name, &settings, now);
        }
    }

    /// Begins a look into the repositories of an instance when it is time for one.
    fn look(&mut self, setup: &Arc<Setup>, name: &str, settings: &BackupSettings, now: Timestamp) {
        let known = self.known.entry(name.to_owned()).or_default();
        let every = look_every(setup, settings);
        let fresh = known
            .looked_at
            .is_some_and(|at| now.duration_since(at) < signed(every));
        if known.looking || fresh {
            return;
        }
        known.looking = true;
        known.looked_at = Some(now);
        let memories = std::mem::take(&mut known.memories);
        let present = self.shared.live.instance(name);
        let server = present.and_then(|present| present.facts.server.clone().ok());
        let cluster = server.as_ref().and_then(repositories::cluster_of);
        let (setup, instance) = (Arc::clone(setup), name.to_owned());
        let (drills, store) = (Arc::clone(&self.drills), self.shared.store.clone());
        // While the server does not say who it is, what was known last stays.
        let before = known.facts.as_ref().map(|facts| facts.others.clone());
        self.looks.spawn(async move {
            let mut looked = look(&setup, instance, cluster, memories, now).await;
            let others = match server.zip(store) {
                Some((server, store)) => elsewhere(drills, store, server).await,
                None => before.unwrap_or_default(),
            };
            if let Some(facts) = &mut looked.facts {
                facts.others = others;
            }
            looked
        });
    }

    fn looked(&mut self, looked: Looked) {
        let present = self.shared.live.instance(&looked.instance);
        let position = present.and_then(|present| repositories::position(&present.facts));
        let known = self.known.entry(looked.instance).or_default();
        known.looking = false;
        known.memories = looked.memories;
        let Some(mut facts) = looked.facts else {
            return;
        };
        for repository in &mut facts.repositories {
            complete(repository, position.map(Lsn), &mut known.complete_at);
            repository.troubles = known.troubles.values().cloned().collect();
        }
        known.facts = Some(Arc::new(facts));
        known.looked += 1;
    }

    /// Replaces what readers see.
    fn show(&mut self, name: &str, settings: &BackupSettings, now: Timestamp) {
        let Some(known) = self.known.get_mut(name) else {
            return;
        };
        let Some(facts) = &known.facts else {
            return;
        };
        let before = self.shared.live.backups(name);
        if facts.repositories.is_empty() && facts.others.is_empty() {
            if before.is_some() {
                self.shared.live.put_backups(name, None);
            }
            return;
        }
        let open = open(settings, now);
        let mut running: Vec<BackupWork> = Vec::new();
        if let Some(stream) = &known.stream {
            running.push(stream.work(&settings.repositories));
        }
        if let Some((kind, since, progress)) = &known.running {
            running.push(BackupWork {
                work: kind.name().to_owned(),
                repository: settings.repositories.join(", "),
                since: *since,
                progress: progress.borrow().clone(),
            });
        }
        let present = BackupsPresent {
            facts: Arc::clone(facts),
            window: settings.window.clone(),
            opens_at: match open {
                Some(_) => None,
                None => schedule(settings).and_then(|schedule| schedule.next_change(now)),
            },
            open_until: open.map(|open| open.to),
            running,
        };
        // How far something is can wait; that it began, or what a look found, cannot.
        let shown = known.shown.is_some_and(|(shown, at)| {
            shown == known.looked && now.duration_since(at) < signed(SHOW_EVERY)
        });
        let same = before.is_some_and(|before| alike(&before, &present));
        if !(shown && same) {
            known.shown = Some((known.looked, now));
            self.shared.live.put_backups(name, Some(present));
        }
    }
}

/// Says whether the same is being done in the same window.
fn alike(one: &BackupsPresent, other: &BackupsPresent) -> bool {
    let work = |it: &BackupWork| (it.work.clone(), it.since);
    one.running
        .iter()
        .map(work)
        .eq(other.running.iter().map(work))
        && (&one.window, one.open_until, one.opens_at)
            == (&other.window, other.open_until, other.opens_at)
}

/// Looks into all repositories of an instance; what takes too long is not known.
async fn look(
    setup: &Setup,
    instance: String,
    cluster: Option<ClusterId>,
    mut memories: BTreeMap<String, Memory>,
    now: Timestamp,
) -> Looked {
    let mut facts = None;
    if let Some(job) = setup.jobs.get(&instance) {
        let config = &setup.estate.config;
        let settings = config.backup_settings(&job.config);
        let policy = repositories::policy(&settings.retention);
        let mut found = Vec::new();
        for entry in settings
            .repositories
            .iter()
            .filter_map(|name| config.repository(name))
        {
            let memory = memories.entry(entry.name.clone()).or_default();
            let looked = timeout(LOOK_MAX, async {
                let repository = repositories::open(entry).await;
                let opened = repositories::Opened {
                    config: entry,
                    repository,
                };
                repositories::look(&opened, &instance, cluster, &policy, memory, now).await
            });
            found.push(looked.await.unwrap_or_else(|_| too_long(entry, now)));
        }
        facts = Some(BackupFacts {
            repositories: found,
            others: Vec::new(),
            promise: repositories::promise(&settings),
        });
    }
    Looked {
        instance,
        facts,
        memories,
    }
}

/// Reads what drills of other tools' backups proved of a server's cluster; the journal may be long.
async fn elsewhere(drills: Arc<Mutex<Drills>>, store: Store, server: Server) -> Vec<OtherDrill> {
    let read = tokio::task::spawn_blocking(move || {
        let mut drills = drills.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = drills.read_on(store.state()) {
            tracing::warn!("drills of other tools were not read: {}", error.report());
        }
        drills.of(&server)
    });
    read.await.unwrap_or_default()
}

fn too_long(config: &pawang_config::RepositoryConfig, now: Timestamp) -> RepositoryFacts {
    RepositoryFacts {
        name: config.name.clone(),
        place: config.place.clone(),
        at: now,
        survey: Err(Blind::Timeout {
            what: format!("looking into repository \"{}\"", config.name),
            limit_ms: u64::try_from(LOOK_MAX.as_millis()).unwrap_or(u64::MAX),
        }),
        troubles: Vec::new(),
    }
}

/// Remembers when all that the server had written was stored; a quiet server stores nothing new and loses nothing.
fn complete(
    repository: &mut RepositoryFacts,
    position: Option<Lsn>,
    complete_at: &mut BTreeMap<String, Timestamp>,
) {
    let Ok(survey) = &mut repository.survey else {
        return;
    };
    let both = position.zip(survey.wal.durable);
    if both.is_some_and(|(here, durable)| here.bytes_since(durable) <= UNIMPORTANT_BYTES) {
        complete_at.insert(repository.name.clone(), repository.at);
    }
    survey.wal.complete_at = complete_at.get(&repository.name).copied();
}

fn look_every(setup: &Setup, settings: &BackupSettings) -> Duration {
    let config = &setup.estate.config;
    let mut entries = settings
        .repositories
        .iter()
        .filter_map(|name| config.repository(name));
    let bucket =
        entries.any(|entry| matches!(entry.location(), Some(RepositoryPlace::Bucket { .. })));
    if bucket {
        LOOK_BUCKET_EVERY
    } else {
        LOOK_EVERY
    }
}

fn schedule(settings: &BackupSettings) -> Option<Schedule> {
    // The configuration was refused if it could not be read.
    let window = settings.window.as_deref()?;
    Schedule::parse(window).ok()
}

fn open(settings: &BackupSettings, now: Timestamp) -> Option<Occurrence> {
    schedule(settings)?.open(now)
}

fn signed(length: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(length).unwrap_or(jiff::SignedDuration::MAX)
}
