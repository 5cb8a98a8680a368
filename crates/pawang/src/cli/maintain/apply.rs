//! `pawang maintain apply`: a plan that was agreed to, or what a policy finds due, under guard.

use std::path::PathBuf;

use pawang_act::{Effects, Progress, Step};
use pawang_config::schedule::Schedule;
use pawang_core::plan::{Outcome, Plan, Risk};
use pawang_core::{Kind, Report, Timestamp};
use pawang_report::Detail;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::plan::{show, worse};
use crate::cli::Global;
use crate::cli::account::state;
use crate::cli::confirm::Agreement;
use crate::daemon::{Wanted, order};
use crate::each::each;
use crate::estate::{Estate, Job, told};
use crate::output::{self, Exit};
use crate::upkeep::Basis;
use crate::{environment, upkeep};

/// A plan file is not longer.
const PLAN_BYTES_MAX: u64 = 64 << 20;

/// Apply a plan file, or what a policy finds due
///
/// The plan is shown, somebody agrees, each object is compared with the plan, and each action runs under its guard: it
/// never makes others wait for more than an instant, stops when the server suffers, and is written into the journal
/// before and after. Ctrl-C stops what runs, safely. Exit code 1 when anything planned was not done, 4 when refused.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plan, as `pawang maintain plan -o FILE` wrote it
    #[arg(
        value_name = "PLAN",
        required_unless_present = "policy",
        conflicts_with = "policy"
    )]
    plan: Option<PathBuf>,
    /// Plan by this policy of pawang.toml, and apply that
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Only within the window of the policy: nothing is done outside of it, and what runs at its end is stopped
    #[arg(long, requires = "policy")]
    window: bool,
    /// Everything but the changes themselves
    #[arg(long)]
    dry_run: bool,
    /// Also do what is of high risk, such as VACUUM FULL or dropping a partition
    #[arg(long)]
    allow_high_risk: bool,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
    #[command(flatten)]
    agreement: Agreement,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let work = Work {
        args,
        global,
        estate: &estate,
    };
    match &args.plan {
        Some(file) => {
            let plan = read(file)?;
            let named = [plan.world.instance.clone()];
            let wanted = if global.instances.is_empty() {
                &named[..]
            } else {
                &global.instances
            };
            let mut jobs = estate.jobs(wanted, None)?;
            let (Some(job), true) = (jobs.pop(), jobs.is_empty()) else {
                return Err(Report::new(Kind::Usage, "a plan is for one instance")
                    .with_hint(format!("pawang maintain apply {} -i NAME", file.display())));
            };
            work.one(&plan, &job, None, 2, args.allow_high_risk)
        }
        None => work.by_policy(),
    }
}

/// Shows a plan of one's own making, asks, and applies it whatever its risk; says what became of it and whether it was stopped.
///
/// # Errors
/// Nobody agreed, or nothing was done.
pub(crate) fn agreed(
    plan: &Plan,
    job: &Job,
    (agreement, why): (&Agreement, &str),
    estate: &Estate,
    global: &Global,
) -> Result<(Outcome, bool), Report> {
    let args = Args {
        plan: None,
        policy: None,
        window: false,
        dry_run: false,
        allow_high_risk: true,
        why: why.to_owned(),
        agreement: agreement.clone(),
    };
    let work = Work {
        args: &args,
        global,
        estate,
    };
    if !global.json {
        show(plan, false, global)?;
    }
    agreement.ask(job)?;
    let done = work.carry_out(plan, job, None, 1, true)?;
    look_again(estate, job);
    if !global.json {
        work.tell(plan, Some(&done.0))?;
    }
    Ok(done)
}

