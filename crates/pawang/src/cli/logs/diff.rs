//! `pawang logs diff`: what changed between two logs.

use pawang_core::Report;
use pawang_logs::render::diff;

use super::read::{self, ReadArgs};
use crate::cli::Global;
use crate::output::{self, Exit};

/// Items of each list that are compared at least: what is on no list cannot be compared.
const ITEMS_MIN: u64 = 1_000;

const EXAMPLES: &str = "\
Examples:
  pawang logs diff --before monday.log --after tuesday.log
  pawang logs diff --before before-deploy/ --after after-deploy/ --markdown";

/// Compare two logs: new and gone errors, rates, slower statements, locks, checkpoints, connections
///
/// Rates are per hour, so that the two need not be equally long. Only what moved further than chance moves it is told.
/// Exits with 1 when something got worse.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct Args {
    /// Files of the period before (repeatable)
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    before: Vec<String>,
    /// Files of the period after (repeatable)
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    after: Vec<String>,
    #[command(flatten)]
    read: ReadArgs,
    /// Markdown on standard output, for a ticket
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let options = ReadArgs {
        top: args.read.top.max(ITEMS_MIN),
        since: args.read.since.clone(),
        until: args.read.until.clone(),
        prefix: args.read.prefix.clone(),
        zone: args.read.zone.clone(),
        ..args.read
    };
    let before = read::read(&args.before, &options, global)?;
    let after = read::read(&args.after, &options, global)?;
    let found = diff::diff(&before, &after);
    let style = read::style(global.color);
    if global.json {
        output::json("pawang.logs.diff/1", &found)?;
    } else if args.markdown {
        output::data(&diff::markdown(&found, &style))?;
    } else {
        output::data(&diff::text(&found, &style))?;
    }
    let code = if found.worse() {
        Exit::Answer
    } else {
        Exit::Good
    };
    Ok(read::exit(&after, read::exit(&before, code)))
}
