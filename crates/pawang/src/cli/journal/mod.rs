//! `pawang journal`: everything that somebody changed.

mod list;
mod show;
mod verify;

use clap::Subcommand;
use pawang_core::Report;

use crate::cli::Global;
use crate::output::Exit;

const EXAMPLES: &str = "\
Examples:
  pawang journal list
  pawang journal list --limit 1000 --json
  pawang journal show 41
  pawang journal verify";

/// The journal: everything that somebody changed, in a chain that shows tampering
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(list::Args),
    Show(show::Args),
    /// Walk the whole chain and name the first record that is not as it was written
    Verify,
}

/// Runs the command.
///
/// # Errors
/// The data directory cannot be used.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::List(args) => list::run(args, global),
        Verb::Show(args) => show::run(args, global),
        Verb::Verify => verify::run(global),
    }
}
