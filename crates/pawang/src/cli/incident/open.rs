//! `pawang incident open`: an incident that no alert opened.

use pawang_core::Report;
use pawang_core::alert::{Priority, Request};

use crate::cli::Global;
use crate::cli::alert::order;
use crate::output::Exit;

/// Open an incident by hand
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What is wrong, in one sentence
    #[arg(value_name = "TITLE")]
    title: String,
    /// How urgent it is
    #[arg(long, value_enum, ignore_case = true)]
    priority: Urgency,
    /// Fingerprint of an alert that belongs to it (repeatable)
    #[arg(long = "alert", value_name = "FINGERPRINT")]
    alerts: Vec<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "verbatim")]
enum Urgency {
    /// Database down, data at risk
    P1,
    /// Severe degradation, replication or backup broken
    P2,
    /// Somebody should act today
    P3,
    /// Worth knowing
    P4,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let request = Request::OpenIncident {
        title: args.title.clone(),
        priority: match args.priority {
            Urgency::P1 => Priority::P1,
            Urgency::P2 => Priority::P2,
            Urgency::P3 => Priority::P3,
            Urgency::P4 => Priority::P4,
        },
        instances: global.instances.clone(),
        alerts: args.alerts.clone(),
    };
    order::give("pawang.incident.open/1", request, global)
}
