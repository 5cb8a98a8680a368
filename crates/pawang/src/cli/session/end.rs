//! `pawang session cancel` and `terminate`: one session that was seen, or the root blockers, by a plan that is shown first.

use pawang_act::Effects;
use pawang_act::session::{Deed, Freed, How, Policy, Step, free};
use pawang_core::plan::{Plan, State};
use pawang_core::{Kind, Report};
use pawang_report::Detail;
use serde_json::json;
use tokio::sync::watch;

use super::person::{grant, only};
use crate::cli::Global;
use crate::cli::account::state;
use crate::cli::confirm::Agreement;
use crate::each::each;
use crate::estate::{Estate, Job, told};
use crate::output::{self, Exit};
use crate::sessions::{Wanted, connect, make};
use crate::{environment, upkeep};

/// Cancel the statement that a session runs
///
/// The plan is shown first. The session is read again by the statement that cancels: another session with the same
/// process id, or the next statement of this one, is never hit. Exit code 1 when the statement went on, 4 when refused.
#[derive(Debug, clap::Args)]
pub(super) struct CancelArgs {
    /// Session ID as `pawang session list` shows it; a process id is enough when you are asked before it is done
    #[arg(value_name = "SESSION")]
    session: String,
    #[command(flatten)]
    common: Common,
}

/// End a session, or the root blockers that make others wait
///
/// The plan is shown first. With --blockers only sessions are touched that make others wait and wait for nobody
/// themselves: a statement that runs is cancelled first, an idle transaction is ended, the effect is looked at for two
/// seconds before the next step, and nothing more is done as soon as everybody who waited goes on. Exit code 1 when
/// somebody waits still, 4 when refused.
#[derive(Debug, clap::Args)]
pub(super) struct TerminateArgs {
    /// Session ID as `pawang session list` shows it; a process id is enough when you are asked before it is done
    #[arg(
        value_name = "SESSION",
        required_unless_present = "blockers",
        conflicts_with = "blockers"
    )]
    session: Option<String>,
    /// Free those that wait: root blockers only, within act.terminate_sessions_max
    #[arg(long)]
    blockers: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    agreement: Agreement,
    /// Everything but the signals themselves
    #[arg(long)]
    dry_run: bool,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
    /// Sessions of superusers too
    #[arg(long)]
    allow_superuser: bool,
}

/// Cancels a statement.
pub(super) fn cancel(args: &CancelArgs, global: &Global) -> Result<Exit, Report> {
    run(
        &Wanted::Named(args.session.clone(), Deed::Cancel),
        &args.common,
        global,
    )
}

/// Ends sessions.
pub(super) fn terminate(args: &TerminateArgs, global: &Global) -> Result<Exit, Report> {
    let wanted = match &args.session {
        Some(session) => Wanted::Named(session.clone(), Deed::Terminate),
        None => Wanted::Blockers,
    };
    run(&wanted, &args.common, global)
}

fn run(wanted: &Wanted, common: &Common, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let job = only(&estate, global)?;
    let policy = Policy::new(&estate.config.act, common.allow_superuser);
    if let Wanted::Named(session, deed) = wanted {
        exact(session, *deed, common)?;
    }
    let jobs = std::slice::from_ref(&job);
    let actor = format!("cli:{}", environment::person());
    let planned = each(&estate, jobs, async |job| {
        make(job, wanted, &policy, &actor, environment::now()).await
    })?;
    let Some(plan) = planned.and_then(|mut plans| plans.pop()) else {
        return Ok(Exit::Interrupted);
    };
    let plan = plan?;
    if !global.json {
        // Whose session it is and what it runs is what somebody agrees to.
        let style = output::style(global.color);
        let hash = pawang_act::hash(&plan);
        output::data(&pawang_report::plan(&plan, &hash, &style, Detail::Long))?;
    }
    if plan.actions.is_empty() {
        return nothing(&plan, &job, wanted, global);
    }
    if !common.dry_run {
        common.agreement.ask(&job)?;
    }
    let Some(freed) = apply(&estate, &job, &plan, wanted, common, &policy)? else {
        return Ok(Exit::Interrupted);
    };
    tell(&plan, &freed, wanted, common, global)
}

/// Refuses a bare process id that nobody is asked about: it may be that of somebody else by now.
fn exact(session: &str, deed: Deed, common: &Common) -> Result<(), Report> {
    if session.contains('.') || common.dry_run || !common.agreement.given() {
        return Ok(());
    }
    let verb = match deed {
        Deed::Cancel => "cancel",
        Deed::Terminate => "terminate",
    };
    Err(Report::new(
        Kind::Refused,
        format!("process id {session} does not say which session was seen"),
    )
    .with_detail(
        "a process id is used again by others; without being asked, the session ID is needed",
    )
    .with_hint(format!(
        "pawang session list, then pawang session {verb} SESSION --yes"
    )))
}

