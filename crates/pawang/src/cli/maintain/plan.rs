//! `pawang maintain plan`: what is due on each server, with the exact statements; nothing is changed.

use std::path::PathBuf;

use pawang_config::Area;
use pawang_core::plan::{Plan, Risk};
use pawang_core::{Kind, Report};
use pawang_report::Detail;
use serde_json::json;

use crate::cli::Global;
use crate::each::each;
use crate::environment;
use crate::estate::{Estate, Job, told};
use crate::output::{self, Exit};
use crate::upkeep::Basis;

/// Show what is due, why, what it would cost, and the exact statements
///
/// Nothing is changed. Subjects: wraparound, partitions, leftovers, vacuum, analyze, statistics, tuning, reindex,
/// rewrite, cleanup; those of the policy when none is named, all without a policy. Exit code 1 when something is due,
/// 3 when something could not be seen.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only these subjects
    #[arg(value_name = "SUBJECT", value_parser = area)]
    areas: Vec<Area>,
    /// By this policy of pawang.toml
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Also evidence, guards, verification, undo, and everything that is left alone
    #[arg(long)]
    explain: bool,
    /// Also write the plan to a file, for `pawang maintain apply FILE`
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Reads the name of a subject.
fn area(text: &str) -> Result<Area, String> {
    let names = || Area::ALL.iter().map(|area| area.name());
    Area::ALL
        .into_iter()
        .find(|area| area.name() == text)
        .ok_or_else(|| match pawang_config::nearest(text, names()) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
        })
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let jobs = estate.jobs(&global.instances, None)?;
    if let (Some(_), [_, _, ..]) = (&args.output, jobs.as_slice()) {
        return Err(Report::new(Kind::Usage, "a plan file is for one instance")
            .with_hint("name it: pawang maintain plan -i NAME -o FILE"));
    }
    let basis = Basis::new(&estate, args.policy.as_deref(), &args.areas)?;
    let by = format!("cli:{}", environment::person());
    let plan = async |job: &Job| basis.plan(&estate, job, &by, environment::now).await;
    let Some(plans) = each(&estate, &jobs, plan)? else {
        return Ok(Exit::Interrupted);
    };
    let mut exit = Exit::Good;
    let mut shown = Vec::new();
    for plan in plans {
        match plan {
            Ok(plan) => {
                exit = worse(exit, judged(&plan));
                if let Some(file) = &args.output {
                    write(&plan, file)?;
                }
                if !global.json {
                    show(&plan, args.explain, global)?;
                }
                shown.push(json!({ "hash": pawang_act::hash(&plan), "plan": plan }));
            }
            // One server that does not answer hides nothing of the others.
            Err(report) if jobs.len() > 1 => {
                exit = worse(exit, Exit::from(report.kind));
                output::talk(&report.to_string());
            }
            Err(report) => return Err(report),
        }
    }
    if global.json {
        output::json("pawang.maintain.plan/1", &shown)?;
    }
    Ok(exit)
}

/// Shows a plan to whoever has to agree to it.
pub(super) fn show(plan: &Plan, explain: bool, global: &Global) -> Result<(), Report> {
    let detail = match (explain || global.verbose > 0, global.quiet) {
        (true, _) => Detail::Long,
        (_, true) => Detail::Quiet,
        _ => Detail::Short,
    };
    let hash = pawang_act::hash(plan);
    output::data(&pawang_report::plan(
        plan,
        &hash,
        &output::style(global.color),
        detail,
    ))
}

/// Returns the exit code that a plan stands for.
fn judged(plan: &Plan) -> Exit {
    match (
        plan.left.iter().any(|left| left.blind),
        plan.actions.is_empty(),
    ) {
        (true, _) => Exit::Target,
        (false, false) => Exit::Answer,
        (false, true) => Exit::Good,
    }
}

/// Returns the exit code that says more.
pub(super) fn worse(one: Exit, other: Exit) -> Exit {
    let rank = |exit: Exit| match exit {
        Exit::Good => 0,
        Exit::Answer => 1,
        Exit::Target => 2,
        Exit::Usage => 3,
        _ => 4,
    };
    if rank(other) > rank(one) { other } else { one }
}

/// Writes a plan into a file, for `pawang maintain apply`.
///
/// # Errors
/// The disk refuses.
pub(crate) fn write(plan: &Plan, file: &std::path::Path) -> Result<(), Report> {
    let text = serde_json::to_string_pretty(plan).expect("a plan is texts, numbers and instants");
    output::replace_file(file, &(text + "\n"))?;
    let high = plan.actions.iter().any(|action| action.risk == Risk::High);
    output::talk(&format!(
        "written to {}; apply it: pawang maintain apply {} -i {}{}",
        file.display(),
        file.display(),
        plan.world.instance,
        if high { " --allow-high-risk" } else { "" }
    ));
    Ok(())
}
