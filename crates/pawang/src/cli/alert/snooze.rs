//! `pawang alert snooze`: be reminded later.

use pawang_core::Report;
use pawang_core::alert::Request;

use super::order;
use crate::cli::Global;
use crate::environment;
use crate::output::Exit;

/// Be reminded later: nothing is told for a while
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Fingerprints, or beginnings of them that mean only one
    #[arg(value_name = "FINGERPRINT", required = true)]
    alerts: Vec<String>,
    /// How long, such as 30min
    #[arg(long = "for", value_name = "TIME")]
    length: String,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let request = Request::Snooze {
        alerts: args.alerts.clone(),
        until: order::until(&args.length, environment::now())?,
        note: args.note.clone(),
    };
    order::give("pawang.alert.snooze/1", request, global)
}
