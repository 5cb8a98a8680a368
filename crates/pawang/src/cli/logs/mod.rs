//! `pawang logs`: what the server's log says, of any format, compressed or not.

mod diff;
mod events;
mod follow;
mod read;
mod remote;
mod report;
mod section;
mod settings;
mod state;

use clap::Subcommand;
use pawang_core::Report;
use pawang_logs::render::Section;

use crate::cli::Global;
use crate::output::Exit;

const EXAMPLES: &str = "\
Examples:
  pawang logs report /var/log/postgresql/*.log --html report.html
  pawang logs slow postgresql.csv.gz --since 24h
  pawang logs events deadlock                  what an event means, and what to do";

/// Read server logs: report, single questions, what changed, what is not logged
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Report(report::Args),
    /// Which statements and sessions failed, by SQLSTATE and text
    Errors(section::Args),
    /// Which statements took the time, by shape, role, database, host and hour
    Slow(section::Args),
    /// Who waited for whom, who made others wait, deadlocks
    Locks(section::Args),
    /// Logins, refused logins, sessions and storms of connections
    Connections(section::Args),
    /// How often checkpoints ran, why, and what they cost
    Checkpoints(section::Args),
    /// What autovacuum did, table by table
    Vacuums(section::Args),
    /// Which statements wrote temporary files
    Temp(section::Args),
    /// Plans of auto_explain, and what is wrong with them
    Plans(section::Args),
    /// What pgaudit recorded
    Audit(section::Args),
    Diff(diff::Args),
    Events(events::Args),
    Follow(follow::Args),
    Settings(settings::Args),
}

/// Runs the command.
///
/// # Errors
/// A file cannot be read, or a server cannot be asked.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let (section, args) = match &args.verb {
        Verb::Report(args) => return report::run(args, global),
        Verb::Diff(args) => return diff::run(args, global),
        Verb::Events(args) => return events::run(args, global),
        Verb::Follow(args) => return follow::run(args, global),
        Verb::Settings(args) => return settings::run(args, global),
        Verb::Errors(args) => (Section::Errors, args),
        Verb::Slow(args) => (Section::Slow, args),
        Verb::Locks(args) => (Section::Locks, args),
        Verb::Connections(args) => (Section::Connections, args),
        Verb::Checkpoints(args) => (Section::Checkpoints, args),
        Verb::Vacuums(args) => (Section::Vacuums, args),
        Verb::Temp(args) => (Section::Temp, args),
        Verb::Plans(args) => (Section::Plans, args),
        Verb::Audit(args) => (Section::Audit, args),
    };
    section::run(section, args, global)
}
