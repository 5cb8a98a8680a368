//! `pawang silence`: alerts that nobody is told of for a while.

mod add;
mod expire;
pub(super) mod list;

use clap::Subcommand;
use pawang_core::Report;

use crate::cli::Global;
use crate::output::Exit;

const EXAMPLES: &str = "\
Examples:
  pawang silence add check=replication-lag -i 'dwh-*' --for 2h --reason \"standby is rebuilt\"
  pawang silence add 'group=\"test\"' --for 7d --reason \"load test\" --preview
  pawang silence expire 7";

/// Keep alerts quiet for a while; they go on being seen and kept
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Add(add::Args),
    List(list::Args),
    Expire(expire::Args),
}

/// Runs the command.
///
/// # Errors
/// The data directory cannot be used, or the order is refused.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::Add(args) => add::run(args, global),
        Verb::List(args) => list::run(args, global),
        Verb::Expire(args) => expire::run(args, global),
    }
}
