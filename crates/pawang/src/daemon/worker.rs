//! One instance: asks what is due, samples, judges, and hands everything on; knows no other instance.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pawang_collect::schedule::Schedule;
use pawang_collect::{BackupPlace, HostRequest, Observer, Question, Request, activity};
use pawang_config::QueryText;
use pawang_core::backup::BackupFacts;
use pawang_core::{Blind, Evaluation, Facts, Role, Sighting, Snapshot, Timestamp};
use pawang_store::live::{BudgetStatus, CollectorStatus, Present};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::beat::Beat;
use super::judge::{self, Pending, Told};
use super::known::Known;
use super::rates::Rates;
use super::sampling::Sampling;
use super::setup::Setup;
use super::shared::Shared;
use super::subject;
use super::texts::{self, Asked};
use crate::environment;
use crate::estate::Job;

/// No round takes longer; one that does is dropped, and its connection with it.
const ROUND_MAX: Duration = Duration::from_secs(150);
/// Remembering what an earlier daemon saw takes no longer.
const RECALL_MAX: Duration = Duration::from_secs(20);
/// No sample takes longer.
const SAMPLE_MAX: Duration = Duration::from_secs(15);
/// Checks are asked at most so often: what a sample proves is told within a second.
const JUDGE_EVERY: Duration = Duration::from_millis(250);
/// What checks measured is remembered so often.
const MEASURE_EVERY: Duration = Duration::from_secs(60);
/// Statements of the user's are asked so often; the budget holds for them too.
const QUESTIONS_EVERY: Duration = Duration::from_secs(60);
/// Folders of backups are looked at so often.
const BACKUPS_EVERY: Duration = Duration::from_secs(300);
/// In an estate of at most so many instances everything is asked at once at the start; in a larger one, within a minute.
const AT_ONCE_MAX: usize = 10;
/// A connection that broke between two rounds wakes everything up, but not more often than this.
const WAKE_EVERY: Duration = Duration::from_secs(15);
/// The longest sleep: a clock that jumps is noticed by then.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// The shortest sleep, so that nothing ever spins.
const SLEEP_MIN: Duration = Duration::from_millis(10);

/// How a worker is told what to do.
pub(super) struct Orders {
    /// Whether to end.
    pub stop: watch::Receiver<bool>,
    /// The configuration in force.
    pub setup: watch::Receiver<Arc<Setup>>,
    /// Everything is asked now.
    pub wake: mpsc::Receiver<()>,
    /// Its signs of life.
    pub beat: Arc<Beat>,
}

/// Everything that is known and due of one instance.
pub(super) struct Worker {
    name: String,
    setup: Arc<Setup>,
    shared: Arc<Shared>,
    observer: Observer,
    schedule: Schedule,
    sampling: Sampling,
    known: Known,
    rates: Rates,
    asked: Asked,
    pending: Pending,
    told: Told,
    /// The store's answer to the newest evaluation, while it is awaited.
    answer: Option<oneshot::Receiver<BTreeMap<String, Timestamp>>>,
    shown: Shown,
    judged_at: Option<Timestamp>,
    measured_at: Timestamp,
    woken_at: Timestamp,
    places: Places,
    /// What is known of repositories, as it was taken over last.
    repositories: Option<Arc<BackupFacts>>,
    /// System identifier and role, as last seen.
    identity: Option<(u64, Role)>,
    /// All databases of the server, as the last round saw them.
    listed: Vec<String>,
}

/// What readers see, part by part, so that replacing one part copies none of the others.
struct Shown {
    facts: Arc<Facts>,
    evaluation: Option<Arc<Evaluation>>,
    since: Arc<BTreeMap<String, Timestamp>>,
    collectors: Arc<[CollectorStatus]>,
    budget: BudgetStatus,
    activity: Arc<[Arc<Snapshot>]>,
    answered_at: Option<Timestamp>,
}

/// Where a local server keeps its files, as last seen: needed when it is down.
#[derive(Default)]
struct Places {
    data: Option<PathBuf>,
    log: Option<PathBuf>,
}

/// What one round asks, owned, so that the request can borrow it.
struct Ask {
    collectors: BTreeSet<String>,
    questions: Vec<Question>,
    databases: Vec<String>,
    backups: Vec<BackupPlace>,
}

