//! Maintenance in its windows: shows what is due, applies each policy once per window, and tells how it goes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pawang_act::{Effects, Progress, Step};
use pawang_check::evaluate_all;
use pawang_config::schedule::{Occurrence, Schedule};
use pawang_config::{MaintenancePolicy, matches};
use pawang_core::alert::{Draft, Matcher, Operator, Order, Request};
use pawang_core::plan::{Outcome, Plan};
use pawang_core::{Facts, Kind, Level, Report, Timestamp};
use pawang_maintain::{Areas, Policy};
use pawang_store::live::{PolicyStatus, Present, Running, Upkeep};
use pawang_store::state::Entry;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::setup::Setup;
use super::shared::Shared;
use crate::estate::{CommandLimits, Limited};
use crate::profile;
use crate::upkeep::{self, Basis, How};

/// Windows are looked at so often.
const EVERY: Duration = Duration::from_secs(5);
/// What is due is planned anew so often.
const PLAN_EVERY: Duration = Duration::from_secs(300);
/// After a change, so long is waited for the observers to look at everything again.
const LOOK_MAX: Duration = Duration::from_secs(60);
/// So many instances may wait to be looked at again.
const CHANGED_MAX: usize = 64;
/// What was refused is tried again after so long, while the window is open.
const AGAIN_AFTER: Duration = Duration::from_secs(300);
/// What runs may take so long to stop when the daemon ends.
const END_MAX: Duration = Duration::from_secs(15);
/// The checks that must not be critical when a policy begins, and those that are asked when it ended.
const BEFORE: &str = "pre-maintenance";
const AFTER: &str = "post-maintenance";
/// Who does it, in the journal.
const ACTOR: &str = "daemon";

/// What is known of the maintenance of each instance, and what runs.
struct Keeper {
    shared: Arc<Shared>,
    setup: watch::Receiver<Arc<Setup>>,
    stop: watch::Receiver<bool>,
    known: BTreeMap<String, Known>,
    runs: JoinSet<Ended>,
    /// Instances that the main loop has to look at again.
    maintained: mpsc::Sender<String>,
}

/// What is known of one instance.
#[derive(Default)]
struct Known {
    planned_at: Option<Timestamp>,
    /// Something was changed then: what was seen before says nothing about what is due.
    changed_at: Option<Timestamp>,
    plan: Option<Arc<Plan>>,
    trouble: Option<Report>,
    policies: BTreeMap<String, Past>,
    /// What runs; written by the run itself.
    running: Option<Arc<Mutex<Running>>>,
}

/// What was done by one policy.
#[derive(Clone, Default)]
struct Past {
    /// The window that it was applied in.
    window: Option<Timestamp>,
    /// Not before this after it was refused.
    again_at: Option<Timestamp>,
    applied_at: Option<Timestamp>,
    outcome: Option<Arc<Outcome>>,
    trouble: Option<Report>,
}

/// One application of one policy.
struct Run {
    shared: Arc<Shared>,
    setup: Arc<Setup>,
    instance: String,
    policy: String,
    window: Occurrence,
    running: Arc<Mutex<Running>>,
    stop: watch::Receiver<bool>,
}

/// What came of a run.
struct Ended {
    instance: String,
    policy: String,
    at: Timestamp,
    /// The outcome, or why it was not applied; then it is tried again while the window is open.
    result: Result<Outcome, Report>,
}

/// The task that maintains, as seen from the main loop.
pub(super) struct Keeping {
    setup: watch::Sender<Arc<Setup>>,
    stop: watch::Sender<bool>,
    changed: mpsc::Sender<String>,
    /// Instances whose maintenance has ended: they have to be looked at again.
    pub(super) maintained: mpsc::Receiver<String>,
}

impl Keeping {
    /// The name under which its end is told.
    pub(super) const NAME: &str = "task that maintains";

