//! Carries out a plan about sessions step by step, and looks at the effect of each before the next.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use pawang_core::plan::{Action, Done, Impact, Outcome, Plan, Risk, SessionKey, State};
use pawang_core::{Role, Timestamp, relation};
use pawang_postgres::{Error as Refusal, Session};
use serde::Serialize;
use tokio::sync::watch;

use super::guard::{Policy, refusal, seconds, spent};
use super::look::{look, own};
use super::signal::{Signalled, about, key_of, signal, statement, worked};
use super::view::{Process, View};
use crate::apply::{Apply, Doer, Effects, Record, Teller};
use crate::apply::{Progress, Step as Told};
use crate::journal::{Intent, Journal};
use crate::{Error, draft, hold};

/// What kind of change it is: whoever ends sessions of a server does so alone.
const AREA: &str = "session";
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
    /// Whether anything changes.
    pub effects: Effects,
    /// Whether ending sessions was agreed to; cancelling a statement is no high risk.
    pub allow_high_risk: bool,
    /// Who: `cli:postgres`, `account:alice`.
    pub actor: &'a str,
    /// Why now, in the words of whoever confirmed it.
    pub why: &'a str,
    /// Where every intent and its end is written before and after it.
    pub journal: &'a dyn Journal,
    /// Turns true when no further step may begin.
    pub stop: watch::Receiver<bool>,
    /// While this file is there, no step begins.
    pub stop_file: Option<&'a Path>,
    /// When the window ends: no step begins then.
    pub until: Option<Timestamp>,
    /// The clock.
    pub clock: fn() -> Timestamp,
    /// Is told of every step.
    pub watch: &'a (dyn Fn(&Progress) + Sync),
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
/// What an earlier run began and did not end is settled first.
///
/// # Errors
/// The server does not answer or is another one, the journal refuses, or another Pawang ends sessions there.
pub async fn free(plan: &Plan, how: &How<'_>) -> Result<Freed, Error> {
    hold::same_server(&plan.world, &how.session.server)?;
    alone(how.session).await?;
    let own = match how.session.pooled() {
        true => (0, Timestamp::UNIX_EPOCH),
        false => own(how.session).await?,
    };
    if how.effects == Effects::Real {
        super::settle::open(how.session, how.journal, how.clock).await?;
    }
    let before = look(how.session).await?;
    let hash = draft::hash(plan);
    let mut work = Work {
        how,
        before: &before,
        record: Record::new(plan, how.teller(), &hash, AREA),
        own,
        touched: BTreeSet::new(),
    };
    let mut actions = Vec::with_capacity(plan.actions.len());
    for action in &plan.actions {
        actions.push(work.act(action).await?);
    }
    drop(work);
    let waits = waiting(&before);
    let now = if how.effects == Effects::Dry || waits == 0 {
        before.clone()
    } else {
        watch(how, |now| still_waiting(&before, now) == 0).await?
    };
    Ok(Freed {
        outcome: Outcome {
            plan: hash,
            actions,
        },
        waited: waits,
        waiting: still_waiting(&before, &now),
    })
}

/// Keeps other Pawangs from ending sessions as long as a session lives.
///
/// A pooler may give the lock, and the statements after it, to different sessions of the server: there it is not taken.
pub(crate) async fn alone(session: &Session) -> Result<(), Error> {
    match session.pooled() {
        true => Ok(()),
        false => hold::lock(session, &session.server.database, AREA).await,
    }
}

/// Carries out a plan about sessions that came as any other plan: nobody has named a session, so only root blockers are
/// touched.
pub(crate) async fn through(plan: &Plan, how: &Apply<'_>) -> Result<Outcome, Error> {
    if !plan.actions.iter().all(|action| about(&action.task)) {
        return Err(Error::PlanChanged {
            problem: "it ends sessions and does something else as well".to_owned(),
        });
    }
    let session = Session::connect(how.target, AREA).await?;
    if session.server.role == Role::Standby {
        let address = session.address().to_owned();
        return Err(Error::Standby { address });
    }
    let how = How {
        session: &session,
        policy: how.sessions,
        step: Step::Blockers,
        effects: how.effects,
        allow_high_risk: how.allow_high_risk,
        actor: how.actor,
        why: how.why,
        journal: how.journal,
        stop: how.stop.clone(),
        stop_file: how.limits.stop_file.as_deref(),
        until: how.until,
        clock: how.clock,
        watch: how.watch,
    };
    Ok(free(plan, &how).await?.outcome)
}

