//! The daemon's main loop: signals, orders, reloads, the watchdog, and the orderly end.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pawang_config::ServeConfig;
use pawang_core::{Kind, Report, Timestamp};
use pawang_store::Store;
use pawang_store::live::{DaemonStatus, Live};
use pawang_web::{Command, Settings, Site};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::alarm::Alarm;
use super::backup::Backups;
use super::beat::SILENCE_MAX;
use super::control::{self, Answer, Order, Told, Wanted};
use super::fleet::Fleet;
use super::logbook::Logbook;
use super::notify::Notify;
use super::recorder::{Message, Recording, Thread};
use super::remote::Remotes;
use super::seen::Seen;
use super::setup::{self, Setup};
use super::shared::Shared;
use super::upkeep::Keeping;
use super::{Options, baselines, greet, journal, process, sessions, status};
use crate::output::Exit;

/// How often the daemon looks at itself.
const TICK: Duration = Duration::from_secs(2);
/// Orders that wait.
const ORDERS_MAX: usize = 8;
/// What the orderly end may take, part by part: workers, dashboard and maintenance, store.
const WORKERS_END_MAX: Duration = Duration::from_secs(5);
const SERVICES_END_MAX: Duration = Duration::from_secs(20);
const STORE_END_MAX: Duration = Duration::from_secs(20);
/// Services that the orderly end waits for.
const DASHBOARD: &str = "dashboard";
/// Notes that people see; the newest go first.
const NOTES_MAX: usize = 30;

/// Everything that was taken before the start.
pub(super) struct Parts {
    /// The command line.
    pub options: Options,
    /// The configuration in force.
    pub setup: Arc<Setup>,
    /// History and state.
    pub store: Store,
    /// The data directory.
    pub directory: PathBuf,
    /// What opening the store had to tell.
    pub notes: Vec<String>,
    /// How the dashboard is served.
    pub settings: Settings,
    /// TLS of the dashboard's own.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The dashboard's address.
    pub listener: TcpListener,
    /// The present of the estate.
    pub live: Arc<Live>,
    /// The way to the recorder.
    pub recording: Recording,
    /// The recorder.
    pub thread: Thread,
    /// The clock.
    pub now: fn() -> Timestamp,
}

impl Parts {
    /// Returns the dashboard's address as people open it.
    fn address(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.settings.listen)
    }
}

/// The daemon while it runs.
pub(super) struct Daemon {
    options: Options,
    setup: Arc<Setup>,
    store: Store,
    directory: PathBuf,
    address: String,
    notes: Vec<String>,
    restart_notes: Vec<String>,
    remote_notes: Vec<String>,
    started_with: ServeConfig,
    started_at: Timestamp,
    config_refused: Option<Report>,
    shared: Arc<Shared>,
    thread: Thread,
    alarm: Alarm,
    fleet: Fleet,
    remotes: Remotes,
    logbook: Logbook,
    /// The way to the task that ends sessions.
    sessions: mpsc::Sender<sessions::Work>,
    /// Dashboard and control socket.
    services: JoinSet<&'static str>,
    web_stop: watch::Sender<bool>,
    keeping: Keeping,
    backups: Backups,
    orders: mpsc::Receiver<Order>,
    commands: mpsc::Receiver<Command>,
    notify: Notify,
    signals: Signals,
}

/// Starts the task that ends sessions, and returns the way to it.
fn start_learning(services: &mut JoinSet<&'static str>, shared: &Arc<Shared>, alarm: &Alarm) {
    let learning = baselines::run(Arc::clone(shared), alarm.setups());
    services.spawn(async move {
        learning.await;
        "task that learns what is usual"
    });
}

fn start_sessions(
    services: &mut JoinSet<&'static str>,
    store: &Store,
    now: fn() -> Timestamp,
) -> mpsc::Sender<sessions::Work> {
    let (sender, orders) = mpsc::channel(sessions::ORDERS_MAX);
    let ending = sessions::run(orders, store.clone(), now);
    services.spawn(async move {
        ending.await;
        "task that ends sessions"
    });
    sender
}

/// Starts the tasks that maintain and that keep backups.
fn start_keeping(
    services: &mut JoinSet<&'static str>,
    setup: &Arc<Setup>,
    shared: &Arc<Shared>,
    directory: &Path,
) -> (Keeping, Backups) {
    let keeping = Keeping::start(services, setup, shared);
    (keeping, Backups::start(services, setup, shared, directory))
}

