//! `pawang logs settings`: what a server does not log, and the plan that would change it.

use std::collections::BTreeSet;
use std::fmt::Write;

use pawang_collect::{HostRequest, Request, observe};
use pawang_core::{Facts, Kind, Level, Missing, Report};
use pawang_logs::settings::{self, Platform, Proposal, Settings, Workload};
use pawang_logs::threshold::Budget;
use pawang_postgres::{Session, Target};
use pawang_report::one_line;
use serde_json::json;

use super::remote;
use crate::cli::Global;
use crate::cli::statements::Statements;
use crate::each::each;
use crate::environment;
use crate::estate::{Estate, Job, told};
use crate::grid::Grid;
use crate::output::{self, Exit};

/// The collector that reads all settings.
const COLLECTOR: &str = "settings";

/// The budgets that can be asked for.
const LINES_MAX: f64 = 1e6;
const MEGABYTES_MAX: f64 = 1e7;
/// A rate of the log is told from files over so long at least.
const LOG_SECONDS_MIN: f64 = 60.0;
/// Files that were written longer ago say nothing about the log of today.
const LOG_SECONDS_MAX: f64 = 172_800.0;

const EXAMPLES: &str = "\
Examples:
  pawang logs settings -i dwh-1
  pawang logs settings -i dwh-1 --lines-per-second 2 --mb-per-day 200
  pawang logs settings postgres://monitor@db-1/dwh --json";

/// What a server does not log, what logging it would cost, and the statements for it
///
/// Nothing is changed: the plan is printed for a superuser to run, or for the parameter group of a hosted server. From which
/// duration on statements should be written is told by pg_stat_statements: the smallest that keeps within the budget. Exits
/// with 1 when something that matters is missing.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct Args {
    /// A server, instead of -i
    #[arg(value_name = "URL", conflicts_with = "instances")]
    url: Option<String>,
    /// How many lines slow statements may add
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    lines_per_second: f64,
    /// How many megabytes slow statements may add
    #[arg(long, value_name = "N", default_value_t = 1_000.0)]
    mb_per_day: f64,
}

/// What is known of the log and of the statements of one server.
#[derive(Default)]
struct Known {
    workload: Option<Workload>,
    /// Why the workload is not known, with what would make it known.
    why: Option<Report>,
    /// Bytes a second that the log grows by, and over how many seconds that was seen.
    log: Option<(f64, f64)>,
}

/// What is proposed for one server, or why it could not be asked.
struct Answer {
    name: String,
    version: String,
    platform: Platform,
    known: Known,
    proposals: Result<Vec<Proposal>, Report>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let budget = budget(args)?;
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
        let facts = observe(&request).await;
        // Who did not answer once is not asked again.
        let known = match facts.server {
            Ok(_) => known(&job.target, budget).await,
            Err(_) => Known::default(),
        };
        answer(&facts, known)
    };
    let Some(answers) = each(&estate, &jobs, look)? else {
        output::talk("interrupted: nothing was written");
        return Ok(Exit::Interrupted);
    };
    tell(&answers, global)
}

fn budget(args: &Args) -> Result<Budget, Report> {
    let within = |value: f64, most: f64| value > 0.0 && value <= most;
    if within(args.lines_per_second, LINES_MAX) && within(args.mb_per_day, MEGABYTES_MAX) {
        return Ok(Budget {
            lines_per_second: args.lines_per_second,
            bytes_per_day: args.mb_per_day * 1e6,
        });
    }
    let report = Report::new(
        Kind::Usage,
        "cannot use that budget: it is not above 0, or far too large",
    );
    Err(report.with_hint("pawang logs settings --lines-per-second 10 --mb-per-day 1000"))
}

