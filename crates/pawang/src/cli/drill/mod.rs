//! `pawang drill`: backups are proven by restores into servers that are thrown away.

mod history;
mod other;
mod run;

use clap::Subcommand;
use pawang_core::Report;

use crate::cli::Global;
use crate::output::Exit;

const EXAMPLES: &str = "\
Examples:
  pawang drill run -i dwh-1                        a random point of what can be restored
  pawang drill run -i dwh-1 --to latest --probe \"SELECT count(*) > 0 FROM dw.fact_sales\" --database dwh
  pawang drill run --repository pgbackrest --stanza main        what another tool keeps, restored by itself
  pawang drill history -i dwh-1";

/// Prove backups: restore one into a scratch server, recover, look through it, measure
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(Box<run::Args>),
    History(history::Args),
}

/// Runs the command.
///
/// # Errors
/// The drill could not be done, or the repository could not be read.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::Run(args) => run::run(args, global),
        Verb::History(args) => history::run(args, global),
    }
}