struct Signals {
    hang_up: Signal,
    interrupt: Signal,
    terminate: Signal,
}

/// What the main loop heard.
enum Event {
    Reload,
    End,
    Tick,
    Order(Order),
    Command(Command),
    WorkerBroke,
    /// Maintenance of an instance has ended.
    Maintained(String),
    ServiceEnded(&'static str),
}

fn no_instance(name: &str) -> Answer {
    let report = Report::new(Kind::Usage, format!("there is no instance \"{name}\""));
    Answer::Refused(vec![Told::from(&report)])
}

impl Daemon {
    /// Starts everything.
    ///
    /// # Errors
    /// The control socket or the signals cannot be had.
    pub(super) fn start(parts: Parts) -> Result<Daemon, Report> {
        let now = (parts.now)();
        let address = parts.address();
        let (alarm, alerting) =
            Alarm::start(&parts.setup.alerts, &parts.store, &parts.live, parts.now)?;
        let shared = Arc::new(Shared {
            live: Arc::clone(&parts.live),
            store: Some(parts.store.clone()),
            recording: parts.recording,
            alerting: alerting.clone(),
            outlets: Mutex::default(),
            thinking: Semaphore::new(1),
            now: parts.now,
        });
        let (commands_sender, commands) = mpsc::channel(ORDERS_MAX);
        let (orders_sender, orders) = mpsc::channel(ORDERS_MAX);
        let (web_stop, web_stopped) = watch::channel(false);
        let site = Arc::new(Site {
            live: parts.live,
            store: parts.store.clone(),
            settings: parts.settings,
            commands: commands_sender,
            setup: alarm.setups(),
            logs: Default::default(),
            now: parts.now,
        });
        let socket = control::listen(&parts.directory)?;
        let listener = tokio::net::TcpListener::from_std(parts.listener).map_err(start_report)?;
        let mut services = JoinSet::new();
        services.spawn(async move {
            control::serve(socket, orders_sender, alerting).await;
            "control socket"
        });
        start_learning(&mut services, &shared, &alarm);
        let logbook = read_logs(&mut services, &parts.setup, &shared, &parts.directory);
        let kept = start_keeping(&mut services, &parts.setup, &shared, &parts.directory);
        let sessions = start_sessions(&mut services, &parts.store, parts.now);
        services.spawn(async move {
            pawang_web::serve(listener, parts.tls, site, web_stopped).await;
            DASHBOARD
        });
        let mut daemon = Daemon {
            options: parts.options,
            store: parts.store,
            directory: parts.directory,
            address,
            notes: parts.notes,
            restart_notes: Vec::new(),
            remote_notes: Vec::new(),
            started_with: parts.setup.estate.config.serve.clone(),
            setup: parts.setup,
            started_at: now,
            config_refused: None,
            shared,
            thread: parts.thread,
            alarm,
            fleet: Fleet::default(),
            remotes: Remotes::default(),
            logbook,
            sessions,
            services,
            web_stop,
            keeping: kept.0,
            backups: kept.1,
            orders,
            commands,
            notify: Notify::from_environment(),
            signals: Signals::new()?,
        };
        daemon.begin();
        Ok(daemon)
    }

