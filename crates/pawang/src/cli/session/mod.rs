//! `pawang session`: who is connected, who waits for whom, and how those that wait are freed.

mod end;
mod list;
mod person;
mod tree;

use clap::Subcommand;
use pawang_core::Report;

use crate::cli::Global;
use crate::output::Exit;

const EXAMPLES: &str = "\
Examples:
  pawang session tree -i dwh-1                    who waits for whom, root blockers first
  pawang session terminate --blockers -i dwh-1    free those that wait, and touch nobody else
  pawang session cancel 6743b2f1.1267 -i dwh-1    one statement, by the session that list shows";

/// Who is connected, who waits for whom, and how those that wait are freed
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(list::Args),
    Tree(tree::Args),
    Cancel(end::CancelArgs),
    Terminate(end::TerminateArgs),
}

/// Runs the command.
///
/// # Errors
/// The configuration has mistakes, a server does not answer, or a safety rule refuses.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::List(args) => list::run(args, global),
        Verb::Tree(args) => tree::run(args, global),
        Verb::Cancel(args) => end::cancel(args, global),
        Verb::Terminate(args) => end::terminate(args, global),
    }
}