impl<'a> How<'a> {
    fn teller(&self) -> Teller<'a> {
        Teller {
            journal: self.journal,
            clock: self.clock,
            actor: self.actor,
            why: self.why,
        }
    }

    /// Says why no step may begin any more.
    fn halted(&self) -> Option<String> {
        let file = self.stop_file.filter(|file| file.exists());
        if *self.stop.borrow() {
            Some("it was interrupted before".to_owned())
        } else if let Some(file) = file {
            Some(format!("the stop file \"{}\" is there", file.display()))
        } else if self.until.is_some_and(|until| (self.clock)() >= until) {
            Some("the window has closed".to_owned())
        } else {
            None
        }
    }
}

/// What a look before a step says.
enum Verdict {
    Act { superuser: bool },
    Not(State, String),
}

/// One plan that is being carried out.
struct Work<'a> {
    how: &'a How<'a>,
    before: &'a View,
    record: Record<'a>,
    /// The session that signals, as the server names it.
    own: (i32, Timestamp),
    /// The sessions that were signalled: they count against the budget.
    touched: BTreeSet<(i32, Timestamp)>,
}

impl Work<'_> {
    /// Does one step and writes down what became of it.
    async fn act(&mut self, action: &Action) -> Result<Done, Error> {
        let how = self.how;
        let now = (how.clock)();
        let mut done = Done {
            id: action.id.clone(),
            state: State::Done,
            detail: String::new(),
            hint: None,
            started_at: now,
            ended_at: now,
            tries: 0,
            before: action.expected.clone(),
            after: Default::default(),
            impact: Impact::default(),
        };
        let mut intent = None;
        match self.verdict(action).await? {
            Verdict::Not(state, why) => (done.state, done.detail) = (state, why),
            Verdict::Act { .. } if how.effects == Effects::Dry => {
                (done.state, done.detail) = (State::DryRun, "nothing was sent".to_owned());
            }
            Verdict::Act { superuser } => {
                intent = Some(self.begin(action)?);
                done.tries = 1;
                self.tell(
                    action,
                    Told::Begun {
                        tries: 1,
                        backend: self.own.0,
                    },
                );
                // Without an end in the journal the next run looks what became of it.
                self.send(action, superuser, &mut done).await?;
            }
        }
        done.ended_at = (how.clock)();
        if how.effects == Effects::Real {
            self.record.end(action, intent.as_ref(), &done)?;
        }
        let (state, detail) = (done.state, done.detail.clone());
        self.tell(action, Told::Ended { state, detail });
        Ok(done)
    }

    fn begin(&mut self, action: &Action) -> Result<Intent, Error> {
        let session = self.how.session;
        let doer = Doer {
            server: &session.server,
            address: session.address(),
            backend: self.own.0,
            backend_start: self.own.1,
        };
        if let Some(key) = key_of(&action.task) {
            self.touched.insert((key.pid, key.backend_start));
        }
        let facts = &action.expected;
        self.record.begin(action, Some(doer), facts, Vec::new())
    }

    /// Signals the session of a step and looks at the effect.
    async fn send(&self, action: &Action, superuser: bool, done: &mut Done) -> Result<(), Error> {
        let sql = action.sql.first().map(String::as_str).unwrap_or_default();
        (done.state, done.detail) = match signal(self.how.session, sql).await {
            Ok(Signalled::Sent) => effect(action, self.before, self.how).await?,
            Ok(Signalled::Gone | Signalled::Missed) => (
                State::Needless,
                "the session or its statement had ended before".to_owned(),
            ),
            Err(Refusal::Privilege { user, message }) => {
                // No grant lets a role signal the session of a superuser.
                done.hint = Some(match superuser {
                    true => format!("as a superuser: {sql}"),
                    false => {
                        let user = relation::identifier(&user);
                        format!("GRANT pg_signal_backend TO {user}")
                    }
                });
                (State::Failed, message)
            }
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }

    /// Says whether a step is still wanted, and still allowed.
    async fn verdict(&self, action: &Action) -> Result<Verdict, Error> {
        let not = |state, why: String| Ok(Verdict::Not(state, why));
        if let Some(why) = self.how.halted() {
            return not(State::Skipped, why);
        }
        if action.risk == Risk::High && !self.how.allow_high_risk {
            let why = "its risk is high, and nobody confirmed it";
            return not(State::Refused, why.to_owned());
        }
        let sql = statement(&action.task);
        if sql.is_none_or(|sql| action.sql != [sql]) {
            let why = "its statement is not what its task says";
            return not(State::Refused, why.to_owned());
        }
        let now = look(self.how.session).await?;
        Ok(self.judge(action, &now))
    }

    fn judge(&self, action: &Action, now: &View) -> Verdict {
        let (how, before) = (self.how, self.before);
        let Some(key) = key_of(&action.task) else {
            return Verdict::Not(State::Refused, "it is not about a session".to_owned());
        };
        let Some(process) = same(now, key) else {
            return Verdict::Not(State::Needless, "the session has ended".to_owned());
        };
        if let Some(why) = refusal(process, how.policy) {
            return Verdict::Not(State::Refused, why);
        }
        if worked(&action.task, now) == Some(true) {
            return Verdict::Not(State::Needless, "its statement has ended".to_owned());
        }
        let act = Verdict::Act {
            superuser: process.superuser,
        };
        if how.step == Step::Named {
            return act;
        }
        if !now.root_blockers(&now.graph()).contains(&process.pid) {
            let why = "it makes nobody wait any more, or waits itself".to_owned();
            return Verdict::Not(State::Needless, why);
        }
        if still_waiting(before, now) == 0 {
            let why = "everybody who waited goes on".to_owned();
            return Verdict::Not(State::Needless, why);
        }
        let budget = how.policy.budget(before.clients());
        let further = !self.touched.contains(&(key.pid, key.backend_start));
        if further && self.touched.len() >= budget {
            return Verdict::Not(State::Refused, spent(budget));
        }
        act
    }

    fn tell(&self, action: &Action, step: Told) {
        (self.how.watch)(&Progress {
            action: action.id.clone(),
            step,
        });
    }
}