impl Worker {
    /// Returns a worker that has not looked yet.
    pub(super) fn new(name: &str, setup: Arc<Setup>, shared: Arc<Shared>) -> Option<Worker> {
        let now = (shared.now)();
        let instance = setup.jobs.get(name)?.instance.clone();
        let known = Known::new(instance, now);
        let facts = Arc::new(known.facts(&setup.catalog));
        Some(Worker {
            schedule: schedule(name, &setup, now),
            sampling: Sampling::new(now),
            name: name.to_owned(),
            setup,
            shared,
            observer: Observer::default(),
            known,
            rates: Rates::default(),
            asked: Asked::default(),
            pending: Pending::default(),
            told: Told::default(),
            answer: None,
            shown: Shown {
                facts,
                evaluation: None,
                since: Arc::default(),
                collectors: Arc::new([]),
                budget: BudgetStatus::default(),
                activity: Arc::new([]),
                answered_at: None,
            },
            judged_at: None,
            measured_at: now,
            woken_at: now,
            places: Places::default(),
            repositories: None,
            identity: None,
            listed: Vec::new(),
        })
    }

    /// Works until it is told to end; `delay` keeps many of them from beginning at the same instant.
    pub(super) async fn run(mut self, mut orders: Orders, delay: Duration) {
        let mut pause = delay;
        tokio::select! {
            biased;
            _ = orders.stop.wait_for(|stop| *stop) => return,
            // Nobody waits long for what is only a convenience.
            _ = timeout(RECALL_MAX, self.recall()) => {}
        }
        loop {
            orders.beat.mark();
            tokio::select! {
                biased;
                _ = orders.stop.wait_for(|stop| *stop) => return,
                Ok(()) = orders.setup.changed() => {
                    let setup = Arc::clone(&orders.setup.borrow_and_update());
                    self.take_setup(setup);
                }
                Some(()) = orders.wake.recv() => self.wake_all(),
                () = tokio::time::sleep(pause) => {}
            }
            // What is under way is dropped when the end is called: its connection is closed with it.
            tokio::select! {
                biased;
                _ = orders.stop.wait_for(|stop| *stop) => return,
                () = self.step() => {}
            }
            pause = self.pause();
        }
    }

    /// Takes over what an earlier daemon saw last: rates have something to compare with at once, and a server that is
    /// down from the beginning can be looked for where it was.
    async fn recall(&mut self) {
        let Some(store) = self.shared.store.clone() else {
            return;
        };
        let (name, now) = (self.name.clone(), self.now());
        let read = move || {
            store
                .reader()
                .and_then(|reader| reader.facts_at(&name, now))
        };
        match self.shared.think(read).await {
            Ok(Ok(Some(facts))) => {
                self.places.remember(&facts);
                self.rates.absorb(&facts, &self.setup.catalog);
            }
            Ok(Ok(None)) => {}
            // The recorder, which needs the same file, tells what is wrong with it.
            Ok(Err(error)) => tracing::debug!(instance = self.name, "nothing is recalled: {error}"),
            Err(error) => tracing::error!(instance = self.name, "nothing is recalled: {error}"),
        }
    }

    /// Does everything that is due.
    async fn step(&mut self) {
        let now = self.now();
        let ask = self.due(now);
        if let Some(ask) = ask {
            self.round(&ask, now).await;
        }
        if self.setup.estate.config.serve.activity_sampling {
            self.sample().await;
        }
        self.take_repositories();
        self.judge().await;
        self.listen();
    }

    /// Takes over what is known of repositories, when that is news.
    fn take_repositories(&mut self) {
        let present = self.shared.live.backups(&self.name);
        let facts = present.map(|present| Arc::clone(&present.facts));
        let same = match (&facts, &self.repositories) {
            (Some(new), Some(old)) => Arc::ptr_eq(new, old),
            (None, None) => true,
            _ => false,
        };
        if same {
            return;
        }
        let sightings = facts.as_ref().map(|facts| facts.sightings());
        self.known
            .replace_repositories(sightings.unwrap_or_default());
        self.repositories = facts;
        self.shown.facts = Arc::new(self.known.facts(&self.setup.catalog));
        // Checks of repositories read these besides.
        let read = ["settings", "slots", "wal"].map(str::to_owned);
        self.pending.collectors.extend(read);
        self.publish();
    }

    /// Returns how long nothing is due.
    fn pause(&self) -> Duration {
        let now = self.now();
        let until = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
        let mut pause = until(self.schedule.next_at());
        if self.samples() {
            pause = pause.min(self.sampling.wait(now));
        }
        pause.clamp(SLEEP_MIN, SLEEP_MAX)
    }

    /// Returns what a round has to ask now, if anything is due.
    fn due(&mut self, now: Timestamp) -> Option<Ask> {
        let due = self.schedule.due(now);
        let job = self.job()?;
        if due.is_empty() {
            return None;
        }
        let mut questions = job.questions(&self.setup.estate.config.user_checks);
        questions.retain(|question| due.contains(&question.name));
        let mut backups = job.backups();
        backups.retain(|place| due.contains(&place.name));
        Some(Ask {
            questions,
            backups,
            databases: job.config.databases.clone().unwrap_or_default(),
            collectors: due,
        })
    }