/// Tells that there is nothing to do, or that nothing may be done.
fn nothing(plan: &Plan, job: &Job, wanted: &Wanted, global: &Global) -> Result<Exit, Report> {
    if global.json {
        output::json(schema(wanted), &json!({ "plan": plan, "outcome": null }))?;
    }
    if plan.left.is_empty() {
        if !global.quiet {
            output::talk("nobody waits for a lock: there is nothing to do");
        }
        return Ok(Exit::Good);
    }
    let why: Vec<String> = plan
        .left
        .iter()
        .map(|left| format!("{}: {}", left.object, left.why))
        .collect();
    let (kind, hint) = match plan.left.iter().any(|left| left.blind) {
        true => (Kind::Target, grant(job)),
        false => (Kind::Refused, "pawang session tree".to_owned()),
    };
    Err(Report::new(kind, "none of these sessions may be touched")
        .with_detail(why.join("; "))
        .with_hint(hint))
}

/// Carries a plan out; `None` when a signal came first.
fn apply(
    estate: &Estate,
    job: &Job,
    plan: &Plan,
    wanted: &Wanted,
    common: &Common,
    policy: &Policy,
) -> Result<Option<Freed>, Report> {
    let directory = state::directory_of(estate)?;
    let journal = upkeep::journal(&directory)?;
    let actor = format!("cli:{}", environment::person());
    let effects = match common.dry_run {
        true => Effects::Dry,
        false => Effects::Real,
    };
    let freed = each(estate, std::slice::from_ref(job), async |job| {
        let session = connect(job).await?;
        let (_keep, stop) = watch::channel(false);
        let how = How {
            session: &session,
            policy,
            step: step(wanted),
            effects,
            allow_high_risk: true,
            actor: &actor,
            why: &common.why,
            journal: &journal,
            stop,
            stop_file: estate.config.act.stop_file.as_deref(),
            until: None,
            clock: environment::now,
            watch: &|_| {},
        };
        free(plan, &how).await.map_err(|error| error.report())
    })?;
    freed.and_then(|mut freed| freed.pop()).transpose()
}

fn step(wanted: &Wanted) -> Step {
    match wanted {
        Wanted::Named(..) => Step::Named,
        Wanted::Blockers => Step::Blockers,
    }
}

fn schema(wanted: &Wanted) -> &'static str {
    match wanted {
        Wanted::Named(_, Deed::Cancel) => "pawang.session.cancel/1",
        Wanted::Named(_, Deed::Terminate) | Wanted::Blockers => "pawang.session.terminate/1",
    }
}

fn tell(
    plan: &Plan,
    freed: &Freed,
    wanted: &Wanted,
    common: &Common,
    global: &Global,
) -> Result<Exit, Report> {
    if global.json {
        output::json(schema(wanted), &json!({ "plan": plan, "outcome": freed }))?;
    } else {
        let detail = match global.quiet {
            true => Detail::Quiet,
            false => Detail::Short,
        };
        let style = output::style(global.color);
        let told = pawang_report::outcome(plan, &freed.outcome, &style, detail);
        output::data(&format!("\n{told}"))?;
    }
    let exit = judged(freed, wanted, common.dry_run);
    if global.quiet {
        return Ok(exit);
    }
    if matches!(wanted, Wanted::Blockers) && !common.dry_run {
        output::talk(&format!(
            "{} sessions waited, {} wait still",
            freed.waited, freed.waiting
        ));
    }
    if exit != Exit::Good {
        output::talk("hint: pawang session tree");
    }
    Ok(exit)
}

/// Returns the exit code of an outcome: nothing was allowed, the role may not, or it was to no avail.
fn judged(freed: &Freed, wanted: &Wanted, dry_run: bool) -> Exit {
    let actions = &freed.outcome.actions;
    let some = |states: &[State]| actions.iter().any(|done| states.contains(&done.state));
    let good = match dry_run {
        true => freed.outcome.good(),
        false => freed.good(step(wanted)),
    };
    if good {
        Exit::Good
    } else if actions.iter().any(|done| done.hint.is_some()) {
        // The only hint of such a step is the privilege that the role lacks.
        Exit::Target
    } else if some(&[State::Refused, State::Skipped]) && !some(&[State::Done, State::Failed]) {
        Exit::Refused
    } else {
        Exit::Answer
    }
}
