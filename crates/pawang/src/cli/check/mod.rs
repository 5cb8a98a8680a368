//! `pawang check`: observe, judge, tell.

mod list;
mod run;
mod show;

pub(super) use list::as_json;

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use pawang_core::Report;

use crate::cli::Global;
use crate::output::Exit;

const EXAMPLES: &str = "\
Examples:
  pawang check                                                   the server of the libpq environment
  pawang check -i dwh-1 --profile daily --operations-log page.html
  pawang check connections --format nagios -w 80 -c 90";

/// Judge servers: every finding with its number, limit, proof and remedy
///
/// Without arguments it judges the server of the libpq environment, or every instance of pawang.toml. Reads only; one
/// connection per server and one more per extra database; never waits on a lock. What it cannot see is `unknown`, with
/// what to grant or install, and never counts as good.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(list::Args),
}

/// What to judge and how to tell.
#[derive(Debug, clap::Args)]
struct Run {
    /// Checks, groups of checks, names of check_postgres or check_pgactivity, or one URL or conninfo
    #[arg(value_name = "CHECK|URL")]
    targets: Vec<String>,
    /// Checks of a daily duty: startup, daily, pre-maintenance, post-maintenance, full
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// How to tell
    #[arg(long, value_enum, conflicts_with = "json")]
    format: Option<Format>,
    /// Write to a file instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Warning limit of the named checks, such as 80, 80%, 5min, 1GB
    #[arg(short, long, value_name = "LIMIT", allow_hyphen_values = true)]
    warning: Option<String>,
    /// Critical limit of the named checks
    #[arg(short, long, value_name = "LIMIT", allow_hyphen_values = true)]
    critical: Option<String>,
    /// Findings from this level on make exit code 1
    #[arg(long, value_enum, default_value_t)]
    fail_on: FailOn,
    /// Append the verdicts to a log file, one line each
    #[arg(long, value_name = "FILE")]
    append_log: Option<PathBuf>,
    /// Write the daily operations log; a name ending in .html becomes a page, else Markdown
    #[arg(long, value_name = "FILE")]
    operations_log: Option<PathBuf>,
    /// Print every statement on standard error before it runs
    #[arg(long)]
    explain: bool,
    /// Neither read nor keep the last sample; checks of rates then cannot see
    #[arg(long)]
    no_state: bool,
}

/// Forms of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned text
    Text,
    /// Tab-separated lines: level, check, instance, database, object, value, unit, limit, since, title
    Tsv,
    /// One JSON document
    Json,
    /// Markdown
    Markdown,
    /// One HTML file
    Html,
    /// One line, performance data and exit code 0-3 of a Nagios plugin
    Nagios,
}

/// From which level on the answer is bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Info and worse
    Info,
    /// Warning and worse
    #[default]
    Warning,
    /// Critical only
    Critical,
}

impl Args {
    /// Returns whether statements are to be printed before they run.
    pub(crate) fn explain(&self) -> bool {
        self.run.explain
    }
}

/// Runs the command.
///
/// # Errors
/// Wrong usage or configuration; findings and unreachable servers are exit codes, not errors.
pub(crate) fn run(args: Args, global: &Global) -> Result<Exit, Report> {
    match args.verb {
        Some(Verb::List(args)) => list::run(&args, global),
        None => run::run(&args.run, global),
    }
}
