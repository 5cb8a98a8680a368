//! `pawang backup`: what could be restored, how far that is proven, and why each backup stays or goes.

mod check;
mod create;
mod expire;
mod find;
mod hold;
mod list;
mod preflight;
mod setup;
mod show;
mod unhold;
mod verify;

use clap::Subcommand;
use pawang_core::Report;

use crate::cli::Global;
use crate::output::Exit;

pub(crate) use setup::entry_text;

const EXAMPLES: &str = "\
Examples:
  pawang backup setup -i dwh-1 --repo /srv/backup      repository, entry in pawang.toml, first backup
  pawang backup check -i dwh-1                         what would make a backup or a restore fail
  pawang backup create -i dwh-1                        take one, as incremental as possible
  pawang backup list -i dwh-1                          what there is, and why it stays or goes
  pawang backup show 01JD -i dwh-1                     one of them, with what was proven of it
  pawang backup expire -i dwh-1 --dry-run              what would be deleted";

/// Base backups and WAL in repositories that stock tools can read
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Setup(setup::Args),
    Check(check::Args),
    Create(create::Args),
    List(list::Args),
    Show(show::Args),
    Verify(verify::Args),
    Hold(hold::Args),
    Unhold(unhold::Args),
    Expire(expire::Args),
}

/// Runs the command.
///
/// # Errors
/// The configuration, the repository or the server refuses.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::Setup(args) => setup::run(args, global),
        Verb::Check(args) => check::run(args, global),
        Verb::Create(args) => create::run(args, global),
        Verb::List(args) => list::run(args, global),
        Verb::Show(args) => show::run(args, global),
        Verb::Verify(args) => verify::run(args, global),
        Verb::Hold(args) => hold::run(args, global),
        Verb::Unhold(args) => unhold::run(args, global),
        Verb::Expire(args) => expire::run(args, global),
    }
}