fn read(file: &std::path::Path) -> Result<Plan, Report> {
    let could_not = |detail: String| {
        Report::new(
            Kind::Usage,
            format!("could not read plan \"{}\"", file.display()),
        )
        .with_detail(detail)
        .with_hint("pawang maintain plan -i NAME -o FILE")
    };
    let length = std::fs::metadata(file)
        .map_err(|error| could_not(error.to_string()))?
        .len();
    if length > PLAN_BYTES_MAX {
        return Err(could_not(format!(
            "it has {length} bytes, {PLAN_BYTES_MAX} are read"
        )));
    }
    let text = std::fs::read_to_string(file).map_err(|error| could_not(error.to_string()))?;
    pawang_act::read_plan(&text).map_err(|error| error.report())
}

struct Work<'a> {
    args: &'a Args,
    global: &'a Global,
    estate: &'a Estate,
}

impl Work<'_> {
    /// Plans by the policy and applies, one server after the other, so that each is agreed to by itself.
    fn by_policy(&self) -> Result<Exit, Report> {
        let name = self.args.policy.as_deref();
        let basis = Basis::new(self.estate, name, &[])?;
        let until = if self.args.window {
            Some(self.open_until(&basis)?)
        } else {
            None
        };
        let wanted = name.and_then(|name| self.estate.config.maintenance.policies.get(name));
        let patterns = wanted.and_then(|policy| policy.instances.clone());
        let covers = |job: &Job| {
            let name = &job.instance.name;
            patterns
                .as_ref()
                .is_none_or(|all| all.iter().any(|p| pawang_config::matches(p, name)))
        };
        let mut jobs = self.estate.jobs(&self.global.instances, None)?;
        jobs.retain(covers);
        if jobs.is_empty() {
            return Err(
                Report::new(Kind::Usage, "the policy is for none of these instances")
                    .with_hint("pawang estate list"),
            );
        }
        let by = format!("cli:{}", environment::person());
        let mut exit = Exit::Good;
        for job in jobs {
            let plans = each(self.estate, std::slice::from_ref(&job), async |job| {
                basis.plan(self.estate, job, &by, environment::now).await
            })?;
            let Some(plan) = plans.and_then(|mut plans| plans.pop()) else {
                return Ok(Exit::Interrupted);
            };
            let high = self.args.allow_high_risk || !basis.policy.allow.is_empty();
            let done = plan.and_then(|plan| self.one(&plan, &job, until, basis.policy.lanes, high));
            match done {
                Ok(Exit::Interrupted) => return Ok(Exit::Interrupted),
                Ok(one) => exit = worse(exit, one),
                Err(report) => {
                    exit = worse(exit, Exit::from(report.kind));
                    output::talk(&report.to_string());
                }
            }
        }
        Ok(exit)
    }

    /// Returns when the window that is open now ends.
    fn open_until(&self, basis: &Basis) -> Result<Timestamp, Report> {
        let name = &basis.policy.name;
        let refused = |why: String| {
            Report::new(Kind::Refused, why)
                .with_hint(format!("pawang maintain apply --policy {name}"))
        };
        let Some(window) = &basis.policy.window else {
            return Err(refused(format!("policy \"{name}\" has no window")));
        };
        let schedule = Schedule::parse(window).map_err(|detail| {
            Report::new(Kind::Usage, format!("cannot read window \"{window}\"")).with_detail(detail)
        })?;
        let now = environment::now();
        match schedule.open(now) {
            Some(open) => Ok(open.to),
            None => Err(refused(format!(
                "the window of policy \"{name}\", {window}, is not open"
            ))),
        }
    }

    /// Shows one plan, asks, applies, tells.
    fn one(
        &self,
        plan: &Plan,
        job: &Job,
        until: Option<Timestamp>,
        lanes: u32,
        allow_high_risk: bool,
    ) -> Result<Exit, Report> {
        if !self.global.json {
            show(plan, false, self.global)?;
        }
        let blind = plan.left.iter().any(|left| left.blind);
        if plan.actions.is_empty() {
            self.tell(plan, None)?;
            return Ok(if blind { Exit::Target } else { Exit::Good });
        }
        if plan.actions.iter().any(|action| action.risk == Risk::High) && !allow_high_risk {
            output::talk("note: what is of high risk is left out without --allow-high-risk");
        }
        if !self.args.dry_run {
            self.args.agreement.ask(job)?;
        }
        let (outcome, stopped) = self.carry_out(plan, job, until, lanes, allow_high_risk)?;
        if !self.args.dry_run {
            look_again(self.estate, job);
        }
        self.tell(plan, Some(&outcome))?;
        Ok(match (stopped, outcome.good(), blind) {
            (true, ..) => Exit::Interrupted,
            (_, false, _) => Exit::Answer,
            (_, true, true) => Exit::Target,
            (_, true, false) => Exit::Good,
        })
    }

    /// Applies the plan; a first signal stops what runs and is waited for. Says whether one came.
    fn carry_out(
        &self,
        plan: &Plan,
        job: &Job,
        until: Option<Timestamp>,
        lanes: u32,
        allow_high_risk: bool,
    ) -> Result<(Outcome, bool), Report> {
        let directory = state::directory_of(self.estate)?;
        let journal = upkeep::journal(&directory)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let start = |error: std::io::Error| {
            Report::new(Kind::Target, "could not start").with_detail(error.to_string())
        };
        let actor = format!("cli:{}", environment::person());
        runtime.map_err(start)?.block_on(async {
            let (tell, stop) = watch::channel(false);
            let mut interrupt = signal(SignalKind::interrupt()).map_err(start)?;
            let mut terminate = signal(SignalKind::terminate()).map_err(start)?;
            let quiet = self.global.quiet;
            let how = upkeep::How {
                config: &self.estate.config,
                target: &job.target,
                journal: &journal,
                actor: &actor,
                why: &self.args.why,
                lanes,
                until,
                stop,
                clock: environment::now,
                effects: if self.args.dry_run {
                    Effects::Dry
                } else {
                    Effects::Real
                },
                allow_high_risk,
                watch: &|progress| {
                    if !quiet {
                        step(progress)
                    }
                },
            };
            let work = upkeep::apply(plan, &how);
            let mut work = std::pin::pin!(work);
            let mut stopped = false;
            loop {
                tokio::select! {
                    done = &mut work => {
                        let (settled, outcome) = done?;
                        for one in settled {
                            output::talk(&format!("settled {}: {}", one.intent.action, one.found));
                        }
                        return Ok((outcome, stopped));
                    }
                    _ = interrupt.recv(), if !stopped => stopped = true,
                    _ = terminate.recv(), if !stopped => stopped = true,
                }
                output::talk("stopping: what runs is cancelled and written down");
                tell.send_replace(true);
            }
        })
    }

    fn tell(&self, plan: &Plan, outcome: Option<&Outcome>) -> Result<(), Report> {
        if self.global.json {
            let data = json!({ "hash": pawang_act::hash(plan), "plan": plan, "outcome": outcome });
            return output::json("pawang.maintain.apply/1", &data);
        }
        let Some(outcome) = outcome else {
            return Ok(());
        };
        let detail = if self.global.quiet {
            Detail::Quiet
        } else {
            Detail::Short
        };
        let style = output::style(self.global.color);
        output::data(&format!(
            "\n{}",
            pawang_report::outcome(plan, outcome, &style, detail)
        ))
    }
}

/// Lets a daemon that runs look at what was changed; without one nobody has to know.
fn look_again(estate: &Estate, job: &Job) {
    if let Some(directory) = estate.data_directory() {
        let _nobody = order(&directory, &Wanted::Look(job.instance.name.clone()));
    }
}

/// Tells a step while it happens.
fn step(progress: &Progress) {
    let action = &progress.action;
    output::talk(&match &progress.step {
        Step::Waiting { why } => format!("{action}: waits: {why}"),
        Step::Begun { tries: 1, .. } => format!("{action}: begun"),
        Step::Begun { tries, .. } => format!("{action}: try {tries}"),
        Step::Ended { state, .. } => format!("{action}: {state}"),
    });
}
