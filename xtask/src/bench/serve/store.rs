//! The history: the workload of the store's own bench, and the same samples in Prometheus' own format.

use std::fs;
use std::path::Path;

use super::{Goal, Part};
use crate::run::{cargo, command, quiet};

/// Runs the store's bench, and gives a tenth of its workload to Prometheus too.
pub(super) fn measure() -> Result<Part, String> {
    let one = bench(&[])?;
    let ten = bench(&["10"])?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (ours, theirs) = beside_prometheus(folder.path())?;
    let text = format!(
        "One target for 24 hours, one sample a minute: 500 tables x 20 counters, 1,000 indexes x 5, 500 statements x 15 \
         with churn, 200 single values.\n\n{one}\nTen targets:\n\n{}\nA tenth of the tables and indexes of one target, \
         given to Pawang's history and, as OpenMetrics, to `promtool tsdb create-blocks-from`:\n\n\
         | store | bytes per sample |\n|---|---:|\n| Pawang | {ours:.2} |\n| Prometheus | {theirs:.2} |\n",
        lines(
            &ten,
            &[
                "whole write path",
                "resident memory",
                "bytes per sample, every"
            ]
        )
    );
    let figure = |start: &str| figure(&one, start);
    let rate = figure("whole write path").unwrap_or(0.0);
    let bytes = figure("bytes per sample, every sample").unwrap_or(f64::MAX);
    let years = figure("two years of it").unwrap_or(f64::MAX);
    let chart = figure("500 series of 24 h in 5 min, day").unwrap_or(f64::MAX);
    let goal = |text, reached, met| Goal { text, reached, met };
    Ok(Part {
        title: "`pawang serve`: the history",
        text,
        goals: vec![
            goal(
                "at least 1 M samples/s on one core",
                format!("{rate:.1} M"),
                rate >= 1.0,
            ),
            goal(
                "at most 0.4 bytes per sample",
                format!("{bytes:.2}"),
                bytes <= 0.4,
            ),
            goal(
                "no more bytes per sample than Prometheus",
                format!("{ours:.2} against {theirs:.2}"),
                ours <= theirs,
            ),
            goal(
                "any chart of 24 h in under 50 ms (500 series here)",
                format!("{chart:.1} ms of CPU"),
                chart < 50.0,
            ),
            goal(
                "two years of one instance in at most 1 GB",
                format!("{years:.0} MB"),
                years <= 1000.0,
            ),
        ],
    })
}

/// Runs the store's bench and returns the table that it prints.
fn bench(words: &[&str]) -> Result<String, String> {
    println!("\nthe store's bench {}", words.join(" "));
    let mut all = vec![
        "run",
        "--release",
        "--quiet",
        "--package",
        "pawang-store",
        "--example",
        "history_bench",
        "--",
    ];
    all.extend(words);
    quiet(&mut cargo(&all))
}

/// Returns the lines of a table that begin with one of these words, under its heading.
fn lines(table: &str, starts: &[&str]) -> String {
    let wanted = |line: &&str| {
        let what = line.trim_start_matches("| ");
        starts.iter().any(|start| what.starts_with(start))
    };
    let heading = table.lines().take(2);
    let lines = heading.chain(table.lines().skip(2).filter(wanted));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Returns the first number of the result in the line that begins with these words.
fn figure(table: &str, start: &str) -> Option<f64> {
    let mut lines = table.lines().map(|line| line.trim_start_matches("| "));
    let line = lines.find(|line| line.starts_with(start))?;
    let result = line.split(" | ").nth(1)?;
    let number = result.split([' ', ',']).next()?;
    number.parse().ok()
}

/// Returns the bytes per sample of the same samples in Pawang's history and in Prometheus' blocks.
fn beside_prometheus(folder: &Path) -> Result<(f64, f64), String> {
    let text = folder.join("samples.om");
    let blocks = folder.join("blocks");
    let said = bench(&["openmetrics", &text.to_string_lossy()])?;
    let number = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.trim().parse::<f64>().ok());
        number.ok_or_else(|| format!("the store's bench does not say its {name}: {said}"))
    };
    let (samples, bytes) = (number("samples")?, number("bytes")?);
    println!("promtool");
    let mut promtool = command("promtool");
    promtool.args(["tsdb", "create-blocks-from", "openmetrics", "--quiet"]);
    quiet(promtool.arg(&text).arg(&blocks))?;
    Ok((bytes / samples, size(&blocks)? / samples))
}

/// Returns the bytes of all files below a folder.
fn size(folder: &Path) -> Result<f64, String> {
    let wrong = |error: std::io::Error| format!("could not read {}: {error}", folder.display());
    let mut bytes = 0.0;
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let about = entry.metadata().map_err(wrong)?;
        bytes += if about.is_dir() {
            size(&entry.path())?
        } else {
            about.len() as f64
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_a_table() {
        let table = "| measured | result | goal |\n|---|---|---|\n| bytes per sample, every sample | 0.31 | at most 0.4 |\n\
                     | q2 one series | 2.4 ms CPU (3 answers) | |\n";
        assert_eq!(figure(table, "bytes per sample, every"), Some(0.31));
        assert_eq!(figure(table, "q2"), Some(2.4));
        assert_eq!(figure(table, "q9"), None);
        assert_eq!(lines(table, &["q2"]).lines().count(), 3);
    }
}