    /// Asks, and takes over what was seen.
    async fn round(&mut self, ask: &Ask, now: Timestamp) {
        let Some(job) = self.setup.jobs.get(&self.name) else {
            return;
        };
        let request = request(&self.setup, job, ask, &self.places, now);
        let mut facts = match timeout(ROUND_MAX, self.observer.look(&request)).await {
            Ok(facts) => facts,
            Err(_) => {
                self.observer = Observer::default();
                too_long(&request)
            }
        };
        let ended = self.now();
        self.schedule.record(&facts, ended);
        if facts.server.is_ok() {
            self.shown.answered_at = Some(ended);
        }
        self.listed.clone_from(&facts.databases);
        self.places.remember(&facts);
        let kept = self.without_values(&mut facts);
        self.absorb(&facts);
        self.shared
            .record(kept.unwrap_or_else(|| Arc::new(facts)))
            .await;
        self.shown.collectors = self.schedule.status().into();
        self.shown.budget = self.schedule.budget();
        self.publish();
        self.shared.send_away(&self.name);
        self.texts(ask).await;
    }

    /// Normalises query texts; where readers may see them raw, returns a copy for everything that is kept.
    fn without_values(&self, facts: &mut Facts) -> Option<Arc<Facts>> {
        match self.setup.estate.config.serve.query_text {
            QueryText::Normalised => {
                texts::normalise_all(facts);
                None
            }
            QueryText::Raw => {
                let mut kept = facts.clone();
                texts::normalise_all(&mut kept);
                Some(Arc::new(kept))
            }
        }
    }

    /// Takes over what a round saw, and notes which checks it concerns.
    fn absorb(&mut self, facts: &Facts) {
        let setup = Arc::clone(&self.setup);
        let changed = self.known.absorb(facts, &setup.catalog);
        self.rates.absorb(facts, &setup.catalog);
        for sighting in &facts.sightings {
            if let Ok(snapshot) = &sighting.seen {
                self.asked.notice(snapshot);
            }
        }
        if changed.reborn {
            // The schedule noticed too, and asks everything again.
            tracing::info!(
                instance = self.name,
                "the server restarted or changed its role"
            );
        }
        self.pending.everything |= changed.server || changed.reborn;
        self.pending.collectors.extend(changed.collectors);
        self.shown.facts = Arc::new(self.known.facts(&setup.catalog));
        self.rates.retain_databases(&self.shown.facts.databases);
    }

    /// Asks for the texts of statements that were seen for the first time.
    async fn texts(&mut self, ask: &Ask) {
        let (Some(job), true) = (
            self.setup.jobs.get(&self.name),
            self.known.server().is_some(),
        ) else {
            return;
        };
        let ids = self.asked.next();
        if ids.is_empty() {
            return;
        }
        let now = self.now();
        let request = request(&self.setup, job, ask, &self.places, now);
        match timeout(SAMPLE_MAX, self.observer.texts(&request, &ids)).await {
            Ok(Ok(texts)) => self.shared.record_texts(texts).await,
            // Without the extension, or without the right to read it, there will be no texts later either.
            Ok(Err(Blind::MissingExtension { .. } | Blind::NoPrivilege { .. })) => {}
            Ok(Err(_)) => self.asked.take_back(&ids),
            Err(_) => {
                self.observer = Observer::default();
                self.asked.take_back(&ids);
            }
        }
    }

    /// Says whether sessions are sampled: never while the server does not answer.
    fn samples(&self) -> bool {
        self.setup.estate.config.serve.activity_sampling && self.known.server().is_some()
    }

    /// Takes a sample when one is due, and folds them when it is time.
    async fn sample(&mut self) {
        let now = self.now();
        if self.samples() && self.sampling.is_due(now) {
            self.take_sample(now).await;
        }
        let Some(samples) = self.sampling.unfolded(self.now()) else {
            return;
        };
        let folded = activity::fold(&samples, now);
        self.remember(folded).await;
    }

