//! `pawang query top`: the statements that cost most over a stretch of time, from the history of pg_stat_statements.

use pawang_core::{ByteSize, Report};
use pawang_store::history::{Statement, Workload};
use serde::Serialize;

use super::{blocks, milliseconds};
use crate::cli::Global;
use crate::cli::history::{History, span};
use crate::grid::Grid;
use crate::output::{self, Exit};

/// Show the statements that cost most over a stretch of time
///
/// Growth is never counted across a restart or a reset, and never negative. What the extension had to forget for lack of
/// room (pg_stat_statements.max) is in the total, and said.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    /// By what they are ordered
    #[arg(long, value_enum, default_value_t = By::Time)]
    by: By,
    /// How far back: a length of time such as 1h or 7d, or an instant such as 03:12
    #[arg(long, default_value = "24h", value_name = "TIME")]
    since: String,
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

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
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
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let history = History::open(global)?;
    let span = span(&args.since, &args.until)?;
    let mut answers = Vec::new();
    for instance in history.instances(global)? {
        let mut workload = history
            .reader
            .statements(&instance, span)
            .map_err(|error| error.report())?;
        let wanted = |statement: &Statement| {
            let database = args.database.as_ref();
            let user = args.user.as_ref();
            database.is_none_or(|name| statement.databases.contains(name))
                && user.is_none_or(|name| statement.roles.contains(name))
        };
        workload.statements.retain(wanted);
        let value = |statement: &Statement| value(statement, args.by);
        workload.statements.sort_by(|a, b| {
            let order = value(b).total_cmp(&value(a));
            order.then_with(|| a.queryid.cmp(&b.queryid))
        });
        workload.statements.truncate(usize::from(args.top));
        answers.push(Answer { instance, workload });
    }
    let none = answers
        .iter()
        .all(|answer| answer.workload.statements.is_empty());
    if global.json {
        output::json("pawang.query.top/1", &answers)?;
    } else {
        answers.iter().try_for_each(tell)?;
    }
    Ok(if none { Exit::Answer } else { Exit::Good })
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
    if workload.statements.is_empty() {
        output::talk(&format!(
            "{}: no statement was seen in that time; pawang check statements-tracked -i {} says whether they are counted",
            answer.instance, answer.instance
        ));
        return Ok(());
    }
    let mut grid = Grid::new(&[
        "query id",
        "time>",
        "share>",
        "vs day before>",
        "calls>",
        "mean>",
        "rows>",
        "read>",
        "temp>",
        "wal>",
        "text",
    ]);
    for statement in &workload.statements {
        let sums = &statement.sums;
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        grid.row(vec![
            statement.queryid.clone(),
            milliseconds(sums.total_ms),
            format!("{:.1} %", statement.share),
            or_dash(statement.change().map(|ratio| format!("x{ratio:.1}"))),
            format!("{:.0}", sums.calls),
            or_dash(statement.mean_ms().map(milliseconds)),
            format!("{:.0}", sums.rows),
            blocks(sums.read),
            blocks(sums.temp),
            ByteSize(sums.wal_bytes as u64).to_string(),
            or_dash(statement.text.clone()),
        ]);
    }
    output::data(&grid.text())?;
    let evicted = if workload.evicted > 0.0 {
        format!(
            "; pg_stat_statements had to forget statements {:.0} times: raise pg_stat_statements.max",
            workload.evicted
        )
    } else {
        String::new()
    };
    output::talk(&format!(
        "{}: all statements took {} of execution{evicted}",
        answer.instance,
        milliseconds(workload.total_ms)
    ));
    Ok(())
}
