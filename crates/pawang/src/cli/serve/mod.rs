//! `pawang serve`: the daemon, and what can be said to it while it runs.

mod reload;
mod run;
mod status;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Subcommand;
use pawang_core::Report;

use crate::cli::Global;
use crate::daemon::{self, Answer, Wanted, order};
use crate::estate::{Estate, told};
use crate::output::Exit;

const EXAMPLES: &str = "\
Examples:
  pawang serve                                 observe every server of pawang.toml; dashboard on http://127.0.0.1:8432
  pawang serve status                          how the running daemon is doing
  pawang serve reload                          read pawang.toml again";

/// Observe continuously: history, dashboard, API and /metrics
///
/// Runs in the foreground until SIGTERM or SIGINT; SIGHUP reads pawang.toml again. Without pawang.toml it observes the
/// server of the libpq environment.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// Address and port of dashboard, API and /metrics, instead of serve.listen
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Folder of history and state, instead of serve.data_directory
    #[arg(long, value_name = "DIR")]
    data_directory: Option<PathBuf>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make the running daemon read pawang.toml again; a wrong file is refused whole
    Reload(Place),
    /// Show how the running daemon is doing
    Status(Place),
}

/// Which daemon is meant.
#[derive(Debug, clap::Args)]
struct Place {
    /// Its folder of history and state, instead of serve.data_directory
    #[arg(long, value_name = "DIR")]
    data_directory: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// The daemon could not start, or does not answer, or refuses the configuration.
pub(crate) fn run(args: Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        None => run::run(args.listen, args.data_directory, global),
        Some(Verb::Reload(place)) => reload::run(place, global),
        Some(Verb::Status(place)) => status::run(place, global),
    }
}

impl Args {
    /// Says whether this is the daemon itself, which tells what it does.
    pub(crate) fn is_daemon(&self) -> bool {
        self.verb.is_none()
    }
}

impl Place {
    /// Orders something of the daemon that is meant; also when its configuration has mistakes by now, which the daemon
    /// itself then tells.
    fn order(&self, wanted: Wanted, global: &Global) -> Result<Answer, Report> {
        let (directory, mistakes) = match &self.data_directory {
            Some(directory) => (directory.clone(), Vec::new()),
            None => match Estate::load(global.config.as_deref()) {
                Ok(estate) => (daemon::data_directory(&estate, None)?, Vec::new()),
                Err(mistakes) => {
                    let estate = Estate::guess(global.config.as_deref());
                    (daemon::data_directory(&estate, None)?, mistakes)
                }
            },
        };
        let answer = order(&directory, &wanted);
        if answer.is_err() && !mistakes.is_empty() {
            return Err(told(mistakes));
        }
        answer
    }
}
