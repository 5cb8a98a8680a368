//! `pawang maintain`: what is due, and doing it so that nobody notices.

mod apply;
mod history;
mod plan;
mod status;

use clap::Subcommand;
use pawang_core::Report;

use crate::cli::Global;
use crate::output::Exit;

pub(crate) use apply::agreed;
pub(crate) use plan::write;

const EXAMPLES: &str = "\
Examples:
  pawang maintain plan -i dwh-1                        what is due, and why
  pawang maintain plan reindex -i dwh-1 -o plan.json   a plan to agree to later
  pawang maintain apply plan.json -i dwh-1             ask, then do it under guard
  pawang maintain apply --policy nightly --window --yes";

/// Maintain servers: what is due, planned from policies, done under guard, written down
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Plan(plan::Args),
    Apply(apply::Args),
    Status(status::Args),
    History(history::Args),
}

/// Runs the command.
///
/// # Errors
/// The configuration has mistakes, a server cannot be planned for, or a safety rule refuses.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::Plan(args) => plan::run(args, global),
        Verb::Apply(args) => apply::run(args, global),
        Verb::Status(args) => status::run(args, global),
        Verb::History(args) => history::run(args, global),
    }
}
