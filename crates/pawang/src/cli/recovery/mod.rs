//! `pawang recovery`: what is promised when things are lost, what is measured, and what to do then.

mod plan;
mod playbook;

use clap::Subcommand;
use pawang_core::Report;

use crate::cli::Global;
use crate::output::Exit;

/// What is promised when data are lost, what was measured, and what to do then
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Plan(plan::Args),
}

/// Runs the command.
///
/// # Errors
/// The configuration has mistakes, or has no instance.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::Plan(args) => plan::run(args, global),
    }
}
