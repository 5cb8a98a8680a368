//! What it takes to turn a statement into its shape.

use std::fmt::Write;
use std::path::PathBuf;

use super::Profile;
use crate::bench::serve::{Goal, Part};
use crate::run;

/// The goal, in nanoseconds for each statement.
const GOAL_NS: f64 = 500.0;
/// How long the texts were, on average, with which it was set.
const GOAL_BYTES: f64 = 98.0;

/// Builds the example and returns where it is. What it takes to build it is seen, and is much longer than to run it.
fn built(profile: Profile) -> Result<PathBuf, String> {
    let mut words = vec![
        "build",
        "--locked",
        "--package",
        "pawang-logs",
        "--example",
        "normalise",
    ];
    words.extend((profile == Profile::Release).then_some("--release"));
    run::loud(&mut run::cargo(&words))?;
    run::built(match profile {
        Profile::Release => "release/examples/normalise",
        Profile::Dev => "debug/examples/normalise",
    })
}

/// Runs the example that makes statements and normalises them.
pub(super) fn measure(profile: Profile) -> Result<Part, String> {
    println!("the normaliser");
    let told = run::quiet(&mut run::command(&built(profile)?.to_string_lossy()))?;
    let mut text = "Statements of a program that makes them (reports with joins and long lists, COPY, DDL, updates of one row, comments, casts, \
         dollar quotes), each with other constants, are normalised one after the other on one core; the best of ten rounds.\n\n\
         | statements | count | bytes each | ns each | MB/s |\n|---|---:|---:|---:|---:|\n"
        .to_owned();
    let (mut all, mut scaled) = (None, 0.0);
    for line in told.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let [name, count, bytes, nanoseconds] = cells.as_slice() else {
            return Err(format!("cannot read \"{line}\" of the example"));
        };
        let number = |text: &str| {
            text.parse::<f64>()
                .map_err(|error| format!("\"{text}\" is no number: {error}"))
        };
        let (bytes, nanoseconds) = (number(bytes)?, number(nanoseconds)?);
        let _ = writeln!(
            text,
            "| {name} | {count} | {bytes:.0} | {nanoseconds:.0} | {:.0} |",
            bytes * 1e3 / nanoseconds
        );
        if *name == "all" {
            all = Some(nanoseconds);
            scaled = nanoseconds * GOAL_BYTES / bytes;
        }
    }
    let all = all.ok_or("the example told no sum")?;
    let _ = writeln!(
        text,
        "\nThe goal was set with texts of {GOAL_BYTES:.0} bytes on average; for as many bytes it takes {scaled:.0} ns here."
    );
    Ok(Part {
        title: "Logs: the normaliser",
        text,
        goals: vec![Goal {
            text: "a statement: 500 ns (moonshot 200)",
            reached: format!("{all:.0} ns"),
            met: all <= GOAL_NS,
        }],
    })
}
