//! `pawang alert unmute`: it is told again.

use pawang_core::Report;
use pawang_core::alert::Request;

use super::order;
use crate::cli::Global;
use crate::output::Exit;

/// End what keeps one alert quiet: its mute and its snooze
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its fingerprint, or a beginning of it that means only one
    #[arg(value_name = "FINGERPRINT")]
    alert: String,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let request = Request::Unmute {
        alert: args.alert.clone(),
    };
    order::give("pawang.alert.unmute/1", request, global)
}
