//! Plans about sessions for the dashboard: made on demand, kept for a while under their hash, applied once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pawang_act::Effects;
use pawang_act::session::{Deed, How, Policy, Step, free};
use pawang_core::{Kind, Report, Timestamp};
use pawang_store::Store;
use pawang_web::{Applied, Command, Planned, SessionsWanted};
use tokio::sync::{mpsc, watch};

use super::setup::Setup;
use crate::estate::Job;
use crate::sessions::{Wanted, connect, make};
use crate::upkeep;

/// Orders that wait for their turn; more are told that the daemon is busy.
pub(super) const ORDERS_MAX: usize = 16;
/// Orders that are carried out at the same time.
const AT_ONCE_MAX: usize = 4;
/// Plans that are kept for somebody to agree to.
const PLANS_MAX: usize = 64;
/// How long somebody may think about a plan.
const PLAN_AGE_MAX: Duration = Duration::from_secs(10 * 60);

/// An order of the dashboard, and the configuration that it is carried out under.
pub(super) struct Work {
    /// What is wanted.
    pub command: Command,
    /// The configuration in force.
    pub setup: Arc<Setup>,
}

/// A plan that waits for agreement.
struct Kept {
    planned: Planned,
    step: Step,
}

struct Desk {
    store: Store,
    now: fn() -> Timestamp,
    plans: Mutex<VecDeque<Kept>>,
}

/// Carries out orders about sessions, some at a time, until there are no more.
pub(super) async fn run(mut orders: mpsc::Receiver<Work>, store: Store, now: fn() -> Timestamp) {
    let desk = Desk {
        store,
        now,
        plans: Mutex::default(),
    };
    let mut works = FuturesUnordered::new();
    loop {
        tokio::select! {
            work = orders.recv(), if works.len() < AT_ONCE_MAX => match work {
                Some(work) => works.push(desk.carry_out(work)),
                None => break,
            },
            Some(()) = works.next() => {}
        }
    }
    while let Some(()) = works.next().await {}
}

impl Desk {
    async fn carry_out(&self, work: Work) {
        // Whoever asked may have hung up.
        match work.command {
            Command::PlanSessions {
                instance,
                wanted,
                by,
                answer,
            } => {
                let planned = self.plan(&work.setup, &instance, wanted, &by).await;
                let _ = answer.send(planned);
            }
            Command::ApplySessions {
                instance,
                plan,
                typed,
                by,
                answer,
            } => {
                let applied = self.apply(&work.setup, &instance, &plan, &typed, &by);
                let _ = answer.send(applied.await);
            }
            _ => unreachable!("only orders about sessions come here"),
        }
    }

    async fn plan(
        &self,
        setup: &Setup,
        instance: &str,
        wanted: SessionsWanted,
        by: &str,
    ) -> Result<Planned, Report> {
        let job = job(setup, instance)?;
        let (wanted, step) = match wanted {
            SessionsWanted::Cancel(session) => (Wanted::Named(session, Deed::Cancel), Step::Named),
            SessionsWanted::Terminate(session) => {
                (Wanted::Named(session, Deed::Terminate), Step::Named)
            }
            SessionsWanted::Blockers => (Wanted::Blockers, Step::Blockers),
        };
        let policy = Policy::new(&setup.estate.config.act, false);
        let plan = make(job, &wanted, &policy, by, (self.now)()).await?;
        let planned = Planned {
            hash: pawang_act::hash(&plan),
            production: job.config.production(),
            plan,
        };
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= PLANS_MAX {
            plans.pop_front();
        }
        plans.push_back(Kept {
            planned: planned.clone(),
            step,
        });
        Ok(planned)
    }

    async fn apply(
        &self,
        setup: &Setup,
        instance: &str,
        plan: &str,
        typed: &str,
        by: &str,
    ) -> Result<Applied, Report> {
        let job = job(setup, instance)?;
        let kept = self.take(instance, plan, typed)?;
        let policy = Policy::new(&setup.estate.config.act, false);
        let session = connect(job).await?;
        let (_keep, stop) = watch::channel(false);
        let journal = upkeep::journal(self.store.directory())?;
        let act = &setup.estate.config.act;
        let how = How {
            session: &session,
            policy: &policy,
            step: kept.step,
            effects: Effects::Real,
            allow_high_risk: true,
            actor: by,
            why: "",
            journal: &journal,
            stop,
            stop_file: act.stop_file.as_deref(),
            until: None,
            clock: self.now,
            watch: &|_| {},
        };
        let freed = free(&kept.planned.plan, &how).await;
        let freed = freed.map_err(|error| error.report())?;
        Ok(Applied {
            planned: kept.planned,
            outcome: freed.outcome,
            waited: freed.waited,
            waiting: freed.waiting,
        })
    }

    /// Takes a plan that somebody agrees to: it is applied once.
    fn take(&self, instance: &str, plan: &str, typed: &str) -> Result<Kept, Report> {
        let now = (self.now)();
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.retain(|kept| {
            let age = kept.planned.plan.made_at.duration_until(now);
            Duration::try_from(age).is_ok_and(|age| age <= PLAN_AGE_MAX)
        });
        let found = plans.iter().position(|kept| {
            kept.planned.hash == plan && kept.planned.plan.world.instance == instance
        });
        let refused = |why: &str| Report::new(Kind::Refused, why);
        let Some(index) = found else {
            return Err(refused(
                "there is no such plan, or it is too old: make it again",
            ));
        };
        if plans[index].planned.production && typed != instance {
            return Err(refused(
                "the instance is one of production, and its name was not typed",
            ));
        }
        Ok(plans.remove(index).expect("it was found just now"))
    }
}

fn job<'a>(setup: &'a Setup, instance: &str) -> Result<&'a Job, Report> {
    let primary = || format!("there is no instance \"{instance}\"");
    let job = setup.jobs.get(instance);
    job.ok_or_else(|| Report::new(Kind::Usage, primary()).with_hint("pawang estate list"))
}
