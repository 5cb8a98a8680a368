//! `pawang config`: the configuration file itself.

mod check;
mod schema;

use clap::Subcommand;
use pawang_core::Report;

use crate::cli::Global;
use crate::output::Exit;

const EXAMPLES: &str = "\
Examples:
  pawang config check
  pawang config check --config /etc/pawang/pawang.toml
  pawang config schema > pawang.schema.json";

/// The configuration file
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read pawang.toml and tell every mistake with line and column
    Check,
    /// Print the JSON schema of pawang.toml, for editors
    Schema,
}

/// Runs the command.
///
/// # Errors
/// The configuration has mistakes, or there is none.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::Check => check::run(global),
        Verb::Schema => schema::run(),
    }
}
