//! A small estate: real servers observed into the present and a real store, and the dashboard served on a free port.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use pawang_alert::book::{Book, Event, Subject};
use pawang_alert::setup::Setup;
use pawang_check::{CHECKS, Check, evaluate_all};
use pawang_collect::{Catalog, HostRequest, Observer, Request, activity};
use pawang_config::{MetricsConfig, QueryText};
use pawang_core::alert::{Changes, Saved};
use pawang_core::plan::{Action, Plan, SessionKey, State, Task, World};
use pawang_core::{Facts, Instance, Kind, Report, Sighting, Snapshot, Timestamp};
use pawang_postgres::{Environment, Target};
use pawang_store::live::{BudgetStatus, CollectorStatus, DaemonStatus, Live, Present};
use pawang_store::{Recorder, Store};
use pawang_web::{Applied, Command, Planned, Settings, Site};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Samples that the present keeps.
const SAMPLES_MAX: usize = 300;
/// Samples that are folded into one snapshot of the history.
const FOLDED: usize = 5;

/// Servers that are looked at, and what is known and remembered of them.
pub(crate) struct Estate {
    pub(crate) live: Arc<Live>,
    pub(crate) store: Store,
    /// Alerting as it is configured.
    pub(crate) setup: watch::Sender<Arc<Setup>>,
    /// Alerts, once there is alerting.
    book: Arc<Mutex<Option<Book>>>,
    recorder: Recorder,
    watched: Vec<Watched>,
    _directory: TempDir,
}

struct Watched {
    instance: Instance,
    target: Target,
    observer: Observer,
    older: Option<Facts>,
    samples: Vec<Arc<Snapshot>>,
}

/// A dashboard that is being served, until this is dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) site: Arc<Site>,
    /// What the next reload answers.
    pub(crate) refusal: Arc<Mutex<Vec<Report>>>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Returns the time; the harness is the edge where it comes from.
#[expect(clippy::disallowed_methods, reason = "a test is its own clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Returns settings for a free loopback port where nobody signs in.
pub(crate) fn settings() -> Settings {
    Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        sign_in: false,
        sign_in_configured: Some(false),
        secure: false,
        hosts: Vec::new(),
        query_text: QueryText::Normalised,
        metrics: MetricsConfig::default(),
    }
}

impl Estate {
    /// Returns an estate without instances.
    pub(crate) fn new() -> Estate {
        Estate::within(tempfile::tempdir().unwrap())
    }

    /// Returns an estate without instances whose folder `data` is within a directory.
    pub(crate) fn within(directory: TempDir) -> Estate {
        let opened = Store::open(&directory.path().join("data"), now()).unwrap();
        let live = Arc::new(Live::default());
        live.put_daemon(DaemonStatus {
            version: "0.1.0".to_owned(),
            started_at: now(),
            config_loaded_at: now(),
            memory_bytes: 30 << 20,
            ..DaemonStatus::default()
        });
        Estate {
            live,
            recorder: Recorder::new(opened.store.clone()),
            store: opened.store,
            setup: watch::Sender::new(Arc::default()),
            book: Arc::default(),
            watched: Vec::new(),
            _directory: directory,
        }
    }

    /// Makes alerts of findings from now on, as a configuration says.
    pub(crate) fn alert(&mut self, toml: &str) {
        let config = pawang_config::parse(toml, "pawang.toml").unwrap();
        let setup = Arc::new(Setup::compile(&config).unwrap());
        let book = Book::new(Arc::clone(&setup), Saved::default(), now());
        self.live.put_alerts(book.present(now()));
        self.setup.send_replace(setup);
        *self.book.lock().unwrap() = Some(book);
    }

    /// Lets something happen to alerts.
    pub(crate) fn happen(&self, event: Event) {
        let mut book = self.book.lock().unwrap();
        if let Some(book) = book.as_mut() {
            let changes = book.step(event, now());
            self.store.state().save_alerts(&changes).unwrap();
            self.live.put_alerts(book.present(now()));
        }
    }

    /// Adds a server by its URL.
    pub(crate) fn watch(&mut self, name: &str, group: &str, url: &str) {
        self.watched.push(Watched {
            instance: Instance {
                name: name.to_owned(),
                group: Some(group.to_owned()),
                ..Instance::default()
            },
            target: Target::parse(url, &Environment::default()).unwrap(),
            observer: Observer::default(),
            older: None,
            samples: Vec::new(),
        });
    }

    /// Samples the active sessions of all servers once.
    pub(crate) async fn sample(&mut self) {
        for watched in &mut self.watched {
            watched.sample().await;
        }
    }

