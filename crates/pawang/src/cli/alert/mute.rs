//! `pawang alert mute`: one alert is kept quiet for a while.

use pawang_core::Report;
use pawang_core::alert::Request;

use super::order;
use crate::cli::Global;
use crate::environment;
use crate::output::Exit;

/// Keep one alert quiet for a while, also when it comes back: a silence of its own
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its fingerprint, or a beginning of it that means only one
    #[arg(value_name = "FINGERPRINT")]
    alert: String,
    /// How long, such as 2d; it always ends
    #[arg(long = "for", value_name = "TIME")]
    length: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let request = Request::Mute {
        alert: args.alert.clone(),
        until: order::until(&args.length, environment::now())?,
        reason: args.reason.clone(),
    };
    order::give("pawang.alert.mute/1", request, global)
}
