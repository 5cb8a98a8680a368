//! kill -9 in the middle of maintenance, a hundred times: the test of crate `act`, with more kills.

use super::{Goal, Part};
use crate::run::cargo;

const KILLS: u32 = 100;
const TEST: &str = "kills::a_killed_run_is_settled_by_the_next";

/// Runs the test, which fails at the first kill after which something is left.
pub(super) fn measure() -> Result<Part, String> {
    println!("{KILLS} kills, which take some minutes");
    let words = [
        "test",
        "--locked",
        "--package",
        "pawang-act",
        "--test",
        "it",
        "--",
        "--exact",
        TEST,
        "--nocapture",
    ];
    let mut command = cargo(&words);
    command
        .env("PAWANG_ACT_KILLS", KILLS.to_string())
        .env("PAWANG_REQUIRE_PG", "1")
        .env("PAWANG_PG", "15");
    let output = command
        .output()
        .map_err(|error| format!("could not start cargo: {error}"))?;
    let told = String::from_utf8_lossy(&output.stdout);
    let counts = told.lines().find_map(counts);
    let (Some([killed, open, cleaned]), true) = (counts, output.status.success()) else {
        return Err(format!(
            "the test of kills did not end well\n{told}{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    };
    Ok(part(killed, open, cleaned))
}

/// Reads how many kills there were, how many of them left something begun, and what was cleaned up.
fn counts(line: &str) -> Option<[u32; 3]> {
    let (killed, rest) = line.split_once(" kills: ")?;
    let (open, rest) = rest.split_once(" intents were open, ")?;
    let cleaned = rest.strip_suffix(" things were cleaned up")?;
    let number = |text: &str| text.rsplit(' ').next()?.parse().ok();
    Some([number(killed)?, number(open)?, number(cleaned)?])
}

fn part(killed: u32, open: u32, cleaned: u32) -> Part {
    let text = format!(
        "A program that vacuums, rebuilds an index CONCURRENTLY and detaches a partition CONCURRENTLY is killed with kill -9 up to half a \
         second after it has begun, every other time while somebody reads the tables, so that concurrent work is in its middle. After each \
         kill the journal is verified, the next run settles what there is, and the catalog is looked at: the test ends at the first kill \
         after which an index is invalid, a partition half detached, an index too many, or the journal broken.\n\n\
         | | |\n|---|---:|\n| kills | {killed} |\n| actions that were begun and not ended | {open} |\n\
         | statements by which the next run cleaned up | {cleaned} |\n| kills after which anything was left | 0 |\n"
    );
    let all = |text| Goal {
        text,
        reached: format!("{killed} of {KILLS}"),
        met: killed == KILLS,
    };
    Part {
        title: "Kills: a hundred in the middle of maintenance",
        text,
        goals: vec![
            all("no invalid index and no half detached partition is left"),
            all("the journal verifies"),
            all("the next run settles everything"),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn counts_are_read_from_what_the_test_says() {
        let line = "100 kills: 61 intents were open, 23 things were cleaned up";
        assert_eq!(counts(line), Some([100, 61, 23]));
        assert_eq!(
            counts(&format!("test kills ... {line}")),
            Some([100, 61, 23])
        );
        assert_eq!(counts("test result: ok"), None);
    }
}