    fn begin(&mut self) {
        self.set_remotes();
        self.tell_status();
        let names = self.setup.jobs.keys();
        self.fleet.start(names, &self.setup, &self.shared);
        let detail = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "listen": self.address,
            "instances": self.setup.jobs.len(),
        });
        journal(&self.store, "daemon.start", "done", detail);
        greet(&self.address, self.setup.jobs.len(), &self.directory);
        self.notify.ready(&self.summary());
    }

    /// Runs until a signal, or until something ends that must not.
    pub(super) async fn run(mut self) -> Exit {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watchdog = self.notify.watchdog.map(|every| every / 3);
        let mut alive_at = tokio::time::Instant::now();
        let exit = loop {
            match self.event(&mut tick).await {
                Event::Reload => {
                    let _ = self.reload("signal").await;
                }
                Event::End => break Exit::Good,
                Event::Tick if self.thread.is_finished() => {
                    tracing::error!("the recorder ended by itself: the daemon ends too");
                    break Exit::Refused;
                }
                Event::Tick if self.alarm.is_finished() => {
                    tracing::error!("the alerts ended by themselves: the daemon ends too");
                    break Exit::Refused;
                }
                Event::Tick => {
                    self.fleet.mend(&self.setup, &self.shared);
                    self.tell_status();
                    let moves = self.moves().await;
                    if watchdog.is_some_and(|every| alive_at.elapsed() >= every) && moves {
                        alive_at = tokio::time::Instant::now();
                        self.notify.alive();
                    }
                }
                Event::Order(order) => {
                    let answer = self.answer(order.wanted).await;
                    // Whoever asked may have hung up.
                    let _ = order.answer.send(answer);
                }
                Event::Command(command) => self.obey(command).await,
                Event::WorkerBroke => {}
                // What was seen before is not how it is now.
                Event::Maintained(instance) => drop(self.fleet.wake(&instance)),
                Event::ServiceEnded(what) => {
                    tracing::error!("the {what} ended by itself: the daemon ends too");
                    break Exit::Refused;
                }
            }
        };
        self.end(exit).await
    }

    async fn event(&mut self, tick: &mut tokio::time::Interval) -> Event {
        tokio::select! {
            _ = self.signals.hang_up.recv() => Event::Reload,
            _ = self.signals.interrupt.recv() => Event::End,
            _ = self.signals.terminate.recv() => Event::End,
            _ = tick.tick() => Event::Tick,
            Some(order) = self.orders.recv() => Event::Order(order),
            Some(command) = self.commands.recv() => Event::Command(command),
            () = self.fleet.broke() => Event::WorkerBroke,
            Some(instance) = self.keeping.maintained.recv() => Event::Maintained(instance),
            Some(ended) = self.services.join_next() => {
                Event::ServiceEnded(ended.unwrap_or("dashboard or control socket"))
            }
        }
    }

    /// Ends everything in order; a second signal ends it at once.
    async fn end(mut self, exit: Exit) -> Exit {
        self.notify.stopping();
        tracing::info!("ending");
        let mut signals = std::mem::replace(
            &mut self.signals,
            match Signals::new() {
                Ok(signals) => signals,
                Err(_) => return Exit::Interrupted,
            },
        );
        tokio::select! {
            () = self.end_in_order(exit) => exit,
            _ = signals.interrupt.recv() => Exit::Interrupted,
            _ = signals.terminate.recv() => Exit::Interrupted,
        }
    }

    async fn end_in_order(self, exit: Exit) {
        let Daemon {
            mut fleet,
            mut services,
            web_stop,
            keeping,
            backups,
            mut remotes,
            logbook,
            shared,
            thread,
            alarm,
            store,
            directory,
            orders,
            commands,
            ..
        } = self;
        drop((orders, commands));
        web_stop.send_replace(true);
        logbook.stop();
        keeping.stop();
        backups.stop();
        fleet.stop_all(WORKERS_END_MAX).await;
        shared.set_outlets(Vec::new());
        remotes.stop().await;
        // The control socket would listen for ever; the dashboard ends by itself, within its time.
        let drained = timeout(SERVICES_END_MAX, async {
            let mut awaited = vec![DASHBOARD, Keeping::NAME, Backups::NAME];
            while !awaited.is_empty() {
                let Some(ended) = services.join_next().await else {
                    break;
                };
                awaited.retain(|name| !ended.as_ref().is_ok_and(|ended| ended == name));
            }
        });
        if drained.await.is_err() {
            tracing::warn!(
                "some requests were not answered, or some maintenance not stopped, in time"
            );
        }
        services.shutdown().await;
        control::remove(&directory);
        drop(shared);
        let told = alarm.stop().await;
        let whole = thread.join(STORE_END_MAX).await && told;
        if !whole {
            tracing::error!("the store did not take everything in time");
        }
        let outcome = if whole && exit == Exit::Good {
            "done"
        } else {
            "failed"
        };
        journal(
            &store,
            "daemon.stop",
            outcome,
            json!({ "pid": std::process::id() }),
        );
    }

    async fn answer(&mut self, wanted: Wanted) -> Answer {
        match wanted {
            Wanted::Reload => match self.reload("pawang serve reload").await {
                Ok(outcome) => Answer::Done(outcome),
                Err(reports) => Answer::Refused(reports.iter().map(Told::from).collect()),
            },
            Wanted::Status => {
                self.tell_status();
                let status = status::status(&self.shared.live, &self.address);
                Answer::Done(serde_json::to_value(status).unwrap_or_default())
            }
            Wanted::Alert(_) | Wanted::External(_) => {
                unreachable!("the control socket asks the alerts itself")
            }
            Wanted::Present(name) => match self.shared.live.instance(&name) {
                Some(present) => {
                    let seen = Seen::of(&present);
                    Answer::Done(serde_json::to_value(seen).unwrap_or_default())
                }
                None => no_instance(&name),
            },
            Wanted::Look(name) if self.fleet.wake(&name) => {
                self.keeping.changed(name);
                Answer::Done(serde_json::Value::Null)
            }
            Wanted::Look(name) => no_instance(&name),
        }
    }

    async fn obey(&mut self, command: Command) {
        // Whoever asked may have hung up.
        match command {
            Command::Alert { order, answer } => {
                let done = self.shared.alerting.order_of_dashboard(order).await;
                let _ = answer.send(done);
            }
            Command::External { alerts, answer } => {
                let taken = self.shared.alerting.external(alerts).await;
                let busy = || {
                    let report = Report::new(Kind::Refused, "could not take the alerts");
                    report.with_detail("the daemon is busy")
                };
                let _ = answer.send(taken.then_some(()).ok_or_else(busy));
            }
            Command::Reload { answer } => {
                let outcome = self.reload("dashboard").await;
                let _ = answer.send(outcome.map(drop));
            }
            Command::Ask { instance, answer } => {
                let _ = answer.send(self.fleet.wake(&instance));
            }
            command @ (Command::PlanSessions { .. } | Command::ApplySessions { .. }) => {
                let setup = Arc::clone(&self.setup);
                // A full channel drops the order and with it the way to its answer: the dashboard says that it is busy.
                let _ = self.sessions.try_send(sessions::Work { command, setup });
            }
        }
    }

    /// Reads the configuration again; a wrong one is refused whole, and the one in force stays.
    async fn reload(&mut self, by: &str) -> Result<serde_json::Value, Vec<Report>> {
        self.notify.reloading();
        let file = self
            .setup
            .estate
            .file
            .clone()
            .or_else(|| self.options.config.clone());
        let instances = self.options.instances.clone();
        let now = (self.shared.now)();
        let read = move || Setup::read(file.as_deref(), &instances, now);
        let read = tokio::task::spawn_blocking(read)
            .await
            .unwrap_or_else(|error| {
                let report = Report::new(Kind::Usage, "could not read the configuration");
                Err(vec![report.with_detail(error.to_string())])
            });
        let outcome = match read {
            Ok(setup) => Ok(self.take_setup(Arc::new(setup)).await),
            Err(reports) => {
                self.config_refused = Some(combined(&reports));
                Err(reports)
            }
        };
        let (word, detail) = match &outcome {
            Ok(detail) => ("done", detail.clone()),
            Err(reports) => {
                let reasons: Vec<&str> = reports.iter().map(|r| r.primary.as_str()).collect();
                ("refused", json!({ "reasons": reasons }))
            }
        };
        if let Err(reports) = &outcome {
            let report = combined(reports);
            tracing::error!(
                detail = report.detail.as_deref(),
                "the configuration was refused, and the one before stays: {}",
                report.primary
            );
        }
        let detail = json!({ "by": by, "detail": detail });
        journal(&self.store, "daemon.reload", word, detail);
        self.tell_status();
        self.notify.ready(&self.summary());
        outcome
    }

    /// Puts another configuration in force; instances that are the same in both go on untouched.
    async fn take_setup(&mut self, new: Arc<Setup>) -> serde_json::Value {
        let old = std::mem::replace(&mut self.setup, Arc::clone(&new));
        self.config_refused = None;
        let removed: Vec<String> = old
            .jobs
            .keys()
            .filter(|name| !new.jobs.contains_key(*name))
            .cloned()
            .collect();
        let changed: Vec<String> = new
            .jobs
            .keys()
            .filter(|name| old.jobs.contains_key(*name) && !old.same_instance(&new, name))
            .cloned()
            .collect();
        let added: Vec<String> = new
            .jobs
            .keys()
            .filter(|name| !old.jobs.contains_key(*name))
            .cloned()
            .collect();
        let ended: Vec<String> = removed.iter().chain(&changed).cloned().collect();
        self.keeping.take_setup(&new);
        self.backups.take_setup(&new);
        self.fleet.stop(&ended, WORKERS_END_MAX).await;
        for name in &removed {
            self.shared.forget(name).await;
        }
        if !Arc::ptr_eq(&old.alerts, &new.alerts) {
            self.alarm
                .take_setup(&new.alerts, &self.shared.alerting)
                .await;
        }
        self.fleet.take_setup(&new);
        self.logbook.take_setup(&new);
        let begun = changed.iter().chain(&added);
        self.fleet.start(begun, &new, &self.shared);
        let config = &new.estate.config.serve;
        let retention = setup::retention(&config.retention);
        self.shared
            .recording
            .send(Message::Retention(retention))
            .await;
        if old.estate.config.serve.remote_write != config.remote_write {
            self.shared.set_outlets(Vec::new());
            self.remotes.stop().await;
            self.set_remotes();
        }
        self.restart_notes = setup::needs_restart(&self.started_with, config);
        for warning in new.estate.config.warnings.iter().chain(&self.restart_notes) {
            tracing::warn!("{warning}");
        }
        tracing::info!(
            ?added,
            ?removed,
            ?changed,
            "the configuration was read again"
        );
        json!({
            "instances": new.jobs.len(),
            "added": added,
            "removed": removed,
            "changed": changed,
            "warnings": new.estate.config.warnings,
            "needs_restart": self.restart_notes,
        })
    }

    fn set_remotes(&mut self) {
        let stores = &self.setup.estate.config.serve.remote_write;
        let now = self.shared.now;
        let (outlets, notes) = self.remotes.start(stores, &self.directory, now);
        self.shared.set_outlets(outlets);
        for note in &notes {
            tracing::error!("{note}");
        }
        self.remote_notes = notes;
    }

    /// Replaces what readers see of the daemon itself.
    fn tell_status(&mut self) {
        let news = self.thread.news.borrow().clone();
        let mut notes = self.restart_notes.clone();
        notes.extend(self.remote_notes.iter().cloned());
        notes.extend(news.notes);
        notes.extend(self.notes.iter().cloned());
        notes.truncate(NOTES_MAX);
        self.shared.live.put_daemon(DaemonStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            config_file: self.setup.estate.file.clone(),
            config_loaded_at: self.setup.read_at,
            config_refused: self.config_refused.clone(),
            store: news.status,
            memory_bytes: process::memory_bytes(),
            cpu_time: process::cpu_time(),
            remote_writes: self.remotes.status(),
            notes,
        });
    }

    /// Says whether everything shows signs of life; systemd is only told so while it does.
    async fn moves(&self) -> bool {
        let threads = [
            ("recorder", &*self.thread.beat),
            ("alerts", self.alarm.beat()),
        ];
        let still = threads
            .into_iter()
            .filter(|(_, beat)| beat.silence() > SILENCE_MAX);
        let mut silent: Vec<String> = still.map(|(name, _)| name.to_owned()).collect();
        let workers = self.fleet.silent(SILENCE_MAX).into_iter();
        silent.extend(workers.map(str::to_owned));
        self.alarm.tell_moves(&silent, &self.shared.alerting).await;
        silent.is_empty()
    }

    fn summary(&self) -> String {
        format!(
            "observing {} instances, {}",
            self.setup.jobs.len(),
            self.address
        )
    }
}

