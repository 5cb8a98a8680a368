//! `cargo xtask bench alert`: from a fault to its message, two thousand at once, and what the built-in rules miss or make up.

mod day;
mod latency;
mod load;
mod manager;
mod receiver;
mod replay;
mod storm;
mod truth;

use std::path::Path;

use super::parts;
use super::serve::{Goal, Part};
use crate::run;
use crate::system::Need;

/// Measures and shows what is asked for, all parts when nothing is; with `--write` into the page too.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    parts::run(
        "alert",
        words,
        &["latency", "storm", "truth", "day"],
        &[Need::Server, Need::Alertmanager],
        measure,
    )
}

fn measure(part: &str, binary: &Path) -> Result<Part, String> {
    let runtime = run::runtime()?;
    match part {
        "latency" => runtime.block_on(latency::measure(binary)),
        "storm" => runtime.block_on(storm::measure(binary)),
        "truth" => truth::measure(),
        _ => runtime.block_on(day::measure(binary)),
    }
}
