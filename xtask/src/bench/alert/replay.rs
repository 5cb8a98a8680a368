//! The bench of crate `alert`, which replays records through the built-in rules.

use std::path::Path;

use crate::run::{cargo, quiet};

/// Replays a directory of records; returns what it prints.
pub(super) fn replay(what: &str, records: &Path) -> Result<String, String> {
    let words = [
        "run",
        "--locked",
        "--release",
        "--package",
        "pawang-alert",
        "--example",
        "alert_bench",
        "--",
    ];
    quiet(cargo(&words).arg(what).arg(records))
}

/// Returns the number in the line of a table that begins so.
pub(super) fn figure(text: &str, name: &str) -> Result<f64, String> {
    let start = format!("| {name} | ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    let number = line.and_then(|line| line.trim_end_matches(['|', ' ']).parse().ok());
    number.ok_or_else(|| format!("the replay tells no \"{name}\":\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_a_table() {
        let table = "| truth | |\n|---|---:|\n| alerts | 3 |\n| recall, percent | 99.50 |\n";
        assert_eq!(figure(table, "alerts"), Ok(3.0));
        assert_eq!(figure(table, "recall, percent"), Ok(99.5));
        assert!(figure(table, "recall").is_err());
    }
}
