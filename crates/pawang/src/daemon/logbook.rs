//! Reads what is new in the logs of servers on this machine, now and then, into numbers per hour.
//!
//! A turn of one instance is bounded and may be killed at any moment: the next one goes on where the last one was kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pawang_collect::{LogFiles, log_files};
use pawang_config::LogsConfig;
use pawang_core::{Blind, Facts, Timestamp};
use pawang_logs::choose::{Wish, choose};
use pawang_logs::engine::{PIECE_BYTES, Settings};
use pawang_logs::input::Input;
use pawang_logs::resume::{Bound, RealDisk, Step, Store, directory_of, set_aside};
use pawang_logs::search;
use pawang_logs::tally::Tally;
use pawang_store::live::{LogError, LogPosition, LogStatus, Present};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use super::setup::Setup;
use super::shared::Shared;

/// How often it is looked whose turn it is; also the pause of an instance that has more to read.
const TICK: Duration = Duration::from_secs(1);
/// Instances whose logs are read at the same time.
const AT_ONCE_MAX: usize = 2;
/// Bytes of one turn: a backlog is read within a fraction of a core.
const TURN_BYTES_MAX: u64 = 64 << 20;
/// Bytes after which a turn keeps what it has.
const STEP_BYTES: u64 = 16 << 20;
/// Files whose positions are told: the newest ones.
const POSITIONS_MAX: usize = 50;
/// Files with trouble that are told.
const TROUBLES_MAX: usize = 10;
const HOUR_SECONDS: i64 = 3_600;

/// The way to the task: another configuration, and its end.
pub(super) struct Logbook {
    setups: watch::Sender<Arc<Setup>>,
    stop: Arc<AtomicBool>,
}

/// What is known of the log of one instance.
struct Book {
    name: String,
    next_at: Timestamp,
    place: Place,
    /// What became of a state that could not be read any more.
    aside: Option<String>,
    status: LogStatus,
}

/// Where a log is, as the server told it last.
#[derive(Clone, Default)]
struct Place {
    log: Option<PathBuf>,
    data: Option<PathBuf>,
    collector_off: bool,
}

/// Why a turn read nothing.
enum Unread {
    /// The log was not found.
    Place(Blind),
    /// Its state could not be used.
    State(pawang_logs::Error),
}

impl From<Blind> for Unread {
    fn from(blind: Blind) -> Unread {
        Unread::Place(blind)
    }
}

impl From<pawang_logs::Error> for Unread {
    fn from(error: pawang_logs::Error) -> Unread {
        Unread::State(error)
    }
}

fn failed(error: &pawang_logs::Error) -> Blind {
    Blind::Failed {
        what: error.to_string(),
    }
}

/// One turn: what to do, apart from whose it is.
struct Turn {
    state: PathBuf,
    config: LogsConfig,
    now: Timestamp,
    stop: Arc<AtomicBool>,
}

impl Logbook {
    /// Returns the way to the task, and what the task needs besides what all share.
    pub(super) fn new(setup: &Arc<Setup>) -> (Logbook, Reading) {
        let (setups, receiver) = watch::channel(Arc::clone(setup));
        let stop = Arc::new(AtomicBool::new(false));
        let reading = Reading {
            setups: receiver,
            stop: Arc::clone(&stop),
            books: BTreeMap::new(),
            turns: JoinSet::new(),
            names: BTreeMap::new(),
        };
        (Logbook { setups, stop }, reading)
    }

    /// Puts another configuration in force.
    pub(super) fn take_setup(&self, setup: &Arc<Setup>) {
        self.setups.send_replace(Arc::clone(setup));
    }

