//! `pawang notify`: whether a message gets through.

mod test;

use clap::Subcommand;
use pawang_core::Report;

use crate::cli::Global;
use crate::output::Exit;

const EXAMPLES: &str = "\
Examples:
  pawang notify test email-dba                 a channel
  pawang notify test ayu                       a person, by each of the person's channels
  pawang notify test dba                       whoever of a rota is on duty now";

/// Send a real message and see whether the target takes it
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
/// The configuration has mistakes, or there is no such target.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::Test(args) => test::run(args, global),
    }
}
