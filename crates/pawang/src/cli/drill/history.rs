//! `pawang drill history`: what drills proved, and how long restores took.

use pawang_backup::drill::forecast;
use pawang_backup::repository::Proof;
use pawang_backup::restore::Source;
use pawang_core::Report;
use serde::Serialize;

use super::other;
use crate::cli::Global;
use crate::cli::restore::{Place, estate, until_signal};
use crate::grid::Grid;
use crate::output::{self, Exit};

/// List drills, oldest first: what was proven, and how long it took
///
/// Drills of backups that are deleted stay in the list, the newest 50 of them. Of what is wrong, the table has the first line; --json has all of it, and so has `pawang backup show`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
}

/// What is told of all drills.
#[derive(Serialize)]
struct Told<'a> {
    instance: &'a str,
    drills: &'a [Proof],
    /// How long a restore of the newest backup would take, by the newest good drill.
    forecast_milliseconds: Option<u128>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = estate(global)?;
    if let Some(tool) = other::listed(args.place.repository.as_deref(), &estate) {
        return other::history(&tool, global);
    }
    until_signal(async {
        let from = args.place.open(&estate, global).await?;
        let source = Source::read(&from.repository, &from.cluster).await;
        let source = source.map_err(|error| error.report())?;
        let drills = from.repository.drills(&from.cluster).await;
        let drills = drills.map_err(|error| error.report())?;
        let newest = source.commits.last();
        let good = drills.iter().rev().find(|proof| proof.problems.is_empty());
        let forecast = newest.zip(good).and_then(|(commit, proof)| {
            let replayed = proof
                .phases
                .iter()
                .find(|phase| phase.name == pawang_backup::restore::REPLAY);
            let wal = replayed.and_then(|phase| phase.bytes).unwrap_or(0);
            forecast(proof, commit.server.data_bytes, wal)
        });
        if global.json {
            let told = Told {
                instance: &from.name,
                drills: &drills,
                forecast_milliseconds: forecast.map(|forecast| forecast.as_millis()),
            };
            output::json("pawang.drill.history/1", &told)?;
            return Ok(Exit::Good);
        }
        output::data(&table(&drills))?;
        match forecast {
            Some(forecast) => output::talk(&format!(
                "a restore of the newest backup would take about {} s",
                forecast.as_secs().max(1)
            )),
            None => output::talk("no drill has proven a backup yet; prove one: pawang drill run"),
        }
        Ok(Exit::Good)
    })
}

fn table(drills: &[Proof]) -> String {
    let mut grid = Grid::new(&[
        "ended",
        "backup",
        "target",
        "result",
        "open after>",
        "newest was>",
    ]);
    for proof in drills {
        grid.row(vec![
            format!("{:.0}", proof.ended_at),
            proof.backup.to_string(),
            proof.target.clone().unwrap_or_default(),
            result(&proof.problems, proof.whole),
            seconds(proof.rto_milliseconds),
            seconds(proof.rpo_milliseconds),
        ]);
    }
    grid.text()
}

/// Returns in words what a drill proved: of what is wrong, the first line of the first problem.
pub(super) fn result(problems: &[String], whole: bool) -> String {
    let Some(problem) = problems.first() else {
        let word = if whole {
            "proven"
        } else {
            "recovered, not looked through"
        };
        return word.to_owned();
    };
    // The words of a server or of a tool that failed have many lines.
    let first = problem.lines().find(|line| !line.trim().is_empty());
    let first = first.unwrap_or_default().trim();
    match problems.len() - 1 {
        0 => format!("not proven: {first}"),
        more => format!("not proven: {first}; and {more} more"),
    }
}

/// Returns a time in seconds.
pub(super) fn seconds(milliseconds: Option<u64>) -> String {
    milliseconds.map_or_else(
        || "-".to_owned(),
        |value| format!("{:.1} s", value as f64 / 1000.0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_first_line_of_what_is_wrong() {
        let log = "replay: the server ended before it was open:\n1.5 LOG:  redo starts\n1.6 FATAL:  it stops";
        let check = |problems: &[&str], whole, expected: &str| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            assert_eq!(result(&problems, whole), expected);
        };
        let first = "not proven: replay: the server ended before it was open:";
        check(&[log], true, first);
        check(&[log, "a probe"], true, &format!("{first}; and 1 more"));
        check(&["\n  gone"], true, "not proven: gone");
        check(&[], true, "proven");
        check(&[], false, "recovered, not looked through");
    }
}
