//! `pawang token`: how programs come in, such as Prometheus and scripts.

mod create;
mod list;
mod remove;

use clap::Subcommand;
use pawang_core::Report;

use crate::cli::Global;
use crate::output::Exit;

const EXAMPLES: &str = "\
Examples:
  pawang token create prometheus --permission viewer
  pawang token create ci --permission operator --expires 90d
  pawang token list";

/// How programs come in: tokens for the API and for /metrics
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Args),
    /// List all tokens; what they are is kept nowhere
    List,
    Remove(remove::Args),
}

/// Runs the command.
///
/// # Errors
/// The data directory cannot be used, or the name is refused.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::Create(args) => create::run(args, global),
        Verb::List => list::run(global),
        Verb::Remove(args) => remove::run(args, global),
    }
}
