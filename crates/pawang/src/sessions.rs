//! Plans about the sessions of a server, for the command line and for the dashboard.

use pawang_act::session::{Decision, Deed, Policy, Process, View, blockers, draft, look, one};
use pawang_core::plan::{Plan, World};
use pawang_core::{Kind, Report, Timestamp};
use pawang_postgres::Session;

use crate::estate::Job;

/// What the sessions that look and signal call themselves.
const PURPOSE: &str = "session";

/// What is wanted of the sessions of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// One session, by session ID or process id, and what is done to it.
    Named(String, Deed),
    /// Those that wait go on, by ending root blockers.
    Blockers,
}

impl Wanted {
    /// Returns what the plan is called: the command that makes it.
    fn title(&self) -> &'static str {
        match self {
            Wanted::Named(_, Deed::Cancel) => "session cancel",
            Wanted::Named(_, Deed::Terminate) => "session terminate",
            Wanted::Blockers => "session terminate --blockers",
        }
    }
}

/// Connects to a server.
///
/// # Errors
/// It does not answer.
pub(crate) async fn connect(job: &Job) -> Result<Session, Report> {
    let session = Session::connect(&job.target, PURPOSE).await;
    session.map_err(|error| error.report())
}

/// Looks at a server and makes a plan; nothing is changed.
///
/// # Errors
/// The server does not answer, or there is no such session.
pub(crate) async fn make(
    job: &Job,
    wanted: &Wanted,
    policy: &Policy,
    made_by: &str,
    now: Timestamp,
) -> Result<Plan, Report> {
    let session = connect(job).await?;
    let view = look(&session).await.map_err(|error| error.report())?;
    let decision = decide(&view, wanted, policy)?;
    let world = world(job, &session);
    let plan = draft(wanted.title(), world, decision, &view, made_by, now);
    plan.map_err(|error| error.report())
}

fn decide(view: &View, wanted: &Wanted, policy: &Policy) -> Result<Decision, Report> {
    Ok(match wanted {
        Wanted::Blockers => blockers(view, policy),
        Wanted::Named(name, deed) => one(view, find(view, name)?, *deed, policy),
    })
}

/// Returns the session that somebody named, by session ID or process id.
fn find<'a>(view: &'a View, name: &str) -> Result<&'a Process, Report> {
    let named = |process: &&Process| match name.contains('.') {
        true => process.session_id().as_deref() == Some(name),
        false => process.pid.to_string() == name,
    };
    view.processes.iter().find(named).ok_or_else(|| {
        let primary = format!("there is no session \"{name}\" any more");
        Report::new(Kind::Answer, primary).with_hint("pawang session list")
    })
}

/// Returns which server a plan is for.
pub(crate) fn world(job: &Job, session: &Session) -> World {
    let epoch = &session.server.epoch;
    let known = epoch.system_identifier != 0;
    World {
        instance: job.instance.name.clone(),
        system_identifier: known.then(|| epoch.system_identifier.to_string()),
        timeline: known.then_some(i64::from(epoch.timeline)),
        version: session.server.version,
    }
}