    /// Looks at all servers once: facts, verdicts, history, present.
    pub(crate) async fn look(&mut self) {
        let mut judged = Vec::new();
        for watched in &mut self.watched {
            let facts = watched.look().await;
            let checks: Vec<&'static Check> = CHECKS.clone();
            let evaluation = evaluate_all(&checks, &facts, watched.older.as_ref(), &());
            self.recorder.offer(facts.clone());
            let since = self.recorder.judge(&evaluation);
            let evaluation = Arc::new(evaluation);
            judged.push((watched.instance.clone(), Arc::clone(&evaluation)));
            let answered = facts.server.is_ok().then_some(facts.at);
            self.live.put(Present {
                instance: watched.instance.clone(),
                labels: [("site".to_owned(), "jakarta".to_owned())].into(),
                collectors: statuses(&facts),
                facts: Arc::new(facts.clone()),
                evaluation: Some(evaluation),
                since: Arc::new(since),
                budget: BudgetStatus {
                    limit_percent: 0.5,
                    used_percent: 0.2,
                    stretch: 1.0,
                    note: None,
                },
                activity: watched.samples.clone().into(),
                answered_at: answered,
            });
            watched.older = Some(facts);
        }
        for (instance, evaluation) in judged {
            let subject = Arc::new(Subject {
                name: instance.name,
                group: instance.group,
                ..Subject::default()
            });
            self.happen(Event::Judged {
                evaluation,
                asked: None,
                subject,
            });
        }
        self.happen(Event::Tick);
        let status = self.recorder.flush(now()).clone();
        let daemon = DaemonStatus::clone(&self.live.daemon());
        self.live.put_daemon(DaemonStatus {
            store: status,
            ..daemon
        });
    }

    /// Serves the estate.
    pub(crate) async fn serve(&self, settings: Settings) -> Served {
        self.serve_with(settings, None).await
    }

    /// Serves the estate, with TLS when there is a configuration.
    pub(crate) async fn serve_with(
        &self,
        settings: Settings,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Served {
        let listener = TcpListener::bind(settings.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (commands, orders) = mpsc::channel(8);
        let site = Arc::new(Site {
            live: Arc::clone(&self.live),
            store: self.store.clone(),
            settings: Settings {
                listen: address,
                ..settings
            },
            commands,
            setup: self.setup.subscribe(),
            logs: Default::default(),
            now,
        });
        let (stop, stopped) = watch::channel(false);
        let refusal = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let daemon = Daemon {
            live: Arc::clone(&self.live),
            store: self.store.clone(),
            book: Arc::clone(&self.book),
            refusal: Arc::clone(&refusal),
        };
        tasks.spawn(daemon.obey(orders));
        tasks.spawn(pawang_web::serve(listener, tls, Arc::clone(&site), stopped));
        Served {
            address,
            site,
            refusal,
            stop,
            tasks,
        }
    }
}

impl Served {
    /// Tells the server to stop and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.stop.send(true).unwrap();
        drop(self.site);
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Watched {
    async fn sample(&mut self) {
        let (catalog, collectors) = (Catalog::built_in(), BTreeSet::new());
        let mut observer = std::mem::take(&mut self.observer);
        let request = self.request(&catalog, &collectors);
        if let Ok(sample) = observer.sample(&request).await {
            self.samples.push(Arc::new(sample));
        }
        self.observer = observer;
        let old = self.samples.len().saturating_sub(SAMPLES_MAX);
        self.samples.drain(..old);
    }

    async fn look(&mut self) -> Facts {
        let catalog = Catalog::built_in();
        let collectors = catalog.collectors.keys().cloned().collect();
        let mut observer = std::mem::take(&mut self.observer);
        let request = self.request(&catalog, &collectors);
        let mut facts = observer.look(&request).await;
        self.observer = observer;
        let newest = self.samples.len().saturating_sub(FOLDED);
        let folded = activity::fold(&self.samples[newest..], facts.at);
        facts.sightings.retain(|sighting| {
            sighting.collector != activity::HISTORY && sighting.collector != activity::SAMPLES
        });
        facts.sightings.push(Sighting {
            collector: activity::HISTORY.to_owned(),
            database: None,
            seen: Ok(Arc::new(folded)),
        });
        facts
    }

    fn request<'a>(
        &'a self,
        catalog: &'a Catalog,
        collectors: &'a BTreeSet<String>,
    ) -> Request<'a> {
        Request {
            instance: &self.instance,
            target: &self.target,
            purpose: "test",
            catalog,
            collectors,
            questions: &[],
            databases: &[],
            pgbouncer: None,
            patroni: None,
            host: HostRequest::default(),
            backups: &[],
            now: now(),
        }
    }
}

/// What answers orders as the daemon would.
struct Daemon {
    live: Arc<Live>,
    store: Store,
    book: Arc<Mutex<Option<Book>>>,
    refusal: Arc<Mutex<Vec<Report>>>,
}

impl Daemon {
    async fn obey(self, mut orders: mpsc::Receiver<Command>) {
        while let Some(order) = orders.recv().await {
            // Whoever asked may have hung up.
            match order {
                Command::Reload { answer } => {
                    let reports = self.refusal.lock().unwrap().clone();
                    let result = match reports.is_empty() {
                        true => Ok(()),
                        false => Err(reports),
                    };
                    let _ = answer.send(result);
                }
                Command::Ask { instance, answer } => {
                    let _ = answer.send(self.live.instance(&instance).is_some());
                }
                Command::Alert { order, answer } => {
                    let _ = answer.send(self.alert(|book| book.order(&order, now())));
                }
                Command::PlanSessions {
                    instance, answer, ..
                } => {
                    let _ = answer.send(Ok(planned(&instance)));
                }
                Command::ApplySessions {
                    instance,
                    plan,
                    typed,
                    answer,
                    ..
                } => {
                    let _ = answer.send(applied(&instance, &plan, &typed));
                }
                Command::External { alerts, answer } => {
                    let step =
                        |book: &mut Book| Ok(((), book.step(Event::External(alerts), now())));
                    let _ = answer.send(self.alert(step));
                }
            }
        }
    }

