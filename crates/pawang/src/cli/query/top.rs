//! `pawang query top`: the statements that cost most over a stretch of time, from the history of pg_stat_statements or from the server now.

use pawang_core::{ByteSize, Kind, Report};
use pawang_store::history::{Statement, Workload};
use serde::Serialize;

use super::live::{self, Asked, Seen};
use super::{blocks, from_history, milliseconds};
use crate::cli::Global;
use crate::cli::history::{History, span};
use crate::each::each;
use crate::estate::{Estate, told};
use crate::grid::Grid;
use crate::output::{self, Exit};

/// Show the statements that cost most over a stretch of time
///
/// From the history that `pawang serve` keeps; where there is none, or with --for or --total, the server is asked now: two
/// looks over one read-only connection. Growth is never counted across a restart or a reset, and never negative. What the
/// extension had to forget for lack of room (pg_stat_statements.max) is in the total of the history, and said.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A server to ask now, instead of -i
    #[arg(value_name = "URL", conflicts_with = "instances")]
    url: Option<String>,
    #[command(flatten)]
    asked: Asked,
    /// How many
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    /// By what they are ordered
    #[arg(long, value_enum, default_value_t = By::Time)]
    by: By,
    /// How far back in the history: a length of time such as 1h or 7d, or an instant such as 03:12 [default: 24h]
    #[arg(long, value_name = "TIME", conflicts_with_all = ["length", "total", "url"])]
    since: Option<String>,
    /// Until when
    #[arg(long, default_value = "now", value_name = "TIME")]
    until: String,
    /// Only statements called in this database
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Only statements called by this role
    #[arg(long, value_name = "ROLE")]
    user: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum By {
    Time,
    Mean,
    Calls,
    Rows,
    Read,
    Temp,
    Wal,
    Planning,
    /// How many times more time per second than a day before
    Change,
}

#[derive(Serialize)]
struct Answer {
    instance: String,
    workload: Workload,
    /// How the server was asked; absent for what the history holds.
    live: Option<Seen>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let live = args.asked.wanted() || args.url.is_some();
    let history = match live {
        true => None,
        false => from_history(global, args.since.is_some() || args.by == By::Change)?,
    };
    let mut silent = None;
    let mut answers = match history {
        Some((history, instances)) => remembered(args, &history, instances)?,
        None => match now(args, global, &mut silent)? {
            Some(answers) => answers,
            None => return Ok(Exit::Interrupted),
        },
    };
    answers.iter_mut().for_each(|answer| choose(args, answer));
    let none = answers
        .iter()
        .all(|answer| answer.workload.statements.is_empty());
    if global.json {
        output::json("pawang.query.top/1", &answers)?;
    } else {
        answers.iter().try_for_each(tell)?;
    }
    match silent {
        Some(report) => Err(report),
        None if none => Ok(Exit::Answer),
        None => Ok(Exit::Good),
    }
}

fn remembered(
    args: &Args,
    history: &History,
    instances: Vec<String>,
) -> Result<Vec<Answer>, Report> {
    let span = span(args.since.as_deref().unwrap_or("24h"), &args.until)?;
    let answer = |instance: String| {
        let workload = history.reader.statements(&instance, span);
        Ok(Answer {
            workload: workload.map_err(|error| error.report())?,
            instance,
            live: None,
        })
    };
    instances.into_iter().map(answer).collect()
}

/// Asks the servers; `None` when a signal came first. Of those that do not answer, the last one is in `silent`.
fn now(
    args: &Args,
    global: &Global,
    silent: &mut Option<Report>,
) -> Result<Option<Vec<Answer>>, Report> {
    if args.by == By::Change {
        return Err(Report::new(
            Kind::Usage,
            "cannot compare with the day before: a server that is asked now has no past",
        )
        .with_hint("pawang serve begins to remember"));
    }
    let between = args.asked.between()?;
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let jobs = estate.jobs(&global.instances, args.url.as_deref())?;
    let asked = each(&estate, &jobs, async |job| {
        let answered = live::ask(&job.target, between, None).await;
        (job.instance.name.clone(), answered)
    })?;
    let Some(asked) = asked else {
        return Ok(None);
    };
    let mut answers = Vec::new();
    for (instance, answered) in asked {
        match answered {
            Ok(answered) => answers.push(Answer {
                instance,
                workload: answered.workload(),
                live: Some(answered.seen),
            }),
            Err(report) => {
                if let Some(earlier) = silent.replace(report) {
                    output::talk(&format!("{earlier}\n"));
                }
            }
        }
    }
    Ok(Some(answers))
}