    /// Starts the task.
    pub(super) fn start(
        services: &mut JoinSet<&'static str>,
        setup: &Arc<Setup>,
        shared: &Arc<Shared>,
    ) -> Keeping {
        let (setup, kept) = watch::channel(Arc::clone(setup));
        let (stop, stopped) = watch::channel(false);
        let (changed, changes) = mpsc::channel(CHANGED_MAX);
        let (tell, maintained) = mpsc::channel(CHANGED_MAX);
        let keeper = Keeper {
            shared: Arc::clone(shared),
            setup: kept,
            stop: stopped,
            known: BTreeMap::new(),
            runs: JoinSet::new(),
            maintained: tell,
        };
        services.spawn(async move {
            keeper.run(changes).await;
            Keeping::NAME
        });
        Keeping {
            setup,
            stop,
            changed,
            maintained,
        }
    }

    /// Tells that somebody else changed an instance, which is looked at again already.
    pub(super) fn changed(&self, instance: String) {
        // When so much is to be planned anew, the next round by the clock does it.
        let _ = self.changed.try_send(instance);
    }

    /// Gives the task another configuration; what runs goes on by the one that it began with.
    pub(super) fn take_setup(&self, setup: &Arc<Setup>) {
        self.setup.send_replace(Arc::clone(setup));
    }

    /// Calls the end: what runs is cancelled and written down.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }
}