/// Asks how long statements take, and how fast the log grows.
async fn known(target: &Target, budget: Budget) -> Known {
    let mut known = Known::default();
    let statements = match Statements::open(target, "logs").await {
        Ok(statements) => statements,
        Err(report) => {
            known.why = Some(report);
            if let Ok(session) = Session::connect(target, "logs").await {
                known.log = log_rate(&session).await;
            }
            return known;
        }
    };
    match statements.spreads().await {
        Ok((spreads, seconds)) if spreads.iter().any(|spread| spread.calls > 0.0) => {
            known.workload = Some(Workload {
                source: format!(
                    "pg_stat_statements, {} statements over {}",
                    spreads.len(),
                    length(seconds)
                ),
                spreads,
                seconds,
                budget,
            });
        }
        Ok(_) => {
            let report = Report::new(Kind::Target, "pg_stat_statements has counted nothing yet");
            known.why = Some(match &statements.quiet {
                Some(quiet) => report.with_hint(quiet.clone()),
                None => report,
            });
        }
        Err(report) => known.why = Some(report),
    }
    known.log = log_rate(&statements.session).await;
    known
}

/// Returns how many bytes a second the log grows by, and over how many seconds that was seen, from its files; `None` when the role may
/// not list them, or when there are not two of them.
async fn log_rate(session: &Session) -> Option<(f64, f64)> {
    let mut files = remote::list(session).await.ok()?;
    files.retain(|file| file.modified.is_some());
    files.sort_by_key(|file| file.modified);
    let newest = files.last()?.modified?;
    let ago =
        |file: &remote::RemoteFile| file.modified.map_or(0.0, |at| (newest - at) as f64 / 1e6);
    // The first one is only the beginning of the second.
    files.retain(|file| ago(file) <= LOG_SECONDS_MAX);
    let seconds = ago(files.first()?);
    let bytes: u64 = files.iter().skip(1).map(|file| file.size).sum();
    (seconds >= LOG_SECONDS_MIN).then(|| (bytes as f64 / seconds, seconds))
}

fn length(seconds: f64) -> String {
    match seconds {
        seconds if seconds >= 172_800.0 => format!("{:.1} days", seconds / 86_400.0),
        seconds if seconds >= 7_200.0 => format!("{:.1} h", seconds / 3_600.0),
        seconds => format!("{:.0} min", (seconds / 60.0).max(1.0)),
    }
}

fn answer(facts: &Facts, known: Known) -> Answer {
    let server = facts.server.as_ref();
    let settings = settings_of(facts);
    let empty = Settings::new();
    Answer {
        name: facts.instance.name.clone(),
        version: server.map_or_else(|_| String::new(), |server| server.short_version()),
        platform: settings::platform(settings.as_ref().map_or(&empty, |(settings, _)| settings)),
        proposals: settings
            .map(|(settings, major)| settings::propose(&settings, major, known.workload.as_ref())),
        known,
    }
}

/// Returns the settings, and the major version of the server.
fn settings_of(facts: &Facts) -> Result<(Settings, u32), Report> {
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
    Ok((settings, server.major()))
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
                    notes(answer);
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

/// Says what is known of the log now, and why its growth is not.
fn notes(answer: &Answer) {
    let name = &answer.name;
    match answer.known.log {
        Some((rate, seconds)) => output::talk(&format!(
            "{name}: the log grows by {:.0} MB a day now, by its files of the last {}",
            rate * 86_400.0 / 1e6,
            length(seconds)
        )),
        None => output::talk(&format!(
            "{name}: how fast the log grows now is not known: the role cannot list two of its files"
        )),
    }
    if let Some(why) = &answer.known.why {
        let hint = why
            .hint
            .as_ref()
            .map(|hint| format!(": {hint}"))
            .unwrap_or_default();
        output::talk(&format!(
            "{name}: how long statements take is not known: {}{hint}",
            why.primary
        ));
    }
}

fn as_json(answer: &Answer) -> serde_json::Value {
    match &answer.proposals {
        Ok(proposals) => json!({
            "instance": answer.name,
            "version": answer.version,
            "platform": answer.platform,
            "proposals": proposals,
            "script": settings::script_for(answer.platform, proposals),
            "statements": match (&answer.known.workload, &answer.known.why) {
                (Some(known), _) => json!({ "source": known.source, "seconds": known.seconds, "budget": known.budget }),
                (None, why) => json!({ "missing": why }),
            },
            "log_bytes_per_second": answer.known.log.map(|(rate, _)| rate),
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
                proposal.cost.clone(),
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
    for line in settings::script_for(answer.platform, proposals) {
        let _ = writeln!(out, "  {line}");
    }
    out
}
