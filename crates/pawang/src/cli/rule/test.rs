//! `pawang rule test`: samples of a file, or of the history, and what comes of them.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pawang_alert::replay::{self, Asked, Graded, Outcome, Test, TestFile};
use pawang_alert::setup::Setup;
use pawang_check::{Check, Direction, Policy};
use pawang_config::KnownCheck;
use pawang_core::{Instance, Kind, Level, Report, Unit};
use serde::Serialize;

use super::history;
use crate::cli::Global;
use crate::cli::alert::order;
use crate::estate::{CommandLimits, Estate, Limited, known, known_checks, told};
use crate::output::{self, Exit};

/// No file of tests is larger.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Test rules, routes and ladders with samples of a file, or replay recorded ones; exit code 1 when a test fails
///
/// A file holds tests: `[[test]]` with `[[test.sample]]`, `[[test.order]]` and `[[test.expect]]`; docs/guide/alerts.md
/// shows one. Limits, rules, routes and windows are those of pawang.toml. Nobody is told anything.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files of tests; without any, what the daemon remembers is replayed
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Replay what the daemon remembers instead, and list the alerts that would have fired
    #[arg(long, conflicts_with = "files")]
    history: bool,
    #[command(flatten)]
    span: history::Span,
}

#[derive(Serialize)]
struct Told {
    file: PathBuf,
    name: String,
    passed: bool,
    #[serde(flatten)]
    outcome: Option<Outcome>,
    trouble: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let setup = Arc::new(order::setup(&estate)?);
    if args.history || args.files.is_empty() {
        return history::run(&args.span, &setup, global);
    }
    let own = estate.user_checks();
    let mut all = known_checks();
    all.extend(own.iter().map(known));
    let limits = Grading {
        estate: &estate,
        own: &own,
        known: &all,
    };
    let mut results = Vec::new();
    for path in &args.files {
        for test in read(path)?.tests {
            results.push(one(path, &test, &setup, &limits));
        }
    }
    let failed = results.iter().any(|result| !result.passed);
    if global.json {
        output::json("pawang.rule.test/1", &results)?;
    } else {
        output::data(&text(&results, global))?;
    }
    Ok(if failed { Exit::Answer } else { Exit::Good })
}

fn read(path: &Path) -> Result<TestFile, Report> {
    use std::io::Read;
    let wrong = |detail: String| {
        Report::new(
            Kind::Usage,
            format!("could not read test file \"{}\"", path.display()),
        )
        .with_detail(detail)
        .with_hint("docs/guide/alerts.md shows one")
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    toml::from_str(&text).map_err(|error| wrong(error.to_string()))
}

fn one(path: &Path, test: &Test, setup: &Arc<Setup>, limits: &Grading<'_>) -> Told {
    let mut test = test.clone();
    let mut instances = limits.estate.config.instances.iter();
    if let Some(config) = instances.find(|config| config.name == test.instance) {
        test.group = test.group.or_else(|| config.group.clone());
        let mut labels = config.labels.clone();
        labels.append(&mut test.labels);
        test.labels = labels;
    }
    let ran = replay::run(&test, setup, &test.subject(setup), &|asked| {
        limits.grade(asked)
    });
    let (outcome, trouble) = match ran {
        Ok(outcome) => (Some(outcome), None),
        Err(trouble) => (None, Some(trouble)),
    };
    let passed = outcome
        .as_ref()
        .is_some_and(|outcome| outcome.differences.is_empty());
    Told {
        file: path.to_owned(),
        name: test.name,
        passed,
        outcome,
        trouble,
    }
}

/// The limits in force.
struct Grading<'a> {
    estate: &'a Estate,
    own: &'a [Check<'a>],
    known: &'a [KnownCheck],
}

impl Grading<'_> {
    /// Grades a value as the check would; `None` when there is no such check.
    fn grade(&self, asked: &Asked<'_>) -> Option<Graded> {
        let id = asked.placed.check.as_str();
        if pawang_alert::rule::OWN_CHECKS.contains(&id) {
            return Some(Graded {
                level: Level::Critical,
                threshold: None,
                limits: (None, None),
                title: id.to_owned(),
                unit: Unit::State,
                remedy: String::new(),
            });
        }
        let own = self.own.iter().find(|check| check.id == id);
        let check = pawang_check::find(id).or(own)?;
        let instance = Instance {
            name: asked.instance.to_owned(),
            group: asked.group.map(str::to_owned),
            expected_standbys: Vec::new(),
        };
        let limited = Limited {
            config: &self.estate.config,
            instance: &instance,
            known: self.known,
            limits: CommandLimits::default(),
        };
        let placed = asked.placed;
        let resolved = limited.resolve(check, placed.database.as_deref(), Some(&placed.object));
        let limits = (resolved.limits.warning, resolved.limits.critical);
        let crossed = |limit: Option<f64>| {
            limit.filter(|limit| match (asked.value, check.direction) {
                (None, _) => false,
                (Some(value), Direction::Above) => value >= *limit,
                (Some(value), Direction::Below) => value <= *limit,
            })
        };
        let (level, threshold) = match (resolved.enabled, crossed(limits.1), crossed(limits.0)) {
            (true, Some(limit), _) => (Level::Critical, Some(limit)),
            (true, None, Some(limit)) => (Level::Warning, Some(limit)),
            _ => (Level::Ok, None),
        };
        Some(Graded {
            level,
            threshold,
            limits,
            title: check.title.to_owned(),
            unit: check.unit,
            remedy: check.fix.to_owned(),
        })
    }
}

fn text(results: &[Told], global: &Global) -> String {
    let mut out = String::new();
    for result in results {
        let word = if result.passed { "ok    " } else { "FAILED" };
        let _ = writeln!(out, "{word}  {}: {}", result.file.display(), result.name);
        if let Some(trouble) = &result.trouble {
            let _ = writeln!(out, "        {trouble}");
        }
        let Some(outcome) = &result.outcome else {
            continue;
        };
        for difference in &outcome.differences {
            let _ = writeln!(
                out,
                "        at {}: {}: expected {}, found {}",
                difference.at, difference.what, difference.expected, difference.found
            );
        }
        if global.verbose > 0 || !outcome.differences.is_empty() {
            for (at, who, subject) in &outcome.messages {
                let _ = writeln!(out, "        {at:.0}  to {who}: {subject}");
            }
        }
    }
    let failed = results.iter().filter(|result| !result.passed).count();
    if !global.quiet {
        let _ = writeln!(out, "{} tests, {failed} failed", results.len());
    }
    out
}
