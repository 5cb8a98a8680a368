//! `cargo xtask test`: everything that CI runs, in order, each step with its time; the first failure ends it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use pawang_testbed::{Cluster, Setup};
use serde_json::Value;

use crate::bench::{Daemon, http};
use crate::run::{built, cargo, command, loud, quiet, runtime, typed, works};
use crate::system::{Need, provide, servers, versions};
use crate::{docs, tidy};

/// The release binary must stay small enough to be copied to a server without a thought. The goal is 20 MB. What reads logs and
/// changes servers took it to 24; repositories, WAL, backups, restores and S3 to 30: object_store with its signatures and tables of
/// checksums is 1.1 MB of that, the duty itself 1.3, its commands 0.6, sorts and maps of its types 1. Backups over SQL, what puts
/// chains together, reading again and drills of any tool are the last 0.6; looks before a restore, and WAL that is read again, 0.3 more.
/// Nearly all else is made small.
const BINARY_BYTES_MAX: u64 = 31_000_000;

/// The feature that people build without, and that is tested all the same.
const PARQUET: &str = "pawang/parquet";

/// One step: its name and what it does for the versions of PostgreSQL that are tested.
type Step = (&'static str, fn(&[u32]) -> Result<(), String>);

const STEPS: [Step; 9] = [
    ("servers", |majors| servers(majors)),
    ("format", |_| {
        shown(&mut cargo(&["fmt", "--all", "--check"]))
    }),
    ("tidy", |_| tidy::run()),
    ("clippy", |_| clippy()),
    ("tests", tests),
    ("rustdoc", |_| rustdoc()),
    ("docs", |_| docs::run(true)),
    ("release", |_| release()),
    ("smoke", |_| smoke()),
];

/// Runs one step alone, for whoever repairs it.
pub(crate) fn alone(name: &str) -> Result<(), String> {
    let names = STEPS.map(|(name, _)| name);
    let step = STEPS.iter().find(|(step, _)| *step == name);
    let (_, work) = step.ok_or_else(|| {
        format!(
            "there is no step \"{name}\": use one of {}",
            names.join(", ")
        )
    })?;
    work(&versions(None)?)
}

/// Runs all steps; `wanted` says which versions of PostgreSQL are tested.
pub(crate) fn run(wanted: Option<&str>) -> Result<(), String> {
    let begin = Instant::now();
    let mut table: Vec<(&str, Duration)> = Vec::new();
    let mut step = |name, work: &mut dyn FnMut() -> Result<(), String>| {
        println!("\n=== {name}");
        let begin = Instant::now();
        let result = work();
        table.push((name, begin.elapsed()));
        result.map_err(|message| format!("step \"{name}\": {message}"))
    };
    let mut majors = Vec::new();
    let mut result = step("packages", &mut || {
        provide(&[
            Need::Server,
            Need::Pooler,
            Need::Repack,
            Need::Partman,
            Need::PgBackRest,
            Need::Barman,
            Need::Age,
            Need::Patroni,
            Need::Prometheus,
            Need::Alertmanager,
            Need::Mail,
            Need::Browser,
            Need::Npm,
            Need::Pip,
        ])?;
        majors = versions(wanted)?;
        println!("PostgreSQL to test: {majors:?}");
        Ok(())
    });
    for (name, work) in STEPS {
        if result.is_ok() {
            result = step(name, &mut || work(&majors));
        }
    }
    println!("\n{:<10} {:>8}  result", "step", "seconds");
    for (index, (name, elapsed)) in table.iter().enumerate() {
        let failed = result.is_err() && index + 1 == table.len();
        println!(
            "{name:<10} {:>8.1}  {}",
            elapsed.as_secs_f64(),
            if failed { "FAILED" } else { "ok" }
        );
    }
    println!("{:<10} {:>8.1}", "all", begin.elapsed().as_secs_f64());
    result
}

fn shown(command: &mut Command) -> Result<(), String> {
    println!("$ {}", typed(command));
    loud(command)
}

fn clippy() -> Result<(), String> {
    shown(&mut cargo(&[
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--features",
        PARQUET,
        "--",
        "-D",
        "warnings",
    ]))
}

fn tests(majors: &[u32]) -> Result<(), String> {
    let majors: Vec<String> = majors.iter().map(u32::to_string).collect();
    let nextest = works("cargo", &["nextest", "--version"]);
    let words: &[&str] = if nextest {
        &["nextest", "run"]
    } else {
        &["test"]
    };
    let mut tests = cargo(words);
    tests.args(["--locked", "--workspace", "--features", PARQUET]);
    tests
        .env("PAWANG_REQUIRE_PG", "1")
        .env("PAWANG_PG", majors.join(","));
    if !nextest {
        // The tests start servers; more of them at once only wait for each other.
        tests.env("RUST_TEST_THREADS", "4");
    }
    shown(&mut tests)?;
    if nextest {
        // nextest leaves out the examples in the documentation.
        shown(&mut cargo(&["test", "--locked", "--workspace", "--doc"]))?;
    }
    Ok(())
}

fn rustdoc() -> Result<(), String> {
    let mut doc = cargo(&["doc", "--locked", "--workspace", "--no-deps"]);
    shown(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Builds what people get and returns where it is.
pub(crate) fn build_release() -> Result<PathBuf, String> {
    let build = ["build", "--locked", "--release", "--package", "pawang"];
    shown(&mut cargo(&build))?;
    built("release/pawang")
}

fn release() -> Result<(), String> {
    let binary = build_release()?;
    let bytes = fs::metadata(&binary)
        .map_err(|error| format!("could not look at \"{}\": {error}", binary.display()))?
        .len();
    println!("release binary: {:.1} MB", bytes as f64 / 1e6);
    if bytes > BINARY_BYTES_MAX {
        return Err(format!(
            "the binary has {bytes} bytes, {BINARY_BYTES_MAX} are allowed"
        ));
    }
    Ok(())
}

/// Runs the program once against a healthy server, as a user with nothing configured would.
fn smoke() -> Result<(), String> {
    let binary = build_release()?;
    let pawang = |words: &[&str]| {
        let mut pawang = command(&binary.to_string_lossy());
        pawang.args(words);
        println!("$ {}", typed(&pawang));
        pawang
    };
    print!("{}", quiet(&mut pawang(&["--version"]))?);
    let list = quiet(&mut pawang(&["check", "list"]))?;
    println!("{} lines", list.lines().count());
    let (cluster, user) = runtime()?.block_on(async {
        let cluster = Cluster::start(&Setup::default()).await;
        let user = cluster.monitor().await;
        (cluster, user)
    });
    let url = cluster.url_as(&user, "postgres");
    let output = pawang(&["check", &url, "--no-state", "--json"])
        .output()
        .map_err(|error| format!("could not start \"{}\": {error}", binary.display()))?;
    daemon(&binary, &cluster, &url)?;
    drop(cluster);
    judge(&output.stdout, output.status.code()).map_err(|why| {
        format!(
            "{why}\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

/// Starts the daemon, waits for its first verdicts, asks for its first page, and ends it.
fn daemon(binary: &Path, cluster: &Cluster, url: &str) -> Result<(), String> {
    let daemon = Daemon::start(binary, &cluster.folder("home"), url, 1)?;
    let page = http::get(daemon.address, "/", false)?;
    let text = String::from_utf8_lossy(&page.body);
    println!(
        "GET / of pawang serve: {}, {} bytes",
        page.status, page.bytes
    );
    if page.status != 200 || !text.contains("dwh-1") {
        return Err(format!("the dashboard does not show its instance\n{text}"));
    }
    daemon.process.end()
}

/// A new server has findings and things that cannot be seen yet, so exit codes 0, 1 and 3 are good.
fn judge(answer: &[u8], code: Option<i32>) -> Result<(), String> {
    let answer: Value = serde_json::from_slice(answer)
        .map_err(|error| format!("the answer is not JSON: {error}"))?;
    let evaluation = &answer["data"][0];
    let verdicts = evaluation["verdicts"].as_array().map_or(0, Vec::len);
    if evaluation["server"].is_null() || verdicts == 0 {
        return Err("the server was not judged".to_owned());
    }
    if !matches!(code, Some(0 | 1 | 3)) {
        return Err(format!("the exit code is {code:?}"));
    }
    println!(
        "{verdicts} verdicts, exit code {}",
        code.unwrap_or_default()
    );
    Ok(())
}
