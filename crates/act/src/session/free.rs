//! Carries out a plan about sessions step by step, and looks at the effect of each before the next.

use std::collections::BTreeMap;
use std::time::Duration;

use pawang_core::plan::{Action, Done, Impact, Outcome, Plan, SessionKey, State, Task};
use pawang_core::{Kind, Report, Timestamp};
use pawang_postgres::{Error, Session};
use pawang_store::state::Entry;
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use super::guard::{Policy, refusal, seconds};
use super::look::look;
use super::signal::{Signalled, signal, statement};
use super::view::{Process, View};
use crate::BEGUN;

/// The distance between two looks at the effect of a step.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is wanted of the sessions of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Each session was named by a person: it is touched as planned.
    Named,
    /// They are touched only as long as they are root blockers.
    Blockers,
}

/// How a plan about sessions is carried out.
pub struct How<'a> {
    /// The session that looks and signals.
    pub session: &'a Session,
    /// Whose sessions may be touched.
    pub policy: &'a Policy,
    /// What is wanted of them.
    pub step: Step,
    /// Everything but the signals themselves.
    pub dry: bool,
    /// Who: `cli:postgres`, `account:alice`.
    pub actor: &'a str,
    /// The hash of the plan.
    pub hash: &'a str,
    /// Where every intent and its end is written before and after it.
    pub record: &'a (dyn Fn(&Entry) -> Result<(), pawang_store::Error> + Sync),
    /// Turns true when no further step may begin.
    pub stop: watch::Receiver<bool>,
    /// The clock.
    pub clock: fn() -> Timestamp,
}

/// What became of those that waited.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Freed {
    /// What became of each action.
    pub outcome: Outcome,
    /// How many sessions waited before the first step.
    pub waited: usize,
    /// How many of them wait still.
    pub waiting: usize,
}

impl Freed {
    /// Says whether everybody who waited goes on, or the named sessions are as wanted.
    pub fn good(&self, step: Step) -> bool {
        match step {
            Step::Named => self.outcome.good(),
            Step::Blockers => self.waiting == 0,
        }
    }
}

/// Carries out a plan about sessions: before each step it looks again, and does only what is still wanted.
///
/// # Errors
/// The server does not answer, or the journal refuses.
pub async fn free(plan: &Plan, how: &How<'_>) -> Result<Freed, Failure> {
    let before = look(how.session).await?;
    let mut outcome = Outcome {
        plan: how.hash.to_owned(),
        actions: Vec::new(),
    };
    for action in &plan.actions {
        let done = act(action, plan, &before, how).await?;
        outcome.actions.push(done);
    }
    let waits = waiting(&before);
    let now = if how.dry || waits == 0 {
        before.clone()
    } else {
        watch(how, |now| still_waiting(&before, now) == 0).await?
    };
    Ok(Freed {
        outcome,
        waited: waits,
        waiting: still_waiting(&before, &now),
    })
}

