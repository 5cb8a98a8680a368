//! Replays what real servers showed as alerts, by the rules that are built in.
//!
//! `cargo xtask bench alert` records and runs it. `truth DIRECTORY`: what the tests of the checks saw, one file per test:
//! every fault must fire, and nothing else may. `day DIRECTORY`: `idle.jsonl`, `hourly.jsonl` and `batch.jsonl` of one
//! healthy server, played back at their own speed as 24 hours: nothing may fire. Every line is an evaluation.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that stops says where, and prints"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pawang_alert::book::Subject;
use pawang_alert::replay::Replay;
use pawang_alert::setup::Setup;
use pawang_core::{Evaluation, Level, Outcome, Timestamp};
use serde_json::Value;

/// Time between two samples of a test: what it saw once is seen for as long as its rule asks for.
const STEP: Duration = Duration::from_secs(30);
/// What was seen to be good is seen so often.
const GOOD_STEPS: u32 = 3;
const DAY: Duration = Duration::from_secs(86_400);
/// Warehouses load from 01:00 to 05:00, and for ten minutes of every other hour.
const BATCH_HOURS: std::ops::Range<u64> = 1..5;
const LOAD: Duration = Duration::from_secs(600);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["truth", directory] => truth(Path::new(directory)),
        ["day", directory] => day(Path::new(directory)),
        _ => panic!("usage: alert_bench truth|day <directory>"),
    }
}

/// What came of the truth suite.
#[derive(Default)]
struct Truth {
    tests: usize,
    /// Tests, checks and fingerprints that were found, with what was found.
    faults: BTreeMap<(String, String, String), String>,
    fired: BTreeSet<(String, String, String)>,
    /// Verdicts without a finding.
    healthy: usize,
    /// What fired though its check found nothing.
    false_alarms: Vec<String>,
}

fn truth(directory: &Path) {
    let setup = Arc::new(Setup::default());
    let mut truth = Truth::default();
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        let test = path.file_stem().unwrap().to_string_lossy().into_owned();
        replay_test(&test, &evaluations(&path), &setup, &mut truth);
    }
    let checks = |keys: &mut dyn Iterator<Item = &(String, String, String)>| {
        keys.map(|(_, check, _)| check.clone())
            .collect::<BTreeSet<_>>()
            .len()
    };
    let missed: Vec<_> = truth
        .faults
        .iter()
        .filter(|(fault, _)| !truth.fired.contains(fault))
        .collect();
    let recall = truth.fired.len() as f64 / truth.faults.len().max(1) as f64 * 100.0;
    println!("| truth suite | |\n|---|---:|");
    println!("| tests | {} |", truth.tests);
    println!("| faults found by checks | {} |", truth.faults.len());
    println!(
        "| checks with faults | {} |",
        checks(&mut truth.faults.keys())
    );
    println!("| faults that fired | {} |", truth.fired.len());
    println!("| recall, percent | {recall:.2} |");
    println!("| healthy verdicts | {} |", truth.healthy);
    println!("| false alarms | {} |", truth.false_alarms.len());
    for ((test, check, _), title) in missed {
        println!("\nmissed: {check}: {title} ({test})");
    }
    for alarm in truth.false_alarms {
        println!("\nfalse alarm: {alarm}");
    }
}

fn replay_test(test: &str, evaluations: &[Evaluation], setup: &Arc<Setup>, truth: &mut Truth) {
    truth.tests += 1;
    let mut clock = evaluations[0].at;
    let mut replay = Replay::new(Arc::clone(setup), clock);
    for evaluation in evaluations {
        let wrong: Vec<_> = evaluation
            .verdicts
            .iter()
            .flat_map(|verdict| &verdict.findings)
            .filter(|finding| matches!(finding.level, Level::Warning | Level::Critical))
            .collect();
        let name = &evaluation.instance.name;
        let steps = wrong.iter().map(|finding| {
            let rule = setup
                .rules
                .rule(&finding.check, None, name, &finding.object);
            let lasts = rule.lasts.max(rule.lasts_critical);
            lasts.div_duration_f64(STEP).ceil() as u32 + u32::from(rule.samples.1) + 1
        });
        let steps = steps.max().unwrap_or(GOOD_STEPS);
        let before = replay.fired().len();
        for _ in 0..steps {
            judge(&mut replay, evaluation, clock);
            clock += STEP;
        }
        for finding in &wrong {
            let fault = (
                test.to_owned(),
                finding.check.clone(),
                finding.fingerprint.clone(),
            );
            let alert = replay.alert(&finding.fingerprint);
            if alert.is_some_and(|alert| alert.firing() >= Some(finding.level)) {
                truth.fired.insert(fault.clone());
            }
            truth.faults.insert(fault, finding.title.clone());
        }
        let good = |outcome| outcome == Outcome::Judged;
        truth.healthy += evaluation
            .verdicts
            .iter()
            .filter(|verdict| good(verdict.outcome) && verdict.findings.is_empty())
            .count();
        let found: BTreeSet<&str> = wrong
            .iter()
            .map(|finding| finding.fingerprint.as_str())
            .collect();
        for fired in &replay.fired()[before..] {
            if !found.contains(fired.fingerprint.as_str()) {
                truth
                    .false_alarms
                    .push(format!("{}: {} ({test})", fired.check, fired.title));
            }
        }
    }
}

