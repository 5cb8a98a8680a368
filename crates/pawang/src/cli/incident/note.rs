//! `pawang incident note`: a line in the timeline.

use pawang_core::Report;
use pawang_core::alert::Request;

use crate::cli::Global;
use crate::cli::alert::order;
use crate::output::Exit;

/// Write a note into the timeline; the first one by a person stops the clock
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its number
    #[arg(value_name = "NUMBER")]
    incident: i64,
    /// The note
    #[arg(value_name = "TEXT")]
    text: String,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let request = Request::NoteIncident {
        incident: args.incident,
        text: args.text.clone(),
    };
    order::give("pawang.incident.note/1", request, global)
}
