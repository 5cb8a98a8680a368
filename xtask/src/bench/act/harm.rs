//! Each kind of planned action behind a transaction of six seconds: how long others wait, with guard and without.

use std::fmt::Write;

use super::{Goal, Part};
use crate::run::{cargo, quiet};

/// Others may wait so much longer than for the machine itself.
const ADDED_MS_MAX: i64 = 150;

/// One run, as the bench of crate `act` prints it.
struct Run {
    kind: String,
    guarded: bool,
    done: bool,
    tries: u32,
    took_ms: i64,
    longest_ms: i64,
    /// The longest statement on a table that nobody changes.
    control_ms: i64,
    /// What the journal says.
    told_ms: i64,
}

/// Runs the bench of crate `act`, in which the guard is the program's own.
pub(super) fn measure() -> Result<Part, String> {
    println!("every kind of action, twice, which takes some minutes");
    let words = [
        "run",
        "--locked",
        "--package",
        "pawang-act",
        "--example",
        "harm_bench",
    ];
    let told = quiet(
        cargo(&words)
            .env("PAWANG_REQUIRE_PG", "1")
            .env("PAWANG_PG", "15"),
    )?;
    print!("{told}");
    let runs: Option<Vec<Run>> = told.lines().map(run).collect();
    let runs = runs.ok_or_else(|| format!("cannot read what the bench says:\n{told}"))?;
    part(&runs)
}

fn run(line: &str) -> Option<Run> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [kind, how, state, tries, took, longest, control, told] = fields[..] else {
        return None;
    };
    Some(Run {
        kind: kind.to_owned(),
        guarded: how == "guarded",
        done: state == "done",
        tries: tries.parse().ok()?,
        took_ms: took.parse().ok()?,
        longest_ms: longest.parse().ok()?,
        control_ms: control.parse().ok()?,
        told_ms: told.parse().ok()?,
    })
}

fn part(runs: &[Run]) -> Result<Part, String> {
    let mut text = "\
A transaction of 6 s has read and changed the table; two clients read it and two write it, and one more reads a table that nobody changes: \
what that one waits for is the machine. The action is applied by Pawang's engine, and the same statements are sent by a session without guard.\n\n\
| action | longest statement of others without guard ms | with guard ms | of the machine ms | tries | done after s | the journal says ms |\n\
|---|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    let mut worst: Option<&Run> = None;
    let mut done = 0;
    let ours = runs.iter().filter(|run| run.guarded);
    for run in ours.clone() {
        let naive = runs
            .iter()
            .find(|other| !other.guarded && other.kind == run.kind);
        let naive = naive.ok_or_else(|| format!("\"{}\" has no other run", run.kind))?;
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {:.1} | {} |",
            run.kind,
            naive.longest_ms,
            run.longest_ms,
            run.control_ms,
            run.tries,
            run.took_ms as f64 / 1e3,
            run.told_ms
        );
        done += usize::from(run.done);
        if worst.is_none_or(|worst| added(run) > added(worst)) {
            worst = Some(run);
        }
    }
    let worst = worst.ok_or("the bench did nothing")?;
    Ok(Part {
        title: "Harm: what others wait for, behind a long transaction",
        text,
        goals: vec![
            Goal {
                text: "at most 150 ms added to any other statement",
                reached: format!("{} ms ({})", added(worst), worst.kind),
                met: added(worst) <= ADDED_MS_MAX,
            },
            Goal {
                text: "and every action finishes",
                reached: format!("{done} of {}", ours.clone().count()),
                met: done == ours.count(),
            },
        ],
    })
}

/// Returns how much longer others waited than for the machine itself.
fn added(run: &Run) -> i64 {
    run.longest_ms - run.control_ms
}
