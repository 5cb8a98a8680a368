//! Orders about alerts, silences, windows and incidents: the daemon that runs carries them out; without one they are
//! carried out here, on its state file.

use std::path::Path;
use std::sync::Arc;

use pawang_alert::book::Book;
use pawang_alert::setup::Setup;
use pawang_core::alert::{Done, Order, Request};
use pawang_core::{Kind, Report, Timestamp};
use pawang_store::state::State;
use pawang_store::{Error, Store};

use crate::cli::Global;
use crate::cli::account::state;
use crate::daemon::{self, Answer, Wanted, journal_entry};
use crate::estate::{Estate, told};
use crate::output::{self, Exit};
use crate::{environment, when};

/// Gives an order and tells what came of it.
///
/// # Errors
/// The configuration has mistakes, the data directory cannot be used, or the order is refused.
pub(in crate::cli) fn give(
    schema: &str,
    request: Request,
    global: &Global,
) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let directory = state::directory_of(&estate)?;
    let order = Order {
        by: environment::person(),
        request,
    };
    // The lock of the data directory says for certain whether a daemon runs, and keeps one from starting meanwhile.
    let done = match Store::open_state_alone(&directory) {
        Err(Error::Locked { .. }) => ask(&directory, order)?,
        opened => {
            let (state, alone) = opened.map_err(|error| error.report())?;
            let done = carry_out(&estate, &state, &order)?;
            drop(alone);
            done
        }
    };
    tell(schema, &done, global)
}

fn ask(directory: &Path, order: Order) -> Result<Done, Report> {
    match daemon::order(directory, &Wanted::Alert(Box::new(order)))? {
        Answer::Done(done) => serde_json::from_value(done).map_err(|error| {
            Report::new(Kind::Target, "could not read the daemon's answer")
                .with_detail(error.to_string())
        }),
        Answer::Refused(reasons) => Err(told(
            reasons.into_iter().map(|reason| reason.report()).collect(),
        )),
    }
}

fn carry_out(estate: &Estate, state: &State, order: &Order) -> Result<Done, Report> {
    let now = environment::now();
    let saved = state.saved_alerts().map_err(|error| error.report())?;
    let mut book = Book::new(Arc::new(setup(estate)?), saved, now);
    let done = book.order(order, now);
    let done = done.and_then(|(done, changes)| {
        let saved = state.save_alerts(&changes);
        saved.map(|()| done).map_err(|error| error.report())
    });
    let journal = state.journal(&journal_entry(order, &done, now));
    journal.map_err(|error| error.report())?;
    done
}

/// Returns the part of the configuration about alerts, made ready.
///
/// # Errors
/// It has mistakes; all of them are told.
pub(in crate::cli) fn setup(estate: &Estate) -> Result<Setup, Report> {
    estate.alerts().map_err(told)
}

/// Returns the end of a time that begins now, such as `4h`.
///
/// # Errors
/// The words mean no length of time, or it is too long.
pub(in crate::cli) fn until(length: &str, from: Timestamp) -> Result<Timestamp, Report> {
    from.checked_add(when::length(length)?).map_err(|error| {
        Report::new(Kind::Usage, format!("\"{length}\" is too long")).with_detail(error.to_string())
    })
}

/// Tells what came of an order: one sentence and how to take it back; to a pipe, what was changed or made.
fn tell(schema: &str, done: &Done, global: &Global) -> Result<Exit, Report> {
    if global.json {
        output::json(schema, done)?;
    } else if !output::terminal() {
        output::data(
            &done
                .objects
                .iter()
                .map(|o| format!("{o}\n"))
                .collect::<String>(),
        )?;
    }
    if !global.quiet {
        output::talk(&done.text);
        if let Some(undo) = &done.undo {
            output::talk(&format!("undo: {undo}"));
        }
    }
    Ok(Exit::Good)
}
