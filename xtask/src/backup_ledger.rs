//! `cargo xtask backup-ledger [targets]`: the ledger test of backups with many more targets than CI has time for.

use std::time::Instant;

use crate::run::{cargo, loud};

/// What tells the test how many targets it restores.
const TARGETS: &str = "PAWANG_LEDGER_TARGETS";
const TEST: &str = "ledger::whatever_is_killed_nothing_acknowledged_is_missing";

/// Restores to so many points on each version; whatever is missing, or too much, is an error.
pub(crate) fn run(targets: &str) -> Result<(), String> {
    let number: u32 = targets
        .parse()
        .map_err(|_| format!("\"{targets}\" is no number of targets"))?;
    let began = Instant::now();
    let words = [
        "test",
        "--locked",
        "-p",
        "pawang-backup",
        "--test",
        "it",
        "--",
    ];
    let mut test = cargo(&words);
    test.args(["--exact", "--nocapture", TEST]);
    test.env(TARGETS, number.to_string());
    loud(&mut test)?;
    println!(
        "every restore to {number} points on each version held what it had to, {} s",
        began.elapsed().as_secs()
    );
    Ok(())
}
