//! `pawang window remove`: a window ends, or does not come again.

use pawang_core::Report;
use pawang_core::alert::Request;

use crate::cli::Global;
use crate::cli::alert::order;
use crate::output::Exit;

/// Remove a maintenance window, or end it before its time; what still fires is told then
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its name
    #[arg(value_name = "NAME")]
    window: String,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let request = Request::RemoveWindow {
        window: args.window.clone(),
    };
    order::give("pawang.window.remove/1", request, global)
}
