//! `pawang account`: who may sign in to the dashboard.

mod create;
mod list;
mod password;
pub(super) mod permission;
mod remove;
pub(super) mod state;

use clap::Subcommand;
use pawang_core::Report;

use crate::cli::Global;
use crate::output::Exit;

const EXAMPLES: &str = "\
Examples:
  pawang account create alice --permission admin
  pawang account create bob --permission viewer --password-file bob.txt
  pawang account list";

/// Who may sign in to the dashboard
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Args),
    /// List all accounts
    List,
    Remove(remove::Args),
}

/// Runs the command.
///
/// # Errors
/// The data directory cannot be used, or the name or password is refused.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::Create(args) => create::run(args, global),
        Verb::List => list::run(global),
        Verb::Remove(args) => remove::run(args, global),
    }
}
