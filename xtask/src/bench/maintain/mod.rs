//! `cargo xtask bench maintain`: how near the estimates of bloat are to the truth and what they cost, and a night of maintenance
//! beside the server's own tools.

mod bloat;
mod load;
mod night;

use std::path::Path;

use super::parts;
use super::serve::Part;
use crate::run;
use crate::system::Need;

/// Measures and shows what is asked for, all parts when nothing is; with `--write` into the page too.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    parts::run(
        "maintain",
        words,
        &["bloat", "night"],
        &[Need::Server],
        measure,
    )
}

fn measure(part: &str, binary: &Path) -> Result<Part, String> {
    let runtime = run::runtime()?;
    match part {
        "bloat" => runtime.block_on(bloat::measure(binary)),
        _ => runtime.block_on(night::measure(binary)),
    }
}
