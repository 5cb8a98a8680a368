//! `pawang route`: who is told of what.

mod test;

use clap::Subcommand;
use pawang_core::Report;

use crate::cli::Global;
use crate::output::Exit;

const EXAMPLES: &str = "\
Examples:
  pawang route test --finding disk-space -i dwh-1
  pawang route test --finding server-down -i dwh-1 --at \"2026-12-24 03:00\"
  pawang route test --finding replication-lag -i dwh-2 --level warning --json";

/// See who would be told of an alert, when and why
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Test(test::Args),
}

/// Runs the command.
///
/// # Errors
/// The configuration has mistakes, or there is no such check or instance.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::Test(args) => test::run(args, global),
    }
}