    /// Makes turns in progress end at their next look.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The task.
pub(super) struct Reading {
    setups: watch::Receiver<Arc<Setup>>,
    stop: Arc<AtomicBool>,
    /// Instances that wait for their turn.
    books: BTreeMap<String, Book>,
    turns: JoinSet<Book>,
    /// Whose turn each task is.
    names: BTreeMap<Id, String>,
}

impl Reading {
    /// Reads logs until it is dropped.
    pub(super) async fn run(mut self, shared: Arc<Shared>, data: PathBuf) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => self.begin(&shared, &data),
                Some(ended) = self.turns.join_next_with_id() => match ended {
                    Ok((id, book)) => {
                        self.names.remove(&id);
                        self.take_back(&shared, book);
                    }
                    Err(error) => {
                        let name = self.names.remove(&error.id()).unwrap_or_default();
                        tracing::error!(instance = name, "reading its log ended early: {error}");
                    }
                },
            }
        }
    }

    /// Begins the turns that are due.
    fn begin(&mut self, shared: &Arc<Shared>, data: &Path) {
        let setup = Arc::clone(&self.setups.borrow());
        let config = &setup.estate.config.serve.logs;
        let wanted = |name: &String| config.enabled && setup.jobs.contains_key(name);
        let ended = self.books.extract_if(.., |name, _| !wanted(name));
        ended.for_each(|(name, _)| shared.live.put_log(&name, None));
        let now = (shared.now)();
        let busy: Vec<&String> = self.names.values().collect();
        for name in setup.jobs.keys().filter(|name| wanted(name)) {
            if !self.books.contains_key(name) && !busy.contains(&name) {
                self.books.insert(name.clone(), Book::new(name, now));
            }
        }
        let due = self.books.values().filter(|book| book.is_due(now, config));
        let mut due: Vec<(Timestamp, String)> =
            due.map(|book| (book.next_at, book.name.clone())).collect();
        due.sort();
        let room = AT_ONCE_MAX.saturating_sub(self.turns.len());
        for (_, name) in due.into_iter().take(room) {
            let (Some(book), Some(job)) = (self.books.remove(&name), setup.jobs.get(&name)) else {
                continue;
            };
            let turn = Turn {
                state: directory_of(data, &name),
                config: config.clone(),
                now,
                stop: Arc::clone(&self.stop),
            };
            let present = shared.live.instance(&name);
            let configured = job.config.log_directory.clone();
            let work = move || book.turn(present.as_deref(), configured, &turn);
            let id = self.turns.spawn_blocking(work).id();
            self.names.insert(id, name);
        }
    }

    /// Takes an instance back after its turn.
    fn take_back(&mut self, shared: &Shared, book: Book) {
        let setup = self.setups.borrow();
        let config = &setup.estate.config.serve.logs;
        if !config.enabled || !setup.jobs.contains_key(&book.name) {
            return shared.live.put_log(&book.name, None);
        }
        shared.live.put_log(&book.name, Some(book.status.clone()));
        self.books.insert(book.name.clone(), book);
    }
}

impl Book {
    fn new(name: &str, now: Timestamp) -> Book {
        Book {
            name: name.to_owned(),
            next_at: now,
            place: Place::default(),
            aside: None,
            status: LogStatus::default(),
        }
    }

    /// Says whether it is its turn; after the clock went back, it is.
    fn is_due(&self, now: Timestamp, config: &LogsConfig) -> bool {
        now >= self.next_at || self.next_at > now + config.interval.0
    }

    /// Reads what is new.
    fn turn(mut self, present: Option<&Present>, configured: Option<PathBuf>, turn: &Turn) -> Book {
        self.next_at = turn.now + turn.config.interval.0;
        match self.locate(present, configured) {
            Ok(true) => {}
            Ok(false) => {
                // It was not looked at yet.
                self.next_at = turn.now + TICK;
                return self;
            }
            Err(blind) => {
                self.status.blind = Some(blind);
                return self;
            }
        }
        self.status.troubles.clear();
        let outcome = self
            .read(turn)
            .or_else(|error| self.begin_anew(turn, error));
        if let Err(blind) = &outcome
            && self.status.blind.as_ref() != Some(blind)
        {
            tracing::info!(
                instance = self.name,
                "its log is not read: {}",
                blind.sentence()
            );
        }
        self.status.blind = outcome.err();
        self.remember(turn.now);
        self
    }

    /// Remembers what went wrong in this turn, so that it is told after it is right again too.
    fn remember(&mut self, now: Timestamp) {
        let status = &mut self.status;
        let blind = status.blind.as_ref().map(Blind::sentence);
        if let Some(what) = blind.or_else(|| status.troubles.first().cloned()) {
            status.last_error = Some(LogError { at: now, what });
        }
    }

    /// Finds out where the log is; false while nobody knows yet.
    fn locate(
        &mut self,
        present: Option<&Present>,
        configured: Option<PathBuf>,
    ) -> Result<bool, Blind> {
        let told = present.map(|present| &*present.facts);
        if let Some(facts) = told {
            self.learn(facts);
        }
        if configured.is_some() {
            self.place.log = configured;
            return Ok(true);
        }
        let server = told.map(|facts| &facts.server);
        match server {
            None => Ok(false),
            Some(Ok(server)) if !server.local => Err(Blind::NotLocal {
                what: "the server log".to_owned(),
            }),
            Some(Err(blind)) if self.place.log.is_none() && self.place.data.is_none() => {
                Err(blind.clone())
            }
            Some(_) => {
                let asked = told.is_some_and(|facts| {
                    let mut seen = facts.sightings.iter();
                    seen.any(|sighting| sighting.collector == "host-paths")
                });
                Ok(asked || self.place.log.is_some())
            }
        }
    }