/// Returns once the end is called.
async fn told(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Keeper {
    /// Keeps the instances in order until told to stop; what runs then is cancelled and written down.
    async fn run(mut self, mut changes: mpsc::Receiver<String>) {
        let mut stop = self.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = told(&mut stop) => break,
                Some(ended) = self.runs.join_next(), if !self.runs.is_empty() => {
                    match ended {
                        Ok(ended) => self.ended(ended),
                        Err(error) => tracing::error!("a maintenance run broke: {error}"),
                    }
                }
                Some(instance) = changes.recv() => self.changed(&instance),
                () = tokio::time::sleep(EVERY) => self.round().await,
            }
        }
        let all = timeout(END_MAX, async {
            while self.runs.join_next().await.is_some() {}
        });
        if all.await.is_err() {
            tracing::warn!("maintenance did not stop in time: the next run settles what it left");
        }
    }

    /// Remembers that what was seen of an instance until now is not how it is.
    fn changed(&mut self, instance: &str) {
        let known = self.known.entry(instance.to_owned()).or_default();
        known.changed_at = Some((self.shared.now)());
        known.planned_at = None;
    }

    /// Looks at every instance: what is due, and which windows are open.
    async fn round(&mut self) {
        let setup = Arc::clone(&self.setup.borrow_and_update());
        self.known.retain(|name, _| setup.jobs.contains_key(name));
        for name in setup.jobs.keys() {
            let Some(present) = self.shared.live.instance(name) else {
                continue;
            };
            let now = (self.shared.now)();
            self.plan(&setup, &present, now).await;
            for (policy, config) in of_instance(&setup, name) {
                self.begin(&setup, &present, policy, config, now);
            }
            self.show(&setup, name, now);
        }
    }

    /// Plans what is due from what was seen last; nobody asks the server for that.
    async fn plan(&mut self, setup: &Arc<Setup>, present: &Arc<Present>, now: Timestamp) {
        let known = self.known.entry(present.instance.name.clone()).or_default();
        let fresh = known
            .planned_at
            .is_some_and(|at| now.duration_since(at) < signed(PLAN_EVERY));
        // The first round of a server answers some collectors before others.
        if fresh || present.answered_at.is_none() || present.evaluation.is_none() {
            return;
        }
        let policy = shown_policy(setup, &present.instance.name);
        if let Some(changed_at) = known.changed_at {
            let waited = now.duration_since(changed_at) >= signed(LOOK_MAX);
            if !waited && !seen_since(&present.facts, &policy.areas, changed_at) {
                return;
            }
            known.changed_at = None;
        }
        known.planned_at = Some(now);
        let present = Arc::clone(present);
        let draft = move || upkeep::draft(&policy.areas, &present.facts, None, &policy, ACTOR, now);
        let planned = self.shared.think(draft).await;
        (known.plan, known.trouble) = match planned {
            Ok(Ok(plan)) => (Some(Arc::new(plan)), None),
            Ok(Err(report)) => (None, Some(report)),
            Err(error) => {
                let report = Report::new(Kind::Usage, "could not plan maintenance");
                (None, Some(report.with_detail(error.to_string())))
            }
        };
    }

    /// Applies a policy whose window is open, once per window and one at a time on an instance.
    fn begin(
        &mut self,
        setup: &Arc<Setup>,
        present: &Present,
        policy: &str,
        config: &MaintenancePolicy,
        now: Timestamp,
    ) {
        let Some(window) = open(config, now) else {
            return;
        };
        let name = &present.instance.name;
        let known = self.known.entry(name.clone()).or_default();
        let past = known.policies.entry(policy.to_owned()).or_default();
        let early = past.again_at.is_some_and(|at| now < at);
        if early || past.window == Some(window.from) || known.running.is_some() {
            return;
        }
        past.window = Some(window.from);
        let running = Arc::new(Mutex::new(Running {
            policy: policy.to_owned(),
            plan: String::new(),
            since: now,
            actions: 0,
            ended: 0,
            now: BTreeMap::new(),
        }));
        known.running = Some(Arc::clone(&running));
        let run = Run {
            shared: Arc::clone(&self.shared),
            setup: Arc::clone(setup),
            instance: name.clone(),
            policy: policy.to_owned(),
            window,
            running,
            stop: self.stop.clone(),
        };
        self.runs.spawn(run.whole());
    }

    fn ended(&mut self, ended: Ended) {
        // What was done changes what is due; when many wait already, the observers come by their clock.
        self.changed(&ended.instance);
        let _ = self.maintained.try_send(ended.instance.clone());
        let known = self.known.entry(ended.instance.clone()).or_default();
        known.running = None;
        let past = known.policies.entry(ended.policy.clone()).or_default();
        past.applied_at = Some(ended.at);
        (past.outcome, past.trouble) = match ended.result {
            Ok(outcome) => (Some(Arc::new(outcome)), None),
            Err(report) => {
                tracing::warn!(
                    instance = ended.instance,
                    policy = ended.policy,
                    "maintenance was not done: {report}"
                );
                // The window may be long: it is tried again while it is open.
                past.window = None;
                past.again_at = Some(ended.at + AGAIN_AFTER);
                (None, Some(report))
            }
        };
    }

    fn show(&self, setup: &Setup, name: &str, now: Timestamp) {
        let Some(known) = self.known.get(name) else {
            return;
        };
        let policies = of_instance(setup, name).map(|(policy, config)| {
            let past = known.policies.get(policy).cloned().unwrap_or_default();
            let open = open(config, now);
            PolicyStatus {
                name: policy.clone(),
                window: config.window.clone(),
                opens_at: match open {
                    Some(_) => None,
                    None => schedule(config).and_then(|schedule| schedule.next_change(now)),
                },
                open_until: open.map(|open| open.to),
                applied_at: past.applied_at,
                outcome: past.outcome,
                trouble: past.trouble,
            }
        });
        let running = known.running.as_ref();
        let upkeep = Upkeep {
            plan: known.plan.clone(),
            trouble: known.trouble.clone(),
            policies: policies.collect(),
            running: running.map(|running| {
                running
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone()
            }),
        };
        self.shared.live.put_upkeep(name, upkeep);
    }
}

/// Says whether everything that these subjects are planned from was seen after an instant; what is not seen at all does not
/// count.
fn seen_since(facts: &Facts, areas: &Areas, at: Timestamp) -> bool {
    let needed = areas.collectors();
    let seen = facts.sightings.iter().filter_map(|sighting| {
        let snapshot = sighting.seen.as_ref().ok()?;
        needed.contains(&sighting.collector).then_some(snapshot.at)
    });
    seen.min().is_some_and(|oldest| oldest >= at)
}

