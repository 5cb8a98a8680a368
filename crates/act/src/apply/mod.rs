//! Applies a plan: lanes that never touch the same table, under one watch, each action guarded, verified and journalled.

mod action;
mod guard;
mod program;
mod record;
mod sweep;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future;
use jiff::Timestamp;
use pawang_core::Role;
use pawang_core::plan::{Done, GuardProfile, Outcome, Plan, State};
use pawang_postgres::{Target, Writer};
use tokio::sync::{Notify, watch};

pub(crate) use guard::{clean, leftovers};
pub(crate) use record::{Doer, Record, Teller};
pub(crate) use sweep::{at_work, sweep};

use crate::governor::Limits;
use crate::hold::{self, Hold};
use crate::journal::Journal;
use crate::monitor::Monitor;
use crate::{Error, draft, session, task};

/// Lanes that one plan has at most.
const LANES_MAX: usize = 16;

/// Whether anything changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effects {
    /// What the plan says is done.
    Real,
    /// Everything up to the change is done, and nothing changes.
    Dry,
}

/// How a plan is applied.
pub struct Apply<'a> {
    /// Where the server is; its database does not matter.
    pub target: &'a Target,
    /// What the server can bear.
    pub limits: &'a Limits,
    /// Where everything is written down.
    pub journal: &'a dyn Journal,
    /// Whether anything changes.
    pub effects: Effects,
    /// Who does it: `cli:postgres`, `account:alice`, `daemon`.
    pub actor: &'a str,
    /// Why now, in the words of whoever confirmed it.
    pub why: &'a str,
    /// Actions that run at the same time.
    pub lanes: usize,
    /// When the window ends: nothing begins then, and what runs is cancelled.
    pub until: Option<Timestamp>,
    /// Turns true when everything has to stop.
    pub stop: watch::Receiver<bool>,
    /// The clock.
    pub clock: fn() -> Timestamp,
    /// Whether actions of high risk were confirmed one by one or allowed by name.
    pub allow_high_risk: bool,
    /// Whose sessions a plan may end, and how many.
    pub sessions: &'a session::Policy,
    /// Is told of every step.
    pub watch: &'a (dyn Fn(&Progress) + Sync),
}

/// A step of an action, for people who watch.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// [`pawang_core::plan::Action::id`].
    pub action: String,
    /// What happens.
    pub step: Step,
}

/// What happens to an action.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It waits.
    Waiting {
        /// For what.
        why: String,
    },
    /// Its statement is sent.
    Begun {
        /// For which time.
        tries: u32,
        /// By which session.
        backend: i32,
    },
    /// It ended.
    Ended {
        /// How.
        state: State,
        /// Why, as a sentence.
        detail: String,
    },
}

/// Applies a plan; what becomes of each action is in the outcome, in the plan's order.
///
/// A plan that ends sessions passes the kill guard of [`session::free`], and ends root blockers only: nobody is here who
/// named a session.
///
/// # Errors
/// Nothing was done: the plan was changed, the server is another one, a standby or out of reach, or another Pawang is
/// at work there.
pub async fn apply(plan: &Plan, how: &Apply<'_>) -> Result<Outcome, Error> {
    draft::verify(plan)?;
    if plan.actions.iter().any(|a| session::about(&a.task)) {
        return session::through(plan, how).await;
    }
    let hash = draft::hash(plan);
    let area = hold::area(&plan.title);
    let databases: BTreeSet<&str> = plan.actions.iter().map(|a| a.database.as_str()).collect();
    let mut holds: Vec<Hold> = Vec::with_capacity(databases.len());
    for database in databases {
        let hold = hold::take(how.target, database, area).await?;
        if hold.session.server.role == Role::Standby {
            let address = hold.session.address().to_owned();
            return Err(Error::Standby { address });
        }
        hold::same_world(&plan.world, &hold.session.server)?;
        holds.push(hold);
    }
    let Some(first) = holds.first() else {
        return Ok(Outcome {
            plan: hash,
            actions: Vec::new(),
        });
    };
    let governed = |action: &pawang_core::plan::Action| action.guard != GuardProfile::Read;
    let governed = plan.actions.iter().any(governed);
    let monitor = Monitor::start(&first.session, how, governed).await?;
    let run = Run {
        plan,
        how,
        holds: &holds,
        monitor: &monitor,
        record: Record::new(plan, how.teller(), &hash, area),
        queue: Mutex::new(Queue::new(plan.actions.len())),
        freed: Notify::new(),
    };
    let lanes = how.lanes.clamp(1, LANES_MAX);
    let work = async {
        future::join_all((0..lanes).map(|_| run.lane())).await;
        monitor.finish();
    };
    future::join(work, monitor.run()).await;
    let actions = run.queue().take_done();
    Ok(Outcome {
        plan: hash,
        actions,
    })
}