    /// Keeps what the server tells of its log.
    fn learn(&mut self, facts: &Facts) {
        if let Ok(server) = &facts.server
            && let Some(data) = &server.data_directory
        {
            self.place.data = Some(PathBuf::from(data));
        }
        if let Some(log) = pawang_collect::log_directory(facts) {
            self.place.log = Some(log);
        }
        if let Ok(settings) = facts.snapshot("settings", None) {
            let setting = |name: &str| {
                let row = settings.rows().find(|row| row.text("name") == Some(name))?;
                row.text("setting").map(str::to_owned)
            };
            self.status.prefix = setting("log_line_prefix");
            self.status.zone = setting("log_timezone");
            self.place.collector_off = setting("logging_collector").as_deref() == Some("off");
        }
    }

    /// Sets a state aside that cannot be read any more; the next turn begins another one.
    fn begin_anew(&mut self, turn: &Turn, error: Unread) -> Result<(), Blind> {
        let error = match error {
            Unread::Place(blind) => return Err(blind),
            Unread::State(error) => error,
        };
        if !error.begin_anew() {
            return Err(failed(&error));
        }
        let aside = set_aside(&turn.state).map_err(|aside| Blind::Failed {
            what: format!("{error}; {aside}"),
        })?;
        let told = format!(
            "{error}: it was set aside as \"{}\", and the log is read anew",
            aside.display()
        );
        tracing::warn!(instance = self.name, "{told}");
        self.status.troubles.insert(0, told.clone());
        self.status.troubles.truncate(TROUBLES_MAX);
        self.aside = Some(told);
        self.next_at = turn.now + TICK;
        Ok(())
    }

    fn read(&mut self, turn: &Turn) -> Result<(), Unread> {
        let since = turn.now.checked_sub(turn.config.keep.0).unwrap_or(turn.now);
        let Place { log, data, .. } = &self.place;
        let found = log_files(log.as_deref(), data.as_deref(), since);
        let LogFiles { directory, files } = found.map_err(|blind| match blind {
            Blind::NotConfigured { key, .. } if self.place.collector_off => Blind::NotConfigured {
                key,
                what: "logging_collector is off, so the log goes where the server's standard error goes"
                    .to_owned(),
            },
            other => other,
        })?;
        let wish = Wish::told(self.status.prefix.as_deref(), self.status.zone.as_deref());
        let settings = Settings {
            threads: 1,
            piece_bytes: PIECE_BYTES,
            choose: &|head| choose(head, &wish),
        };
        let mut store = Store::<Tally>::open(&turn.state, Box::new(RealDisk), STEP_BYTES)?;
        let inputs: Vec<Input> = files.iter().map(Input::file).collect();
        let stop = || turn.stop.load(Ordering::Relaxed);
        let bound = Bound {
            bytes: TURN_BYTES_MAX,
            stop: &stop,
        };
        let step = store.run_within(&inputs, &settings, turn.now.as_second(), &bound)?;
        store.forget(since.as_second().div_euclid(HOUR_SECONDS))?;
        if step.more {
            self.next_at = turn.now + TICK;
        }
        let status = &mut self.status;
        status.directory = Some(directory);
        let older = files.len().saturating_sub(search::FILES_MAX);
        status.files = files.into_iter().skip(older).collect();
        status.read_at = Some(turn.now);
        status.bytes += step.source.bytes;
        status.records += step
            .source
            .files
            .iter()
            .map(|file| file.records)
            .sum::<u64>();
        status.behind_bytes = store.behind_bytes();
        status.positions = positions(&store);
        status.lost_files = step.gaps.len();
        status.lost_bytes = step.gaps.iter().map(|gap| gap.bytes).sum();
        status.troubles = troubles(self.aside.as_ref(), &step);
        Ok(())
    }
}

/// Returns how far the newest files were read.
fn positions(store: &Store<Tally>) -> Vec<LogPosition> {
    let mut positions: Vec<LogPosition> = store
        .progress()
        .map(|file| LogPosition {
            name: file.name,
            bytes: file.bytes,
            read_to: file.read_to,
            compressed: file.compressed,
            whole: file.whole,
        })
        .collect();
    let older = positions.len().saturating_sub(POSITIONS_MAX);
    positions.drain(..older);
    positions
}

/// Returns what was not read, and why.
fn troubles(aside: Option<&String>, step: &Step) -> Vec<String> {
    let files = step.source.files.iter();
    let unread =
        files.filter_map(|file| Some(format!("{}: {}", file.name, file.trouble.as_ref()?)));
    let lost = step.gaps.iter().map(|gap| {
        let (name, bytes) = (&gap.name, gap.bytes);
        format!("{name}: it is gone, and {bytes} bytes or more of it were never read")
    });
    let aside = aside.into_iter().cloned();
    aside.chain(unread).chain(lost).take(TROUBLES_MAX).collect()
}
