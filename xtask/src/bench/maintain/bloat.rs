//! `pawang bloat` on ten thousand indexes, and the corpus of indexes of every type, form and life against their rebuild.

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use super::super::database::{self, DATABASE};
use super::super::measure::{cost, peak_memory_mb};
use super::super::serve::{Goal, Part};
use crate::run;

/// Three indexes each.
const TABLES: u32 = 3_334;
const RUNS: u32 = 5;
const INDEXES_MIN: usize = 10_000;
const WALL_MS_MAX: f64 = 2_000.0;
/// The corpus has so many indexes at least, in so many tests.
const CORPUS_MIN: usize = 200;
const HALVES: usize = 2;

/// Measures both.
pub(super) async fn measure(binary: &Path) -> Result<Part, String> {
    let corpus = corpus()?;
    println!("creating {TABLES} tables");
    let cluster = database::start(TABLES).await;
    let folder = cluster.folder("home");
    let url = cluster.url_as("monitor", DATABASE);
    let pawang = || {
        let mut command = run::command(&binary.to_string_lossy());
        command
            .args(["bloat", "indexes", "--json", "--database", DATABASE])
            .env("PGHOST", cluster.socket_directory())
            .env("PGPORT", cluster.port().to_string())
            .env("PGUSER", "monitor")
            .env("PGDATABASE", DATABASE)
            .env("HOME", &folder)
            .current_dir(&folder);
        command
    };
    println!("measuring over {url}");
    let answer = pawang().output().map_err(|error| error.to_string())?;
    let answer: Value =
        serde_json::from_slice(&answer.stdout).map_err(|error| error.to_string())?;
    let relations = answer["data"][0]["relations"].as_array();
    let indexes = relations.map_or(0, Vec::len);
    if indexes < INDEXES_MIN {
        return Err(format!("the answer has only {indexes} indexes"));
    }
    let mut runs: Vec<_> = (0..RUNS).map(|_| pawang()).collect();
    let begin = Instant::now();
    let ours = cost(&cluster, &mut runs).await?.0.per(RUNS);
    println!("({:.0} s)", begin.elapsed().as_secs_f64());
    let memory = peak_memory_mb(&mut pawang())?;
    let text = format!(
        "| | wall ms | own CPU ms | peak MB | statements | backend CPU ms |\n|---|---:|---:|---:|---:|---:|\n\
         | pawang bloat indexes ({indexes} indexes) | {:.0} | {:.0} | {memory:.0} | {:.0} | {:.0} |\n\n\
         As a member of pg_monitor with SELECT on the tables; no page of a relation is read. The corpus has indexes of \
         ten types in six forms (low cardinality, unique, fillfactor, partial, INCLUDE, nulls) in four lives (built, \
         grown, after deletes, after updates); each is estimated and then rebuilt: {}\n",
        ours.wall_ms, ours.cpu_ms, ours.statements, ours.server_cpu_ms, corpus.words
    );
    Ok(Part {
        title: "`pawang bloat`: 10,000 indexes, and estimates against rebuilds",
        text,
        goals: vec![
            Goal {
                text: "10,000 indexes in under 2 s",
                reached: format!("{:.0} ms", ours.wall_ms),
                met: ours.wall_ms < WALL_MS_MAX,
            },
            Goal {
                text: "within 5 points for 95 % of a corpus of 200 indexes",
                reached: corpus.words.clone(),
                met: corpus.met,
            },
        ],
    })
}

/// What the tests of the corpus say.
struct Corpus {
    words: String,
    met: bool,
}

/// Runs the tests of the two halves of the corpus, each of which says how many indexes it has and how near they are.
fn corpus() -> Result<Corpus, String> {
    println!("estimates of a corpus of indexes, each rebuilt, which takes a minute or two");
    let mut command = run::cargo(&[
        "test",
        "--locked",
        "--package",
        "pawang-check",
        "--test",
        "it",
        "bloat_corpus::indexes_of",
        "--",
        "--nocapture",
    ]);
    command.env("PAWANG_REQUIRE_PG", "1").env("PAWANG_PG", "15");
    let output = command.output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let halves: Vec<[usize; 4]> = text.lines().filter_map(counts).collect();
    if halves.len() != HALVES {
        let problem = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "the tests of the corpus did not end well\n{text}{problem}"
        ));
    }
    let sum = |at: usize| halves.iter().map(|half| half[at]).sum::<usize>();
    let (indexes, estimated, off, outside) = (sum(0), sum(1), sum(2), sum(3));
    Ok(Corpus {
        words: format!(
            "{indexes} indexes, {estimated} estimated, {off} not within 5 points, {outside} outside their bounds"
        ),
        met: output.status.success() && indexes >= CORPUS_MIN && off * 20 <= indexes,
    })
}

/// Reads how many indexes there are, how many are estimated, and how many are not within 5 points and outside their bounds.
fn counts(line: &str) -> Option<[usize; 4]> {
    let (indexes, rest) = line.split_once(" indexes, ")?;
    let (estimated, rest) = rest.split_once(" estimated, ")?;
    let (off, rest) = rest.split_once(" not within 5 points, ")?;
    let outside = rest.strip_suffix(" outside their bounds")?;
    let number = |text: &str| text.rsplit(' ').next()?.parse().ok();
    Some([
        number(indexes)?,
        number(estimated)?,
        number(off)?,
        number(outside)?,
    ])
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn counts_are_read_from_what_the_tests_say() {
        let line = "120 indexes, 119 estimated, 1 not within 5 points, 2 outside their bounds";
        assert_eq!(counts(line), Some([120, 119, 1, 2]));
        assert_eq!(counts("test result: ok"), None);
    }
}