impl<'a> Apply<'a> {
    /// Returns who writes into the journal.
    pub(crate) fn teller(&self) -> Teller<'a> {
        Teller {
            journal: self.journal,
            clock: self.clock,
            actor: self.actor,
            why: self.why,
        }
    }
}

/// One application of one plan.
struct Run<'a> {
    plan: &'a Plan,
    how: &'a Apply<'a>,
    holds: &'a [Hold],
    monitor: &'a Monitor<'a>,
    record: Record<'a>,
    queue: Mutex<Queue>,
    /// A lane has ended an action, so that its tables are free.
    freed: Notify,
}

/// What is still to be done, and what became of the rest.
struct Queue {
    waiting: Vec<usize>,
    busy: Vec<usize>,
    done: Vec<Option<Done>>,
}

/// What a lane does next.
enum Next {
    /// This action.
    Action(usize),
    /// Nothing, until another lane has ended something.
    Wait,
    /// Nothing any more.
    End,
}

impl Queue {
    fn new(count: usize) -> Queue {
        Queue {
            waiting: (0..count).collect(),
            busy: Vec::new(),
            done: vec![None; count],
        }
    }

    /// Takes the first action that touches nothing that a running or an earlier waiting one touches.
    fn next(&mut self, plan: &Plan) -> Next {
        if self.waiting.is_empty() {
            return Next::End;
        }
        let key = |at: usize| {
            let action = &plan.actions[at];
            let touched = task::touches(&action.task);
            touched
                .into_iter()
                .map(move |oid| (action.database.as_str(), oid))
        };
        let mut taken: BTreeSet<(&str, u32)> = self.busy.iter().flat_map(|at| key(*at)).collect();
        for place in 0..self.waiting.len() {
            let at = self.waiting[place];
            if key(at).all(|touched| !taken.contains(&touched)) {
                self.waiting.remove(place);
                self.busy.push(at);
                return Next::Action(at);
            }
            taken.extend(key(at));
        }
        Next::Wait
    }

    fn end(&mut self, at: usize, done: Done) {
        self.busy.retain(|busy| *busy != at);
        self.done[at] = Some(done);
    }

    fn take_done(&mut self) -> Vec<Done> {
        let done = std::mem::take(&mut self.done);
        let all = done.into_iter();
        all.map(|done| done.expect("lanes end when every action has ended"))
            .collect()
    }
}

impl Run<'_> {
    /// Does one action after the other until none is left.
    async fn lane(&self) {
        let mut writer: Option<(String, Writer)> = None;
        loop {
            // Made before looking: what is freed in between is not missed.
            let freed = self.freed.notified();
            let next = self.queue().next(self.plan);
            match next {
                Next::End => return,
                Next::Wait => freed.await,
                Next::Action(at) => {
                    let done = self.act(at, &mut writer).await;
                    (self.how.watch)(&Progress {
                        action: done.id.clone(),
                        step: Step::Ended {
                            state: done.state,
                            detail: done.detail.clone(),
                        },
                    });
                    self.queue().end(at, done);
                    self.freed.notify_waiters();
                }
            }
        }
    }

    /// Returns a session that can change the action's database, the lane's own where it still stands.
    async fn writer<'w>(
        &self,
        database: &str,
        id: &str,
        kept: &'w mut Option<(String, Writer)>,
    ) -> Result<&'w Writer, pawang_postgres::Error> {
        let usable = kept
            .as_ref()
            .is_some_and(|(known, writer)| known == database && writer.alive());
        if !usable {
            // The old one says goodbye before there is a new one.
            *kept = None;
            let target = self.how.target.with_database(database);
            let writer = Writer::connect(&target, id).await?;
            *kept = Some((database.to_owned(), writer));
        }
        let (_, writer) = kept.as_ref().expect("it was just put there");
        if usable {
            writer.rename(id);
        }
        Ok(writer)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
