//! `pawang incident close`: the cause is known and the review is written.

use pawang_core::Report;
use pawang_core::alert::Request;

use crate::cli::Global;
use crate::cli::alert::order;
use crate::output::Exit;

/// Close an incident with its review
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its number
    #[arg(value_name = "NUMBER")]
    incident: i64,
    /// What it was, and what is done so that it does not happen again
    #[arg(long, value_name = "TEXT")]
    review: String,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let request = Request::CloseIncident {
        incident: args.incident,
        review: args.review.clone(),
    };
    order::give("pawang.incident.close/1", request, global)
}
