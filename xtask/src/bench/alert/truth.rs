//! Every fault of the truth suite, replayed as alerts.

use super::replay::{figure, replay};
use super::{Goal, Part};
use crate::run::{cargo, loud};

const RECALL_MIN: f64 = 98.0;

/// Runs the tests of the checks, which leave what they saw, and replays that.
pub(super) fn measure() -> Result<Part, String> {
    let records = tempfile::tempdir().map_err(|error| error.to_string())?;
    println!("the truth suite, which takes some minutes");
    let words = [
        "test",
        "--locked",
        "--package",
        "pawang-check",
        "--test",
        "it",
        "--quiet",
    ];
    loud(
        cargo(&words)
            .env("PAWANG_RECORD", records.path())
            .env("PAWANG_REQUIRE_PG", "1")
            .env("PAWANG_PG", "15")
            .env("RUST_TEST_THREADS", "4"),
    )?;
    let table = replay("truth", records.path())?;
    let recall = figure(&table, "recall, percent")?;
    let alarms = figure(&table, "false alarms")?;
    Ok(Part {
        title: "Alerts: the truth suite",
        text: format!(
            "The tests of the checks inject faults into real servers and see each check silent, telling, and silent \
             again; what they saw is replayed by the built-in rules, as long as each rule asks for.\n\n{table}"
        ),
        goals: vec![
            Goal {
                text: "recall of at least 98 %",
                reached: format!("{recall:.2} %"),
                met: recall >= RECALL_MIN,
            },
            Goal {
                text: "no false alarm",
                reached: format!("{alarms:.0}"),
                met: alarms == 0.0,
            },
        ],
    })
}