impl Signals {
    fn new() -> Result<Signals, Report> {
        Ok(Signals {
            hang_up: signal(SignalKind::hangup()).map_err(start_report)?,
            interrupt: signal(SignalKind::interrupt()).map_err(start_report)?,
            terminate: signal(SignalKind::terminate()).map_err(start_report)?,
        })
    }
}

/// Begins to read the logs of servers on this machine.
fn read_logs(
    services: &mut JoinSet<&'static str>,
    setup: &Arc<Setup>,
    shared: &Arc<Shared>,
    directory: &Path,
) -> Logbook {
    let (logbook, reading) = Logbook::new(setup);
    let reading = reading.run(Arc::clone(shared), directory.to_owned());
    services.spawn(async move {
        reading.await;
        "task that reads logs"
    });
    logbook
}

fn start_report(error: std::io::Error) -> Report {
    Report::new(Kind::Refused, "could not start").with_detail(error.to_string())
}

/// Returns the first of several reports, with how many more there are.
fn combined(reports: &[Report]) -> Report {
    let first = reports.first().cloned();
    let mut report =
        first.unwrap_or_else(|| Report::new(Kind::Usage, "the configuration has mistakes"));
    if reports.len() > 1 {
        let more = format!("and {} more mistakes", reports.len() - 1);
        report.detail = Some(match report.detail.take() {
            Some(detail) => format!("{detail}\n{more}"),
            None => more,
        });
        report.hint = Some("pawang config check".to_owned());
    }
    report
}
