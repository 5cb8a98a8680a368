//! `pawang`: the command line. Parses, dispatches, prints, and picks the exit code.

mod alias;
mod cli;
mod daemon;
mod each;
mod elsewhere;
mod environment;
mod estate;
mod grid;
mod output;
mod profile;
mod recovering;
mod repositories;
mod sessions;
mod taking;
mod upkeep;
mod when;

use std::process::ExitCode;

fn main() -> ExitCode {
    if cli::wal::recovers(environment::words()) {
        return recover();
    }
    match cli::run() {
        Ok(exit) => exit.into(),
        Err(report) => {
            output::talk(&report.to_string());
            output::Exit::from(report.kind).into()
        }
    }
}

/// Runs a command of PostgreSQL's recovery: whatever is not good, and no proof that the archive ends, stops the server, wrong
/// usage and a defect of ours included.
fn recover() -> ExitCode {
    let ended = std::panic::catch_unwind(cli::run);
    match ended {
        Ok(Ok(exit @ (output::Exit::Good | output::Exit::Answer))) => exit.into(),
        Ok(Err(report)) => {
            output::talk(&report.to_string());
            output::Exit::Withheld.into()
        }
        Ok(Ok(_)) | Err(_) => output::Exit::Withheld.into(),
    }
}