    async fn take_sample(&mut self, now: Timestamp) {
        let Some(job) = self.setup.jobs.get(&self.name) else {
            return;
        };
        let ask = Ask::nothing();
        let request = request(&self.setup, job, &ask, &self.places, now);
        match timeout(SAMPLE_MAX, self.observer.sample(&request)).await {
            Ok(Ok(sample)) => {
                let now = self.now();
                self.asked.notice(&sample);
                self.schedule.sampled(&sample, now);
                let every = self.schedule.sample_interval();
                self.sampling.take(Arc::new(sample), every, now);
                self.shown.activity = self.sampling.shown();
                self.publish();
            }
            Ok(Err(blind)) => {
                self.sampling.miss(self.now());
                if matches!(blind, Blind::Unreachable { .. }) {
                    self.wake_now_and_then();
                }
            }
            Err(_) => {
                self.observer = Observer::default();
                self.sampling.miss(self.now());
                self.wake_now_and_then();
            }
        }
    }

    /// A connection that broke may mean that the server is gone: that is worth a look at once.
    fn wake_now_and_then(&mut self) {
        let now = self.now();
        let passed = Duration::try_from(now.duration_since(self.woken_at));
        if passed.is_ok_and(|passed| passed < WAKE_EVERY) {
            return;
        }
        self.woken_at = now;
        self.schedule.wake_essential(now);
    }

    fn wake_all(&mut self) {
        let now = self.now();
        self.woken_at = now;
        self.schedule.wake(now);
    }

    /// Asks the checks whose inputs changed.
    async fn judge(&mut self) {
        let now = self.now();
        let passed = self
            .judged_at
            .map(|at| Duration::try_from(now.duration_since(at)));
        let early = passed.is_some_and(|passed| passed.is_ok_and(|passed| passed < JUDGE_EVERY));
        if self.pending.is_empty() || early && !self.pending.everything {
            return;
        }
        self.judged_at = Some(now);
        let pending = std::mem::take(&mut self.pending);
        let facts = Arc::clone(&self.shown.facts);
        let older = self.rates.older(&facts, &self.setup.catalog);
        let before = self.shown.evaluation.clone();
        let setup = Arc::clone(&self.setup);
        let work =
            move || judge::judge(&setup, &facts, older.as_ref(), &pending, before.as_deref());
        let judge::Judged { evaluation, asked } = match self.shared.think(work).await {
            Ok(judged) => judged,
            Err(error) => {
                // What was said before is no longer true, and nothing is better than that.
                tracing::error!(instance = self.name, "a check broke: {error}");
                self.shown.evaluation = None;
                self.pending.everything = true;
                return self.publish();
            }
        };
        self.tell_alerts(&evaluation, asked).await;
        if self.told.is_news(&evaluation) {
            self.answer = self.shared.record_evaluation(Arc::clone(&evaluation)).await;
        }
        self.shown.evaluation = Some(Arc::clone(&evaluation));
        self.publish();
        self.measure(&evaluation, now).await;
    }

    /// Hands what was judged to the alerts.
    async fn tell_alerts(&mut self, evaluation: &Arc<Evaluation>, asked: Arc<BTreeSet<String>>) {
        let Some(job) = self.setup.jobs.get(&self.name) else {
            return;
        };
        if let Some(server) = self.known.server() {
            self.identity = Some((server.epoch.system_identifier, server.role));
        }
        let subject = subject::of(job, self.identity, &self.setup.alerts);
        let evaluation = Arc::clone(evaluation);
        let alerting = &self.shared.alerting;
        alerting
            .judged(evaluation, Some(asked), Arc::new(subject))
            .await;
    }

    /// Remembers what the checks measured, now and then.
    async fn measure(&mut self, evaluation: &Evaluation, now: Timestamp) {
        let passed = Duration::try_from(now.duration_since(self.measured_at));
        if passed.is_ok_and(|passed| passed < MEASURE_EVERY) && self.measured_at < now {
            return;
        }
        self.measured_at = now;
        let databases = &self.shown.facts.databases;
        let measures = judge::measures(&self.setup, evaluation, databases, now);
        self.remember(measures).await;
    }

    /// Remembers a snapshot that was made here.
    async fn remember(&mut self, snapshot: Snapshot) {
        let sighting = Sighting {
            collector: snapshot.collector.clone(),
            database: None,
            seen: Ok(Arc::new(snapshot)),
        };
        self.known.add(sighting.clone());
        let facts = Facts {
            sightings: vec![sighting],
            notes: Vec::new(),
            at: self.now(),
            databases: self.listed.clone(),
            ..self.shown.facts.as_ref().clone()
        };
        self.shared.record(Arc::new(facts)).await;
    }

    /// Takes over the store's answer about open findings, if it has come.
    fn listen(&mut self) {
        let Some(answer) = &mut self.answer else {
            return;
        };
        match answer.try_recv() {
            Ok(since) => {
                self.shown.since = Arc::new(since);
                self.answer = None;
                self.publish();
            }
            Err(oneshot::error::TryRecvError::Empty) => {}
            Err(oneshot::error::TryRecvError::Closed) => self.answer = None,
        }
    }

