//! `pawang query`: what statements cost, which became slower, and what their plans say.

mod explain;
mod live;
mod regressions;
mod show;
mod top;

use clap::Subcommand;
use pawang_core::{ByteSize, Report};

use crate::cli::Global;
use crate::cli::history::History;
use crate::estate::{Estate, told};
use crate::output::{self, Exit};

const EXAMPLES: &str = "\
Examples:
  pawang query top -i dwh-1 --since 24h        what took the time
  pawang query top -i dwh-1 --for 30s          what takes it now, without a daemon
  pawang query regressions -i dwh-1            what became slower, since when, and why
  pawang query show 6432157846384572 -i dwh-1  one statement, hour by hour
  pawang query explain plan.txt                what is wrong with a plan
  pawang query explain -i dwh-1 --sql 'SELECT ...'";

/// What statements cost, which became slower, and what their plans say
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Top(top::Args),
    Show(show::Args),
    Explain(explain::Args),
    Regressions(regressions::Args),
}

/// Runs the command.
///
/// # Errors
/// The configuration has mistakes, there is no history, or a plan cannot be read.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::Top(args) => top::run(args, global),
        Verb::Show(args) => show::run(args, global),
        Verb::Explain(args) => explain::run(args, global),
        Verb::Regressions(args) => regressions::run(args, global),
    }
}

/// Returns milliseconds as people read them.
fn milliseconds(value: f64) -> String {
    match value {
        value if value >= 3_600_000.0 => format!("{:.1} h", value / 3_600_000.0),
        value if value >= 60_000.0 => format!("{:.1} min", value / 60_000.0),
        value if value >= 1_000.0 => format!("{:.1} s", value / 1_000.0),
        value if value >= 10.0 => format!("{value:.0} ms"),
        value => format!("{value:.2} ms"),
    }
}

/// Returns blocks as a size; the server would have to be built anew for another size of a block than 8 kB.
fn blocks(blocks: f64) -> String {
    ByteSize((blocks * 8192.0) as u64).to_string()
}

/// Returns the history and its instances, or `None` when there is none of the wanted instances and the server is to be asked.
///
/// # Errors
/// The configuration has mistakes, or there is no history and nothing else will do.
fn from_history(global: &Global, only: bool) -> Result<Option<(History, Vec<String>)>, Report> {
    let found = History::open(global).and_then(|history| {
        let instances = history.instances(global)?;
        Ok((history, instances))
    });
    match found {
        Ok(found) => Ok(Some(found)),
        Err(report) if only => Err(report),
        Err(_) => {
            let estate = Estate::load(global.config.as_deref()).map_err(told)?;
            estate.named(&global.instances)?;
            output::talk(
                "there is no history of it, so the server is asked now; pawang serve begins to remember",
            );
            Ok(None)
        }
    }
}