fn signed(length: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(length).unwrap_or(jiff::SignedDuration::MAX)
}

/// Returns the policies that concern an instance.
fn of_instance<'a>(
    setup: &'a Setup,
    name: &'a str,
) -> impl Iterator<Item = (&'a String, &'a MaintenancePolicy)> {
    let policies = setup.estate.config.maintenance.policies.iter();
    policies.filter(move |(_, policy)| {
        let patterns = policy.instances.as_ref();
        patterns.is_none_or(|all| all.iter().any(|pattern| matches(pattern, name)))
    })
}

fn schedule(config: &MaintenancePolicy) -> Option<Schedule> {
    // The configuration was refused if it could not be read.
    config
        .window
        .as_deref()
        .and_then(|window| Schedule::parse(window).ok())
}

fn open(config: &MaintenancePolicy, now: Timestamp) -> Option<Occurrence> {
    schedule(config)?.open(now)
}

/// Returns what people are shown: the first policy of the instance with a window, else the one without a name.
fn shown_policy(setup: &Setup, name: &str) -> Policy {
    let config = &setup.estate.config;
    let first = of_instance(setup, name).find(|(_, policy)| policy.window.is_some());
    first
        .and_then(|(policy, _)| Policy::named(policy, &config.maintenance))
        .unwrap_or_else(|| Policy::unnamed(&config.maintenance))
}

impl Run {
    /// Opens a window for alerts, applies, closes it, and looks at the server.
    async fn whole(self) -> Ended {
        let result = match self.in_the_way().await {
            Some(why) => Err(why),
            None => {
                self.quiet().await;
                let result = self.apply().await;
                self.loud().await;
                result
            }
        };
        let critical = self.critical(AFTER).await;
        self.write_down(&result, critical);
        Ended {
            instance: self.instance,
            policy: self.policy,
            at: (self.shared.now)(),
            result,
        }
    }

    fn window_name(&self) -> String {
        format!("maintenance-{}-{}", self.policy, self.instance)
    }

    /// What maintenance causes wakes nobody: a window for alerts of this instance, no longer than ours.
    async fn quiet(&self) {
        let left = self.window.to.duration_since((self.shared.now)());
        let minutes = (left.as_secs() / 60).max(1);
        let request = Request::AddWindow {
            draft: Draft {
                matchers: vec![Matcher {
                    label: "instance".to_owned(),
                    operator: Operator::Equal,
                    value: self.instance.clone(),
                }],
                reason: format!("maintenance by policy {}", self.policy),
                everything: false,
            },
            schedule: format!("now for {minutes} min"),
            name: Some(self.window_name()),
        };
        self.order(request).await;
    }

    async fn loud(&self) {
        let window = self.window_name();
        self.order(Request::RemoveWindow { window }).await;
    }

    async fn order(&self, request: Request) {
        let order = Order {
            by: ACTOR.to_owned(),
            request,
        };
        if let Err(report) = self.shared.alerting.order(order).await {
            tracing::warn!(
                instance = self.instance,
                "alerts during maintenance: {report}"
            );
        }
    }

    /// Returns why nothing may begin: what the checks before maintenance find critical.
    async fn in_the_way(&self) -> Option<Report> {
        let refused = |why: &str| {
            let hint = format!("pawang check --profile {BEFORE} -i {}", self.instance);
            Report::new(Kind::Refused, why).with_hint(hint)
        };
        match self.critical(BEFORE).await {
            Ok(critical) if critical.is_empty() => None,
            Ok(critical) => {
                let why = refused("checks before maintenance are critical");
                Some(why.with_detail(critical.join(", ")))
            }
            Err(why) => {
                Some(refused("the server cannot be judged before maintenance").with_detail(why))
            }
        }
    }

