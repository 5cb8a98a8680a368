//! `pawang alert ack`: somebody takes care.

use pawang_core::Report;
use pawang_core::alert::Request;

use super::order;
use crate::cli::Global;
use crate::environment;
use crate::output::Exit;

/// Say that you take care: nobody else is told until it ends, becomes worse, or is over
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Fingerprints, or beginnings of them that mean only one
    #[arg(value_name = "FINGERPRINT", required = true)]
    alerts: Vec<String>,
    /// How long it counts, such as 4h, instead of alert.acknowledge_for
    #[arg(long = "for", value_name = "TIME")]
    length: Option<String>,
    /// What you are doing about it
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let now = environment::now();
    let until = args
        .length
        .as_deref()
        .map(|length| order::until(length, now));
    let request = Request::Acknowledge {
        alerts: args.alerts.clone(),
        until: until.transpose()?,
        note: args.note.clone(),
    };
    order::give("pawang.alert.ack/1", request, global)
}
