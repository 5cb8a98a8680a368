//! `pawang alert`: what fires, who takes care of it, and what is kept quiet.

mod ack;
mod list;
mod mute;
pub(super) mod order;
mod show;
mod snooze;
mod unack;
mod unmute;
pub(super) mod words;

use clap::Subcommand;
use pawang_core::Report;

use crate::cli::Global;
use crate::output::Exit;

const EXAMPLES: &str = "\
Examples:
  pawang alert list                            what fires now
  pawang alert ack 3f2a --for 4h --note \"clearing old dumps\"
  pawang alert mute 3f2a --for 2d --reason \"known; new disk comes on Monday\"";

/// List alerts and take care of them: acknowledge, snooze, mute
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
    Ack(ack::Args),
    Unack(unack::Args),
    Snooze(snooze::Args),
    Mute(mute::Args),
    Unmute(unmute::Args),
}

/// Runs the command.
///
/// # Errors
/// The data directory cannot be used, or the order is refused.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::List(args) => list::run(args, global),
        Verb::Show(args) => show::run(args, global),
        Verb::Ack(args) => ack::run(args, global),
        Verb::Unack(args) => unack::run(args, global),
        Verb::Snooze(args) => snooze::run(args, global),
        Verb::Mute(args) => mute::run(args, global),
        Verb::Unmute(args) => unmute::run(args, global),
    }
}
