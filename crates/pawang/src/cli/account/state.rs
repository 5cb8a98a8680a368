//! The state file beside a running daemon, and the journal entry of what was done to it.

use std::path::PathBuf;

use pawang_core::{Kind, Report, Timestamp};
use pawang_store::state::{Entry, State};
use pawang_store::{Error, Store};

use crate::cli::Global;
use crate::environment;
use crate::estate::{Estate, told};

/// Opens accounts, tokens and journal for a change; makes the data directory when there is none.
///
/// # Errors
/// The configuration has mistakes, or the data directory cannot be used.
pub(crate) fn open(global: &Global) -> Result<State, Report> {
    let directory = directory(global)?;
    Store::open_state(&directory).map_err(|error| error.report())
}

/// Opens them for reading; `None` when there is no data directory yet.
///
/// # Errors
/// The configuration has mistakes, or the data directory cannot be used.
pub(crate) fn open_to_read(global: &Global) -> Result<Option<State>, Report> {
    let directory = directory(global)?;
    match Store::open_state_to_read(&directory) {
        Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            crate::output::talk(&format!(
                "there is nothing in \"{}\" yet: pawang serve has not run with it",
                directory.display()
            ));
            Ok(None)
        }
        opened => opened.map(Some).map_err(|error| error.report()),
    }
}

/// Writes into the journal what the person at the command line did.
///
/// # Errors
/// The disk refuses.
pub(crate) fn journal(
    state: &State,
    at: Timestamp,
    action: &str,
    object: &str,
    detail: serde_json::Value,
) -> Result<(), Report> {
    let entry = Entry {
        at,
        actor: format!("cli:{}", environment::person()),
        action: action.to_owned(),
        object: object.to_owned(),
        outcome: "done".to_owned(),
        detail,
    };
    state
        .journal(&entry)
        .map(drop)
        .map_err(|error| error.report())
}

fn directory(global: &Global) -> Result<PathBuf, Report> {
    directory_of(&Estate::load(global.config.as_deref()).map_err(told)?)
}

/// Returns the data directory of a configuration.
///
/// # Errors
/// Nothing names one.
pub(crate) fn directory_of(estate: &Estate) -> Result<PathBuf, Report> {
    estate.data_directory().ok_or_else(|| {
        Report::new(Kind::Usage, "there is no folder for history and state").with_detail(
            "neither serve.data_directory, state_directory nor a home directory is set",
        )
    })
}