    /// Takes another configuration, without losing the connection or what is known.
    fn take_setup(&mut self, setup: Arc<Setup>) {
        let old = std::mem::replace(&mut self.setup, setup);
        if plans_otherwise(&old, &self.setup) {
            self.schedule = schedule(&self.name, &self.setup, self.now());
        }
        self.pending.everything = true;
    }

    /// Replaces what readers see.
    fn publish(&self) {
        let Some(job) = self.job() else {
            return;
        };
        let shown = &self.shown;
        self.shared.live.put(Present {
            instance: job.instance.clone(),
            labels: job.config.labels.clone(),
            facts: Arc::clone(&shown.facts),
            evaluation: shown.evaluation.clone(),
            since: Arc::clone(&shown.since),
            collectors: Arc::clone(&shown.collectors),
            budget: shown.budget.clone(),
            activity: Arc::clone(&shown.activity),
            answered_at: shown.answered_at,
        });
    }

    fn job(&self) -> Option<&Job> {
        self.setup.jobs.get(&self.name)
    }

    fn now(&self) -> Timestamp {
        (self.shared.now)()
    }
}

impl Places {
    /// Remembers where a local server keeps its files.
    fn remember(&mut self, facts: &Facts) {
        let Ok(server) = &facts.server else {
            return;
        };
        if let (true, Some(data)) = (server.local, &server.data_directory) {
            self.data = Some(PathBuf::from(data));
        }
        if let Some(log) = pawang_collect::log_directory(facts) {
            self.log = Some(log);
        }
    }
}

impl Ask {
    fn nothing() -> Ask {
        Ask {
            collectors: BTreeSet::new(),
            questions: Vec::new(),
            databases: Vec::new(),
            backups: Vec::new(),
        }
    }
}

/// Returns the schedule of everything that is asked by rounds.
fn schedule(name: &str, setup: &Setup, now: Timestamp) -> Schedule {
    let collectors = setup.catalog.collectors.values();
    let config = &setup.estate.config;
    let mut schedule = Schedule::new(collectors, config.serve.budget_percent, seed(name), now);
    if let Some(job) = setup.jobs.get(name) {
        for question in job.questions(&config.user_checks) {
            schedule.also(&question.name, QUESTIONS_EVERY);
        }
        for place in job.backups() {
            schedule.also(&place.name, BACKUPS_EVERY);
        }
    }
    if setup.jobs.len() <= AT_ONCE_MAX {
        schedule.wake(now);
    }
    schedule
}

/// Says whether two configurations differ in what is asked or what asking may cost.
fn plans_otherwise(old: &Setup, new: &Setup) -> bool {
    let (a, b) = (&old.estate.config, &new.estate.config);
    // The files of the user's own collectors may have changed under the same name.
    let own = a.collectors.directory.is_some() || b.collectors.directory.is_some();
    own || a
        .serve
        .budget_percent
        .total_cmp(&b.serve.budget_percent)
        .is_ne()
        || a.user_checks != b.user_checks
}

/// Returns a number that is the instance's own, so that instances do not beat together: FNV-1a of its name.
fn seed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn request<'a>(
    setup: &'a Setup,
    job: &'a Job,
    ask: &'a Ask,
    places: &Places,
    now: Timestamp,
) -> Request<'a> {
    let config = &job.config;
    Request {
        instance: &job.instance,
        target: &job.target,
        purpose: "serve",
        catalog: &setup.catalog,
        collectors: &ask.collectors,
        questions: &ask.questions,
        databases: &ask.databases,
        pgbouncer: job.pgbouncer.as_ref(),
        patroni: config.patroni.as_ref().map(|url| url.reveal().as_str()),
        host: HostRequest {
            data_directory: config.data_directory.clone().or(places.data.clone()),
            log_directory: config.log_directory.clone().or(places.log.clone()),
            environment_data_directory: environment::variable("PGDATA").map(PathBuf::from),
            ..HostRequest::default()
        },
        backups: &ask.backups,
        now,
    }
}

/// Returns what is known after a round that had to be dropped.
fn too_long(request: &Request<'_>) -> Facts {
    Facts {
        instance: request.instance.clone(),
        at: request.now,
        server: Err(Blind::Timeout {
            what: "a whole round".to_owned(),
            limit_ms: u64::try_from(ROUND_MAX.as_millis()).unwrap_or(u64::MAX),
        }),
        down: None,
        databases: Vec::new(),
        sightings: Vec::new(),
        notes: Vec::new(),
    }
}
