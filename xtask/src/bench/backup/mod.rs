//! `cargo xtask bench backup`: base backups, increments and restores of a 4 GB cluster beside pgBackRest, `pg_basebackup` and `cp`;
//! the same over SQL by several connections; WAL that is pushed and streamed; and what a backup costs those who use the server meanwhile.

mod base;
mod lanes;
mod load;
mod push;
mod stage;
mod stream;
mod table;

use std::path::Path;

use super::parts;
use super::serve::{Goal, Part};
use crate::run;
use crate::system::Need;

/// Measures and shows what is asked for, all parts when nothing is; with `--write` into the page too.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    parts::run(
        "backup",
        words,
        &["base", "lanes", "table", "push", "stream", "load"],
        &[Need::Server, Need::PgBackRest],
        measure,
    )
}

fn measure(part: &str, binary: &Path) -> Result<Part, String> {
    let runtime = run::runtime()?;
    match part {
        "base" => runtime.block_on(base::measure(binary)),
        "lanes" => runtime.block_on(lanes::measure(binary)),
        "table" => runtime.block_on(table::measure(binary)),
        "push" => runtime.block_on(push::measure(binary)),
        "stream" => runtime.block_on(stream::measure(binary)),
        _ => runtime.block_on(load::measure(binary)),
    }
}

/// A goal that is a limit from above.
fn at_most(text: &'static str, reached: f64, limit: f64, unit: &str) -> Goal {
    Goal {
        text,
        reached: format!("{reached:.1} {unit}"),
        met: reached <= limit,
    }
}
