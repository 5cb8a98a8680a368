//! `pawang alert unack`: nobody takes care any more.

use pawang_core::Report;
use pawang_core::alert::Request;

use super::order;
use crate::cli::Global;
use crate::output::Exit;

/// Take an acknowledgement back: the ladder begins anew
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Fingerprints, or beginnings of them that mean only one
    #[arg(value_name = "FINGERPRINT", required = true)]
    alerts: Vec<String>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let request = Request::Unacknowledge {
        alerts: args.alerts.clone(),
    };
    order::give("pawang.alert.unack/1", request, global)
}
