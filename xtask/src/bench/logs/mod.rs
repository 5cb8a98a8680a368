//! `cargo xtask bench logs`: a report of a gigabyte of log beside pgBadger, `wc -l` and `grep`; a log that is followed while it grows;
//! statements that are normalised.

mod corpus;
mod follow;
mod normaliser;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::page;
use super::program::{Run, best};
use super::serve::{Goal, Part, section};
use crate::run;
use crate::system::{Need, provide};
use crate::test::build_release;
use corpus::{FORMATS, PREFIX};

/// What each format is measured on.
const BYTES: u64 = 1_000_000_000;
/// Goals for one core, in MB per CPU-second, in the order of the formats.
const GOALS: [(f64, &str); 3] = [
    (400.0, "stderr: 400 MB per CPU-second (moonshot 1,000)"),
    (300.0, "csvlog: 300 MB per CPU-second (moonshot 800)"),
    (450.0, "jsonlog: 450 MB per CPU-second (moonshot 1,200)"),
];
const RUNS: usize = 3;

/// What one format came to.
struct Measured {
    name: &'static str,
    bytes: u64,
    one: Run,
    two: Run,
    lines: Run,
    grep: Run,
    badger: Run,
    badger_bytes: u64,
}

const USAGE: &str = "\
usage: bench logs [report|follow|normaliser] [--write | --dev] [--seconds N]

  --write      write the tables into docs/benchmarks.md
  --dev        try the bench with programs that are not optimised
  --seconds N  how long a log is followed, 60 unless given";

/// How long a log is followed.
const FOLLOW_SECONDS: u64 = 60;

/// How the programs that are measured are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    Release,
    /// To see that the bench works; its numbers say nothing.
    Dev,
}

/// What is to be done.
struct Wanted<'a> {
    only: Option<&'a str>,
    write: bool,
    profile: Profile,
    seconds: u64,
}

impl<'a> Wanted<'a> {
    fn of(words: &[&'a str]) -> Result<Wanted<'a>, String> {
        let mut wanted = Wanted {
            only: None,
            write: false,
            profile: Profile::Release,
            seconds: FOLLOW_SECONDS,
        };
        let mut rest = words.iter().copied();
        while let Some(word) = rest.next() {
            match word {
                "report" | "follow" | "normaliser" if wanted.only.is_none() => {
                    wanted.only = Some(word)
                }
                "--write" => wanted.write = true,
                "--dev" => wanted.profile = Profile::Dev,
                "--seconds" => {
                    let seconds = rest.next().and_then(|text| text.parse().ok());
                    wanted.seconds = seconds.filter(|seconds| *seconds > 0).ok_or(USAGE)?;
                }
                _ => return Err(USAGE.to_owned()),
            }
        }
        if wanted.write && wanted.profile == Profile::Dev {
            return Err("numbers of programs that are not optimised are not written".to_owned());
        }
        Ok(wanted)
    }

    fn wants(&self, part: &str) -> bool {
        self.only.is_none_or(|only| only == part)
    }

    /// Shows what a part came to, and writes it into the page if that is wanted.
    fn tell(&self, name: &str, part: Part) -> Result<(), String> {
        // The programs that are measured are of the same workspace, and have its version.
        let about = page::circumstances("15", concat!("pawang ", env!("CARGO_PKG_VERSION")));
        let (title, section) = section(name, &about, &part);
        println!("\n## {title}\n\n{section}");
        match self.write {
            true => page::write(title, &section),
            false => Ok(()),
        }
    }
}

/// Measures, prints, and with `--write` writes the tables into the page.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let wanted = Wanted::of(words)?;
    let begin = Instant::now();
    if wanted.wants("normaliser") {
        wanted.tell("logs normaliser", normaliser::measure(wanted.profile)?)?;
    }
    if wanted.wants("follow") || wanted.wants("report") {
        programs(&wanted)?;
    }
    println!("({:.0} s)", begin.elapsed().as_secs_f64());
    Ok(())
}

/// Measures what needs a server's log and the program itself.
fn programs(wanted: &Wanted<'_>) -> Result<(), String> {
    let needs: &[Need] = match wanted.wants("report") {
        true => &[Need::Server, Need::PgBadger],
        false => &[Need::Server],
    };
    provide(needs)?;
    let binary = match wanted.profile {
        Profile::Release => build_release()?,
        Profile::Dev => {
            run::loud(&mut run::cargo(&[
                "build",
                "--locked",
                "--package",
                "pawang",
            ]))?;
            run::built("debug/pawang")?
        }
    };
    println!("a server that logs everything");
    let (cluster, folder) = run::runtime()?.block_on(corpus::capture())?;
    if wanted.wants("follow") {
        let capture = folder.join("postgresql.log");
        wanted.tell(
            "logs follow",
            follow::measure(&binary, wanted.profile, &capture, wanted.seconds)?,
        )?;
    }
    if wanted.wants("report") {
        wanted.tell("logs report", measure(&binary, &folder)?)?;
    }
    drop(cluster);
    Ok(())
}

fn measure(binary: &Path, folder: &Path) -> Result<Part, String> {
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    for (name, ending) in FORMATS {
        let capture = folder.join(format!("postgresql.{ending}"));
        let file = work.path().join(format!("log.{ending}"));
        println!("{name}");
        let bytes = corpus::repeat(&capture, &file, BYTES)?;
        // pgBadger takes minutes for more; it is measured per megabyte.
        let once = std::fs::metadata(&capture)
            .map_err(|error| error.to_string())?
            .len();
        all.push(one(binary, name, (&file, bytes), (&capture, once))?);
        std::fs::remove_file(&file).map_err(|error| error.to_string())?;
    }
    Ok(Part {
        title: "Logs: a report of a gigabyte",
        text: table(&all),
        goals: goals(&all),
    })
}

fn one(
    binary: &Path,
    name: &'static str,
    (file, bytes): (&PathBuf, u64),
    (small, badger_bytes): (&PathBuf, u64),
) -> Result<Measured, String> {
    let ours = |threads: &str| {
        let mut command = Command::new(binary);
        command
            .args(["logs", "report", "--json", "--threads", threads])
            .arg(file);
        command
    };
    let badger = || {
        let mut command = Command::new("pgbadger");
        let format = if name == "csvlog" { "csv" } else { name };
        command.args(["-q", "-j", "1", "-f", format, "-o", "-", "-x", "json"]);
        if name == "stderr" {
            command.args(["-p", PREFIX]);
        }
        command.arg(small);
        command
    };
    let counted = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words).arg(file);
        command
    };
    // The file is in the page cache for everybody.
    best(1, || counted("wc", &["-l"]))?;
    Ok(Measured {
        name,
        bytes,
        one: best(RUNS, || ours("1"))?,
        two: best(RUNS, || ours("2"))?,
        lines: best(RUNS, || counted("wc", &["-l"]))?,
        grep: best(RUNS, || counted("grep", &["-c", "ERROR"]))?,
        badger: best(1, badger)?,
        badger_bytes,
    })
}