/// Looks until a signal has worked; between two steps the whole pause goes by, since others may end by themselves.
async fn effect(action: &Action, before: &View, how: &How<'_>) -> Result<(State, String), Error> {
    let worked = |now: &View| worked(&action.task, now) == Some(true);
    let last = watch(how, |now| match how.step {
        Step::Named => worked(now),
        Step::Blockers => worked(now) && still_waiting(before, now) == 0,
    })
    .await?;
    if !worked(&last) {
        let pause = seconds(how.policy.pause);
        let why = format!("the signal was sent, and the session goes on after {pause}");
        return Ok((State::Failed, why));
    }
    let told = match (how.step, still_waiting(before, &last)) {
        (Step::Named, _) => String::new(),
        (Step::Blockers, 0) => "everybody who waited goes on".to_owned(),
        (Step::Blockers, 1) => "1 session waits still".to_owned(),
        (Step::Blockers, count) => format!("{count} sessions wait still"),
    };
    Ok((State::Done, told))
}

/// Looks until `enough`, or until the pause is over, and returns the last look.
async fn watch(how: &How<'_>, enough: impl Fn(&View) -> bool) -> Result<View, Refusal> {
    let until = tokio::time::Instant::now() + how.policy.pause;
    loop {
        let now = look(how.session).await?;
        if enough(&now) || tokio::time::Instant::now() >= until {
            return Ok(now);
        }
        tokio::time::sleep(LOOK_EVERY.min(how.policy.pause)).await;
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