    fn alert<T>(
        &self,
        step: impl FnOnce(&mut Book) -> Result<(T, Changes), Report>,
    ) -> Result<T, Report> {
        let mut book = self.book.lock().unwrap();
        let Some(book) = book.as_mut() else {
            return Err(report("alerting does not run"));
        };
        let (done, changes) = step(book)?;
        self.store.state().save_alerts(&changes).unwrap();
        self.live.put_alerts(book.present(now()));
        Ok(done)
    }
}

/// Returns a report such as a refused configuration makes.
pub(crate) fn report(primary: &str) -> Report {
    Report::new(Kind::Usage, primary)
}

fn statuses(facts: &Facts) -> Arc<[CollectorStatus]> {
    let catalog = Catalog::built_in();
    let status = |sighting: &Sighting| {
        let interval = catalog.collector(&sighting.collector).header.interval;
        let snapshot = sighting.seen.as_ref().ok();
        CollectorStatus {
            name: sighting.collector.clone(),
            interval,
            interval_now: interval,
            asked_at: Some(facts.at),
            elapsed: snapshot.map(|s| s.cost.elapsed).unwrap_or_default(),
            rows: snapshot.map_or(0, |s| s.rows.len()),
            percent: 0.001,
            runs: 1,
            failures: 0,
            blind: match &sighting.seen {
                Err(pawang_core::Missing::Blind(blind)) => Some(blind.clone()),
                _ => None,
            },
        }
    };
    facts.sightings.iter().map(status).collect()
}

/// Returns a plan as the daemon would make it: one session is ended.
fn planned(instance: &str) -> Planned {
    let task = Task::TerminateBackend {
        session: SessionKey {
            pid: 4711,
            backend_start: now(),
        },
    };
    let action = Action {
        id: "terminate-backend:dwh:pid 4711".to_owned(),
        database: "dwh".to_owned(),
        object: task.object(),
        sql: vec!["SELECT pg_terminate_backend(4711)".to_owned()],
        reason: "it is idle in transaction for 9 h; 2 sessions have waited for it".to_owned(),
        evidence: vec![("session".to_owned(), "6743b2f1.1267".to_owned())],
        lock: task.lock(),
        guard: task.guard(),
        risk: task.risk(),
        cost: pawang_core::plan::Cost::default(),
        expected: BTreeMap::new(),
        verify: String::new(),
        undo: "none: the client must reconnect".to_owned(),
        task,
    };
    let plan = Plan {
        format: 1,
        title: "session terminate".to_owned(),
        world: World {
            instance: instance.to_owned(),
            system_identifier: None,
            timeline: None,
            version: 180_000,
        },
        made_at: now(),
        made_by: "test".to_owned(),
        actions: vec![action],
        left: Vec::new(),
    };
    Planned {
        plan,
        hash: "feed".to_owned(),
        production: true,
    }
}

/// Applies it only with the name typed.
fn applied(instance: &str, hash: &str, typed: &str) -> Result<Applied, Report> {
    let planned = planned(instance);
    if hash != planned.hash || typed != instance {
        return Err(Report::new(
            Kind::Refused,
            "the name of the instance was not typed",
        ));
    }
    let done = pawang_core::plan::Done {
        id: planned.plan.actions[0].id.clone(),
        state: State::Done,
        detail: "everybody who waited goes on".to_owned(),
        hint: None,
        started_at: now(),
        ended_at: now(),
        tries: 1,
        before: BTreeMap::new(),
        after: BTreeMap::new(),
        impact: pawang_core::plan::Impact::default(),
    };
    Ok(Applied {
        outcome: pawang_core::plan::Outcome {
            plan: hash.to_owned(),
            actions: vec![done],
        },
        planned,
        waited: 2,
        waiting: 0,
    })
}
