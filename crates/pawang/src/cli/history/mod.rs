//! `pawang history`: what the daemon remembers.

mod export;
mod list;
#[cfg(feature = "parquet")]
mod parquet;
mod show;

use pawang_core::{Kind, Report};
use pawang_store::Store;
use pawang_store::history::Reader;

pub(super) use show::span;

use crate::cli::Global;
use crate::estate::{Estate, told};
use crate::output::Exit;

/// Show and export what the daemon remembers
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    List(list::Args),
    Show(show::Args),
    Export(export::Args),
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::List(args) => list::run(args, global),
        Verb::Show(args) => show::run(args, global),
        Verb::Export(args) => export::run(args, global),
    }
}

/// The history, opened for reading beside the daemon or without one.
pub(super) struct History {
    /// The configuration.
    pub estate: Estate,
    /// The history.
    pub reader: Reader,
}

impl History {
    /// Opens the history of the configuration's data directory.
    ///
    /// # Errors
    /// The configuration has mistakes, or there is no history.
    pub(super) fn open(global: &Global) -> Result<History, Report> {
        let estate = Estate::load(global.config.as_deref()).map_err(told)?;
        let directory = estate.data_directory().ok_or_else(|| {
            Report::new(Kind::Usage, "there is no data directory")
                .with_hint("set serve.data_directory in pawang.toml")
        })?;
        let open = || Store::open_to_read(&directory)?.reader();
        let reader = open().map_err(|error| {
            let report = error.report();
            match report.hint {
                Some(_) => report,
                None => report.with_hint("pawang serve begins to remember"),
            }
        })?;
        Ok(History { estate, reader })
    }

    /// Returns the instances of `-i` (with `*`) that there is history of, or all.
    ///
    /// # Errors
    /// There is none, or none of that name.
    pub(super) fn instances(&self, global: &Global) -> Result<Vec<String>, Report> {
        let known = self.reader.instances().map_err(|error| error.report())?;
        let wanted = |name: &&String| {
            let mut patterns = global.instances.iter();
            global.instances.is_empty() || patterns.any(|p| pawang_config::matches(p, name))
        };
        let found: Vec<String> = known.iter().filter(wanted).cloned().collect();
        match (found.is_empty(), global.instances.first()) {
            (false, _) => Ok(found),
            (true, None) => Err(Report::new(Kind::Answer, "there is no history yet")
                .with_hint("pawang serve begins to remember")),
            (true, Some(name)) => {
                let report = Report::new(Kind::Usage, format!("there is no history of \"{name}\""));
                Err(report.with_detail(format!("there is history of {}", known.join(", "))))
            }
        }
    }
}