    /// Looks at the server and returns which checks of a profile are critical.
    async fn critical(&self, profile: &str) -> Result<Vec<String>, String> {
        let job = self
            .setup
            .jobs
            .get(&self.instance)
            .ok_or("it is not looked after any more")?;
        let checks = profile::checks(profile).map_err(|report| report.primary)?;
        let collectors = checks.iter().flat_map(|check| check.needs);
        let collectors = collectors.map(|name| (*name).to_owned()).collect();
        let facts = upkeep::look(&self.setup.catalog, job, &collectors, (self.shared.now)()).await;
        facts.server.as_ref().map_err(|blind| blind.sentence())?;
        let policy = Limited {
            config: &self.setup.estate.config,
            instance: &facts.instance,
            known: &self.setup.known,
            limits: CommandLimits::default(),
        };
        let evaluation = evaluate_all(&checks, &facts, None, &policy);
        let verdicts = evaluation.verdicts.into_iter();
        let critical = verdicts.filter(|verdict| verdict.level == Level::Critical);
        Ok(critical.map(|verdict| verdict.check).collect())
    }

    async fn apply(&self) -> Result<Outcome, Report> {
        let gone = || Report::new(Kind::Usage, "the instance is not looked after any more");
        let job = self.setup.jobs.get(&self.instance).ok_or_else(gone)?;
        let store = self.shared.store.as_ref().ok_or_else(gone)?;
        let basis = Basis::new(&self.setup.estate, Some(&self.policy), &[])?;
        let plan = basis
            .plan(&self.setup.estate, job, ACTOR, self.shared.now)
            .await?;
        self.running(|running| {
            running.plan = pawang_act::hash(&plan);
            running.actions = plan.actions.len();
        });
        let journal = upkeep::journal(store.directory())?;
        let how = How {
            config: &self.setup.estate.config,
            target: &job.target,
            journal: &journal,
            actor: ACTOR,
            why: &format!("policy {}", self.policy),
            lanes: basis.policy.lanes,
            until: Some(self.window.to),
            stop: self.stop.clone(),
            clock: self.shared.now,
            effects: Effects::Real,
            allow_high_risk: !basis.policy.allow.is_empty(),
            watch: &|progress| self.step(progress),
        };
        let (_, outcome) = upkeep::apply(&plan, &how).await?;
        Ok(outcome)
    }

    fn step(&self, progress: &Progress) {
        self.running(|running| {
            let action = progress.action.clone();
            match &progress.step {
                Step::Waiting { why } => {
                    running.now.insert(action, format!("waits: {why}"));
                }
                Step::Begun { tries, backend } => {
                    running
                        .now
                        .insert(action, format!("runs in process {backend}, try {tries}"));
                }
                Step::Ended { .. } => {
                    running.now.remove(&action);
                    running.ended += 1;
                }
            }
        });
    }

    fn running(&self, change: impl FnOnce(&mut Running)) {
        change(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Writes down what the run did as a whole, and what the checks after maintenance say.
    fn write_down(&self, result: &Result<Outcome, Report>, critical: Result<Vec<String>, String>) {
        let Some(store) = &self.shared.store else {
            return;
        };
        let (outcome, mut detail) = match result {
            Ok(outcome) => {
                let good = outcome
                    .actions
                    .iter()
                    .filter(|done| done.state.good())
                    .count();
                let word = if outcome.good() { "done" } else { "failed" };
                (
                    word,
                    json!({ "plan": outcome.plan, "actions": outcome.actions.len(), "done": good }),
                )
            }
            Err(report) => (
                "refused",
                json!({ "why": report.primary, "detail": report.detail }),
            ),
        };
        detail["instance"] = json!(self.instance);
        detail["critical-afterwards"] = match critical {
            Ok(checks) => json!(checks),
            Err(why) => json!({ "not-seen": why }),
        };
        let entry = Entry {
            at: (self.shared.now)(),
            actor: ACTOR.to_owned(),
            action: "maintain.policy".to_owned(),
            object: self.policy.clone(),
            outcome: outcome.to_owned(),
            detail,
        };
        if let Err(error) = store.state().journal(&entry) {
            tracing::error!("the end of a maintenance run was not written down: {error}");
        }
    }
}