fn day(directory: &Path) {
    let [idle, hourly, batch] = ["idle", "hourly", "batch"].map(|phase| {
        let evaluations = evaluations(&directory.join(format!("{phase}.jsonl")));
        assert!(evaluations.len() > 1, "{phase}: too little was recorded");
        evaluations
    });
    let setup = Arc::new(Setup::default());
    let start: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
    let mut replay = Replay::new(Arc::clone(&setup), start);
    let (mut elapsed, mut samples, mut places) = (Duration::ZERO, 0_u64, [0_usize; 3]);
    while elapsed < DAY {
        let hour = elapsed.as_secs() / 3_600;
        let into_hour = Duration::from_secs(elapsed.as_secs() % 3_600);
        let (phase, record) = match () {
            () if BATCH_HOURS.contains(&hour) => (2, &batch),
            () if into_hour < LOAD => (1, &hourly),
            () => (0, &idle),
        };
        let place = places[phase] % (record.len() - 1);
        places[phase] += 1;
        judge(&mut replay, &record[place], start + elapsed);
        samples += 1;
        elapsed += record[place + 1]
            .at
            .duration_since(record[place].at)
            .unsigned_abs();
    }
    println!("| 24 hours of healthy load | |\n|---|---:|");
    println!("| samples | {samples} |");
    println!("| checks | {} |", idle[0].verdicts.len());
    println!("| messages | {} |", replay.messages().len());
    println!("| alerts | {} |", replay.fired().len());
    for fired in replay.fired() {
        println!(
            "\nalert: {} {} {}: {}",
            fired.at, fired.level, fired.check, fired.title
        );
    }
    let mut findings = BTreeMap::new();
    for evaluation in idle.iter().chain(&hourly).chain(&batch) {
        for verdict in &evaluation.verdicts {
            for finding in &verdict.findings {
                if matches!(finding.level, Level::Warning | Level::Critical) {
                    *findings
                        .entry((&finding.check, &finding.object))
                        .or_insert(0) += 1;
                }
            }
        }
    }
    let samples = idle.len() + hourly.len() + batch.len();
    for ((check, object), count) in findings {
        println!("\nfinding: {check} {object}: in {count} of {samples} recorded samples");
    }
}

/// Tells the book what was judged, as if it had been judged at this time.
fn judge(replay: &mut Replay, evaluation: &Evaluation, at: Timestamp) {
    let server = evaluation.server.as_ref();
    let subject = Subject {
        name: evaluation.instance.name.clone(),
        role: server.map(|server| server.role),
        cluster: server.map(|server| server.epoch.system_identifier.to_string()),
        production: true,
        ..Subject::default()
    };
    let evaluation = Evaluation {
        at,
        ..evaluation.clone()
    };
    replay.judged(Arc::new(evaluation), None, Arc::new(subject));
}

fn evaluations(path: &Path) -> Vec<Evaluation> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(evaluation).collect()
}

fn evaluation(line: &str) -> Evaluation {
    let mut evaluation: Value = serde_json::from_str(line).unwrap();
    for verdict in evaluation["verdicts"].as_array_mut().unwrap() {
        // JSON has no infinity.
        let measures = verdict["measures"].as_array_mut().unwrap();
        measures.retain(|measure| !measure["value"].is_null());
    }
    serde_json::from_value(evaluation).unwrap()
}
