//! `pawang`: the command line. Parses, dispatches, prints, and picks the exit code.

mod alias;
mod cli;
mod daemon;
mod each;
mod environment;
mod estate;
mod grid;
mod output;
mod profile;
mod sessions;
mod upkeep;
mod when;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(exit) => exit.into(),
        Err(report) => {
            output::talk(&report.to_string());
            output::Exit::from(report.kind).into()
        }
    }
}
