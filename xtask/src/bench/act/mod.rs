//! `cargo xtask bench act`: what changing a server does to everybody else, and what is left when it is killed.

mod harm;
mod kill_guard;
mod kills;

use std::path::Path;

use super::parts;
use super::serve::{Goal, Part};
use crate::run;
use crate::system::Need;

/// Measures and shows what is asked for, all parts when nothing is; with `--write` into the page too.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    parts::run(
        "act",
        words,
        &["harm", "kills", "kill-guard"],
        &[Need::Server],
        measure,
    )
}

fn measure(part: &str, binary: &Path) -> Result<Part, String> {
    match part {
        "harm" => harm::measure(),
        "kills" => kills::measure(),
        _ => run::runtime()?.block_on(kill_guard::measure(binary)),
    }
}