/// Why a plan about sessions was not carried out to its end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server does not answer.
    #[error(transparent)]
    Server(#[from] Error),
    /// What is not written down is not done.
    #[error("could not write the journal")]
    Journal(#[source] pawang_store::Error),
}

impl Failure {
    /// Returns the error for people.
    pub fn report(&self) -> Report {
        match self {
            Failure::Server(error) => error.report(),
            Failure::Journal(error) => {
                Report::from_error(Kind::Refused, self).with_detail(error.to_string())
            }
        }
    }
}

/// What a look before a step says.
enum Verdict {
    Act,
    Not(State, String),
}

async fn act(action: &Action, plan: &Plan, before: &View, how: &How<'_>) -> Result<Done, Failure> {
    let started_at = (how.clock)();
    let done = |state, detail: String| Done {
        id: action.id.clone(),
        state,
        detail,
        hint: None,
        started_at,
        ended_at: (how.clock)(),
        tries: 1,
        before: BTreeMap::new(),
        after: BTreeMap::new(),
        impact: Impact::default(),
    };
    if *how.stop.borrow() {
        return Ok(done(State::Skipped, "it was interrupted before".to_owned()));
    }
    let now = look(how.session).await?;
    if let Verdict::Not(state, why) = verdict(action, before, &now, how) {
        return Ok(done(state, why));
    }
    let Some(sql) = statement(&action.task).filter(|sql| action.sql == [sql.as_str()]) else {
        let why = "its statement is not what its task says".to_owned();
        return Ok(done(State::Refused, why));
    };
    if how.dry {
        return Ok(done(State::DryRun, "nothing was sent".to_owned()));
    }
    record(action, plan, how, BEGUN, json!({}))?;
    let signalled = signal(how.session, &sql).await;
    let mut ended = match signalled {
        Ok(Signalled::Sent) => effect(action, before, how).await?.map_or_else(
            |why| done(State::Failed, why),
            |took| done(State::Done, took),
        ),
        Ok(Signalled::Gone | Signalled::Missed) => done(
            State::Needless,
            "the session or its statement had ended before".to_owned(),
        ),
        Err(Error::Privilege { user, message }) => Done {
            hint: Some(format!(
                "GRANT pg_signal_backend TO \"{}\"",
                user.replace('"', "\"\"")
            )),
            ..done(State::Failed, message)
        },
        Err(error) => {
            let detail = json!({ "why": error.to_string() });
            record(action, plan, how, "failed", detail)?;
            return Err(error.into());
        }
    };
    ended.ended_at = (how.clock)();
    let said = if ended.state.good() { "done" } else { "failed" };
    let detail = json!({ "state": ended.state, "detail": ended.detail });
    record(action, plan, how, said, detail)?;
    Ok(ended)
}

/// Says whether a step is still wanted, and still allowed.
fn verdict(action: &Action, before: &View, now: &View, how: &How<'_>) -> Verdict {
    let Some(key) = key_of(&action.task) else {
        return Verdict::Not(State::Refused, "it is not about a session".to_owned());
    };
    let Some(process) = same(now, key) else {
        return Verdict::Not(State::Needless, "the session has ended".to_owned());
    };
    if let Some(why) = refusal(process, how.policy) {
        return Verdict::Not(State::Refused, why);
    }
    if let Task::CancelBackend { query_start, .. } = &action.task
        && !(process.running() && (query_start.is_none() || process.query_start == *query_start))
    {
        return Verdict::Not(State::Needless, "its statement has ended".to_owned());
    }
    if how.step == Step::Blockers {
        let graph = now.graph();
        if !now.root_blockers(&graph).contains(&process.pid) {
            let why = "it makes nobody wait any more, or waits itself".to_owned();
            return Verdict::Not(State::Needless, why);
        }
        if still_waiting(before, now) == 0 {
            let why = "everybody who waited goes on".to_owned();
            return Verdict::Not(State::Needless, why);
        }
    }
    Verdict::Act
}

/// Looks until a signal has worked; between two steps the whole pause goes by, since others may end by themselves.
async fn effect(
    action: &Action,
    before: &View,
    how: &How<'_>,
) -> Result<Result<String, String>, Failure> {
    let Some(key) = key_of(&action.task) else {
        return Ok(Err("it is not about a session".to_owned()));
    };
    let worked = |now: &View| match (&action.task, same(now, key)) {
        (_, None) => true,
        (Task::CancelBackend { query_start, .. }, Some(process)) => {
            !process.running() || process.query_start != *query_start
        }
        (_, Some(_)) => false,
    };
    let last = watch(how, |now| match how.step {
        Step::Named => worked(now),
        Step::Blockers => worked(now) && still_waiting(before, now) == 0,
    })
    .await?;
    let still = still_waiting(before, &last);
    Ok(match (worked(&last), how.step) {
        (true, Step::Named) => Ok(String::new()),
        (true, Step::Blockers) => Ok(match still {
            0 => "everybody who waited goes on".to_owned(),
            1 => "1 session waits still".to_owned(),
            count => format!("{count} sessions wait still"),
        }),
        (false, _) => Err(format!(
            "the signal was sent, and the session goes on after {}",
            seconds(how.policy.pause)
        )),
    })
}

/// Looks until `enough`, or until the pause is over, and returns the last look.
async fn watch(how: &How<'_>, enough: impl Fn(&View) -> bool) -> Result<View, Error> {
    let until = tokio::time::Instant::now() + how.policy.pause;
    loop {
        let now = look(how.session).await?;
        if enough(&now) || tokio::time::Instant::now() >= until {
            return Ok(now);
        }
        tokio::time::sleep(LOOK_EVERY.min(how.policy.pause)).await;
    }
}

fn key_of(task: &Task) -> Option<&SessionKey> {
    match task {
        Task::CancelBackend { session, .. } | Task::TerminateBackend { session } => Some(session),
        _ => None,
    }
}

/// Returns the process of a session, if it is still that session.
fn same<'a>(view: &'a View, key: &SessionKey) -> Option<&'a Process> {
    let process = view.process(i64::from(key.pid))?;
    (process.key().as_ref() == Some(key)).then_some(process)
}

fn waiting(view: &View) -> usize {
    let waits = view
        .processes
        .iter()
        .filter(|process| process.wait.is_some());
    waits.count()
}

/// Returns how many of those that waited before wait for the same lock still.
fn still_waiting(before: &View, now: &View) -> usize {
    let still = |process: &&Process| {
        let same = now.process(process.pid);
        let same = same.filter(|same| same.backend_start == process.backend_start);
        let wait = same.and_then(|same| same.wait.as_ref());
        // A wait that began later is a new one, for another lock.
        match (&process.wait, wait) {
            (Some(then), Some(wait)) => match (then.since, wait.since) {
                (Some(then), Some(since)) => since <= then.max(before.at),
                _ => true,
            },
            _ => false,
        }
    };
    before.processes.iter().filter(still).count()
}

fn record(
    action: &Action,
    plan: &Plan,
    how: &How<'_>,
    outcome: &str,
    mut detail: serde_json::Value,
) -> Result<(), Failure> {
    if let Some(detail) = detail.as_object_mut() {
        detail.insert("plan".to_owned(), json!(how.hash));
        detail.insert("action".to_owned(), json!(action.id));
        detail.insert("sql".to_owned(), json!(action.sql));
        detail.insert("session".to_owned(), json!(action.expected));
        detail.insert("reason".to_owned(), json!(action.reason));
    }
    let entry = Entry {
        at: (how.clock)(),
        actor: how.actor.to_owned(),
        action: format!("{}.apply", action.task.name()),
        object: format!(
            "{}/{}/{}",
            plan.world.instance, action.database, action.object
        ),
        outcome: outcome.to_owned(),
        detail,
    };
    (how.record)(&entry).map_err(Failure::Journal)
}
