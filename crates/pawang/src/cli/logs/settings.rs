//! `pawang logs settings`: what a server does not log, and the plan that would change it.

use std::collections::BTreeSet;
use std::fmt::Write;

use pawang_collect::{HostRequest, Request, observe};
use pawang_core::{Facts, Kind, Level, Missing, Report};
use pawang_logs::settings::{self, Proposal, Settings};
use pawang_report::one_line;
use serde_json::json;

use crate::cli::Global;
use crate::each::each;
use crate::environment;
use crate::estate::{Estate, Job, told};
use crate::grid::Grid;
use crate::output::{self, Exit};

/// The collector that reads all settings.
const COLLECTOR: &str = "settings";

const EXAMPLES: &str = "\
Examples:
  pawang logs settings -i dwh-1
  pawang logs settings postgres://monitor@db-1/dwh --json";

/// What a server does not log, what logging it would cost, and the statements for it
///
/// Nothing is changed: the plan is printed for a superuser to run. Exits with 1 when something that matters is missing.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct Args {
    /// A server, instead of -i
    #[arg(value_name = "URL", conflicts_with = "instances")]
    url: Option<String>,
}

/// What is proposed for one server, or why it could not be asked.
struct Answer {
    name: String,
    version: String,
    proposals: Result<Vec<Proposal>, Report>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let jobs = estate.jobs(&global.instances, args.url.as_deref())?;
    let catalog = estate.catalog()?;
    let collectors: BTreeSet<String> = [COLLECTOR.to_owned()].into();
    let look = async |job: &Job| {
        let request = Request {
            instance: &job.instance,
            target: &job.target,
            purpose: "logs",
            catalog: &catalog,
            collectors: &collectors,
            questions: &[],
            databases: &[],
            pgbouncer: None,
            patroni: None,
            host: HostRequest::default(),
            backups: &[],
            now: environment::now(),
        };
        answer(&observe(&request).await)
    };
    let Some(answers) = each(&estate, &jobs, look)? else {
        output::talk("interrupted: nothing was written");
        return Ok(Exit::Interrupted);
    };
    tell(&answers, global)
}

fn answer(facts: &Facts) -> Answer {
    let server = facts.server.as_ref();
    Answer {
        name: facts.instance.name.clone(),
        version: server.map_or_else(|_| String::new(), |server| server.short_version()),
        proposals: proposals(facts),
    }
}

fn proposals(facts: &Facts) -> Result<Vec<Proposal>, Report> {
    let failed = |detail: String| {
        let name = &facts.instance.name;
        Report::new(
            Kind::Target,
            format!("could not read the settings of \"{name}\""),
        )
        .with_detail(one_line(&detail))
    };
    let server = facts
        .server
        .as_ref()
        .map_err(|blind| failed(blind.sentence()).with_hint(blind.remedy()))?;
    let snapshot = facts
        .snapshot(COLLECTOR, None)
        .map_err(|missing| match missing {
            Missing::NotApplicable(why) => failed(why),
            Missing::Blind(blind) => failed(blind.sentence()).with_hint(blind.remedy()),
        })?;
    let text = |row: &pawang_core::Row<'_>, name: &str| row.text(name).map(str::to_owned);
    let settings: Settings = snapshot
        .rows()
        .filter_map(|row| Some((text(&row, "name")?, text(&row, "setting")?)))
        .collect();
    Ok(settings::propose(&settings, server.major()))
}

fn tell(answers: &[Answer], global: &Global) -> Result<Exit, Report> {
    if global.json {
        let data: Vec<_> = answers.iter().map(as_json).collect();
        output::json("pawang.logs.settings/1", &data)?;
    }
    let (mut missing, mut silent) = (false, None);
    for answer in answers {
        match &answer.proposals {
            Ok(proposals) => {
                missing |= proposals
                    .iter()
                    .any(|proposal| proposal.level >= Level::Warning);
                if !global.json {
                    output::data(&text(answer, proposals, answers.len() > 1))?;
                }
            }
            Err(report) => {
                if let Some(earlier) = silent.replace(report.clone()) {
                    output::talk(&format!("{earlier}\n"));
                }
            }
        }
    }
    match silent {
        Some(report) => Err(report),
        None if missing => Ok(Exit::Answer),
        None => Ok(Exit::Good),
    }
}

fn as_json(answer: &Answer) -> serde_json::Value {
    match &answer.proposals {
        Ok(proposals) => json!({
            "instance": answer.name,
            "version": answer.version,
            "proposals": proposals,
            "script": settings::script(proposals),
        }),
        Err(report) => json!({ "instance": answer.name, "error": report }),
    }
}

fn text(answer: &Answer, proposals: &[Proposal], heading: bool) -> String {
    let mut out = String::new();
    if heading {
        let _ = writeln!(out, "{}:", one_line(&answer.name));
    }
    if proposals.is_empty() {
        out.push_str("everything that matters is logged\n");
        return out;
    }
    if !output::terminal() {
        let mut grid = Grid::new(&[
            "level", "setting", "now", "wanted", "missing", "cost", "takes",
        ]);
        for proposal in proposals {
            grid.row(vec![
                proposal.level.to_string(),
                proposal.setting.to_owned(),
                proposal.current.clone(),
                proposal.wanted.clone(),
                proposal.missing.clone(),
                proposal.cost.to_owned(),
                if proposal.restart {
                    "restart"
                } else {
                    "reload"
                }
                .to_owned(),
            ]);
        }
        return out + &grid.text();
    }
    for proposal in proposals {
        let now = if proposal.current.is_empty() {
            "empty"
        } else {
            &proposal.current
        };
        let _ = writeln!(
            out,
            "{:<8}  {} is {}",
            proposal.level,
            proposal.setting,
            one_line(now)
        );
        let _ = writeln!(out, "          not told  {}", one_line(&proposal.missing));
        let _ = writeln!(out, "          costs     {}", proposal.cost);
    }
    out.push_str("\nPlan, for a superuser; nothing was changed:\n");
    for line in settings::script(proposals) {
        let _ = writeln!(out, "  {line}");
    }
    out
}