/// Keeps the statements that are wanted, in their order.
fn choose(args: &Args, answer: &mut Answer) {
    let statements = &mut answer.workload.statements;
    statements.retain(|statement| {
        let database = args.database.as_ref();
        let user = args.user.as_ref();
        database.is_none_or(|name| statement.databases.contains(name))
            && user.is_none_or(|name| statement.roles.contains(name))
    });
    let value = |statement: &Statement| value(statement, args.by);
    statements.sort_by(|a, b| {
        let order = value(b).total_cmp(&value(a));
        order.then_with(|| a.queryid.cmp(&b.queryid))
    });
    statements.truncate(usize::from(args.top));
}

fn value(statement: &Statement, by: By) -> f64 {
    let sums = &statement.sums;
    match by {
        By::Time => sums.total_ms,
        By::Mean => statement.mean_ms().unwrap_or(0.0),
        By::Calls => sums.calls,
        By::Rows => sums.rows,
        By::Read => sums.read,
        By::Temp => sums.temp,
        By::Wal => sums.wal_bytes,
        By::Planning => sums.plan_ms,
        By::Change => statement.change().unwrap_or(0.0),
    }
}

fn tell(answer: &Answer) -> Result<(), Report> {
    let workload = &answer.workload;
    if !workload.statements.is_empty() {
        output::data(&table(workload, answer.live.is_none()))?;
    }
    let name = &answer.instance;
    let all = milliseconds(workload.total_ms);
    match &answer.live {
        Some(seen) if workload.statements.is_empty() => {
            output::talk(&format!("{name}: no statement ended; {}", seen.span()));
        }
        Some(seen) => output::talk(&format!(
            "{name}: {}; all statements took {all} of execution",
            seen.span()
        )),
        None if workload.statements.is_empty() => output::talk(&format!(
            "{name}: no statement was seen in that time; pawang check statements-tracked -i {name} says whether they are counted"
        )),
        None if workload.evicted > 0.0 => output::talk(&format!(
            "{name}: all statements took {all} of execution; pg_stat_statements had to forget statements {:.0} times: raise pg_stat_statements.max",
            workload.evicted
        )),
        None => output::talk(&format!("{name}: all statements took {all} of execution")),
    }
    let notes = answer.live.iter().flat_map(|seen| seen.notes());
    notes.for_each(|note| output::talk(&format!("{name}: {note}")));
    Ok(())
}

fn table(workload: &Workload, compared: bool) -> String {
    let mut headings = vec!["query id", "time>", "share>"];
    headings.extend(compared.then_some("vs day before>"));
    headings.extend(["calls>", "mean>", "rows>", "read>", "temp>", "wal>", "text"]);
    let mut grid = Grid::new(&headings);
    for statement in &workload.statements {
        let sums = &statement.sums;
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let mut cells = vec![
            statement.queryid.clone(),
            milliseconds(sums.total_ms),
            format!("{:.1} %", statement.share),
        ];
        let change = || or_dash(statement.change().map(|ratio| format!("x{ratio:.1}")));
        cells.extend(compared.then(change));
        cells.extend([
            format!("{:.0}", sums.calls),
            or_dash(statement.mean_ms().map(milliseconds)),
            format!("{:.0}", sums.rows),
            blocks(sums.read),
            blocks(sums.temp),
            ByteSize(sums.wal_bytes as u64).to_string(),
            or_dash(statement.text.clone()),
        ]);
        grid.row(cells);
    }
    grid.text()
}
