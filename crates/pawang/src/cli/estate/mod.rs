//! `pawang estate`: the servers that Pawang looks after.

mod list;

use clap::Subcommand;
use pawang_core::Report;

use crate::cli::Global;
use crate::output::Exit;

const EXAMPLES: &str = "\
Examples:
  pawang estate list
  pawang estate list --offline
  pawang estate list -i 'dwh-*' --json";

/// The servers of pawang.toml
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(list::Args),
}

/// Runs the command.
///
/// # Errors
/// The configuration has mistakes.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::List(args) => list::run(args, global),
    }
}
