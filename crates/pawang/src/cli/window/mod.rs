//! `pawang window`: times in which somebody works on servers, and nobody is told of it.

mod add;
mod list;
mod remove;
mod show;

use clap::Subcommand;
use pawang_alert::window::Ready;
use pawang_core::Report;

use crate::cli::Global;
use crate::cli::account::state;
use crate::cli::alert::order;
use crate::estate::{Estate, told};
use crate::output::Exit;

const EXAMPLES: &str = "\
Examples:
  pawang window add \"sun 02:00-06:00 Asia/Jakarta\" --group prod --reason \"weekly maintenance\"
  pawang window add \"now for 2 h\" -i dwh-1 --reason \"minor release\"
  pawang window list --next 30d";

/// Maintenance windows: alerts of what is worked on are quiet, checks go on
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
    Show(show::Args),
    Remove(remove::Args),
}

/// Runs the command.
///
/// # Errors
/// The data directory cannot be used, or the order is refused.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::Add(args) => add::run(args, global),
        Verb::List(args) => list::run(args, global),
        Verb::Show(args) => show::run(args, global),
        Verb::Remove(args) => remove::run(args, global),
    }
}

/// Returns the windows of the configuration, then those that were added by commands.
fn windows(global: &Global, all: bool) -> Result<Vec<Ready>, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let mut ready = order::setup(&estate)?.windows;
    if let Some(state) = state::open_to_read(global)? {
        let mut added = state.windows(all).map_err(|error| error.report())?;
        added.retain(|window| all || window.removed_at.is_none());
        ready.extend(
            added
                .into_iter()
                .filter_map(|window| Ready::new(window).ok()),
        );
    }
    Ok(ready)
}