fn table(all: &[Measured]) -> String {
    let mut text = format!(
        "One run of a server that logs every statement (pgbench in its three protocols, errors, a lock, a temporary file) is written again and \
         again, each time a day later, until the file has {} MB. All programs read it from the page cache. `pawang logs report --json` \
         is the full report; the best of {RUNS} runs; pgBadger reads the run itself, once.\n\n\
         | | MB | program | MB per CPU-second | seconds | peak MB |\n|---|---:|---|---:|---:|---:|\n",
        BYTES / 1_000_000
    );
    for measured in all {
        let rows = [
            ("pawang, 1 thread", &measured.one, measured.bytes),
            ("pawang, 2 threads", &measured.two, measured.bytes),
            (
                "pgBadger, 1 process",
                &measured.badger,
                measured.badger_bytes,
            ),
            ("`wc -l`", &measured.lines, measured.bytes),
            ("`grep -c ERROR`", &measured.grep, measured.bytes),
        ];
        for (program, run, bytes) in rows {
            let _ = writeln!(
                text,
                "| {} | {:.0} | {program} | {:.1} | {:.2} | {:.0} |",
                measured.name,
                bytes as f64 / 1e6,
                run.rate(bytes),
                run.wall,
                run.peak_mb
            );
        }
    }
    text
}

fn goals(all: &[Measured]) -> Vec<Goal> {
    let mut goals: Vec<Goal> = all
        .iter()
        .zip(GOALS)
        .map(|(measured, (least, text))| {
            let rate = measured.one.rate(measured.bytes);
            Goal {
                text,
                reached: format!("{rate:.0}"),
                met: rate >= least,
            }
        })
        .collect();
    let least = |value: fn(&Measured) -> f64| all.iter().map(value).fold(f64::INFINITY, f64::min);
    let most = |value: fn(&Measured) -> f64| all.iter().map(value).fold(0.0, f64::max);
    let wall = least(|measured| measured.one.wall / measured.two.wall);
    let memory_one = most(|measured| measured.one.peak_mb);
    let memory_two = most(|measured| measured.two.peak_mb);
    let badger = least(|measured| {
        measured.one.rate(measured.bytes) / measured.badger.rate(measured.badger_bytes)
    });
    goals.extend([
        Goal {
            text: "two threads against one on the clock: 1.7 times (moonshot 1.9)",
            reached: format!("{wall:.2}"),
            met: wall >= 1.7,
        },
        Goal {
            text: "peak memory with one thread: 96 MB (moonshot 32)",
            reached: format!("{memory_one:.0}"),
            met: memory_one <= 96.0,
        },
        Goal {
            text: "peak memory with two threads: 128 MB",
            reached: format!("{memory_two:.0}"),
            met: memory_two <= 128.0,
        },
        Goal {
            text: "processor time against pgBadger: 40 times less (moonshot 150)",
            reached: format!("{badger:.0} times"),
            met: badger >= 40.0,
        },
    ]);
    goals
}
