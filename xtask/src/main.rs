//! Tasks of the repository: `cargo xtask <task>`; each task is one file.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tasks start programs and talk to the person who runs them"
)]

mod postgres;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <task>

  postgres fetch <major>... | all   get other PostgreSQL servers for the tests
  postgres list                     show the servers that the tests find";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["postgres", "fetch", ref majors @ ..] if !majors.is_empty() => postgres::fetch(majors),
        ["postgres", "list"] => postgres::list(),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
