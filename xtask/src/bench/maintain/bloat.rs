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
         seven types in six forms (low cardinality, unique, fillfactor, partial, INCLUDE, nulls) in four lives (built, \
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
                text: "within 5 points for 95 % of the corpus",
                reached: corpus.words.clone(),
                met: corpus.met,
            },
        ],
    })
}

/// What the test of the corpus says.
struct Corpus {
    words: String,
    met: bool,
}

fn corpus() -> Result<Corpus, String> {
    let mut command = run::cargo(&[
        "test",
        "--locked",
        "--package",
        "pawang-check",
        "--test",
        "it",
        "bloat_corpus::indexes_of_every",
        "--",
        "--nocapture",
    ]);
    command.env("PAWANG_REQUIRE_PG", "1").env("PAWANG_PG", "15");
    let output = command.output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text
        .lines()
        .find(|line| line.contains("outside their bounds"));
    let words = line
        .ok_or("the test of the corpus said nothing")?
        .trim()
        .to_owned();
    Ok(Corpus {
        words,
        met: output.status.success(),
    })
}
