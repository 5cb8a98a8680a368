//! `pawang incident`: alerts of one cause, the clock, and what people did about them.

mod close;
mod list;
mod note;
mod open;
mod report;
mod show;
mod story;

use clap::Subcommand;
use pawang_core::Report;

use crate::cli::Global;
use crate::output::Exit;

const EXAMPLES: &str = "\
Examples:
  pawang incident list
  pawang incident note 12 \"standby dwh-2 was promoted\"
  pawang incident report 12 --format html > incident-12.html";

/// Incidents: alerts of one cause, the clock, the timeline, the review
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
    Open(open::Args),
    Note(note::Args),
    Close(close::Args),
    Report(report::Args),
}

/// Runs the command.
///
/// # Errors
/// The data directory cannot be used, there is no such incident, or the order is refused.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::List(args) => list::run(args, global),
        Verb::Show(args) => show::run(args, global),
        Verb::Open(args) => open::run(args, global),
        Verb::Note(args) => note::run(args, global),
        Verb::Close(args) => close::run(args, global),
        Verb::Report(args) => report::run(args, global),
    }
}
