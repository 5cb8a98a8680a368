//! The output of a Nagios plugin: one line, performance data, an exit code.

use std::fmt::Write;

use pawang_core::{Evaluation, Level, Outcome, Verdict};

use crate::grouped::{seen, unseen};
use crate::style::one_line;

/// Measures per check in the performance data; the plugin guidelines ask for short lines.
const MEASURES_MAX: usize = 10;

/// What a Nagios plugin hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nagios {
    /// One line without line feed.
    pub line: String,
    /// 0 ok, 1 warning, 2 critical, 3 unknown.
    pub code: u8,
}

/// Returns one line and an exit code for all evaluations together.
///
/// The worst level wins, in the order critical, warning, unknown, ok of the plugin guidelines.
pub fn nagios(evaluations: &[Evaluation]) -> Nagios {
    let level = evaluations
        .iter()
        .map(Evaluation::level)
        .max()
        .unwrap_or(Level::Unknown);
    let judged: usize = evaluations
        .iter()
        .map(|e| e.count(Level::Ok) + e.count(Level::Info))
        .sum();
    let (word, code) = match level {
        Level::Ok | Level::Info => ("OK", 0),
        Level::Warning => ("WARNING", 1),
        Level::Critical => ("CRITICAL", 2),
        Level::Unknown => ("UNKNOWN", 3),
    };
    let (word, code) = if judged == 0 && code == 0 {
        ("UNKNOWN", 3)
    } else {
        (word, code)
    };
    let parts = sentences(evaluations, judged);
    let text = one_line(&parts.join("; ")).replace('|', "/");
    let several = evaluations.len() > 1;
    let data: Vec<String> = evaluations
        .iter()
        .flat_map(|evaluation| perfdata(evaluation, several))
        .collect();
    let data = if data.is_empty() {
        String::new()
    } else {
        format!(" | {}", data.join(" "))
    };
    Nagios {
        line: format!("PAWANG {word} - {text}{data}"),
        code,
    }
}

/// Returns one fragment per finding and per reason for not seeing, bounded; never empty.
fn sentences(evaluations: &[Evaluation], judged: usize) -> Vec<String> {
    let mut parts = Vec::new();
    for evaluation in evaluations {
        for finding in seen(evaluation)
            .into_iter()
            .filter(|finding| finding.level >= Level::Warning)
        {
            let object = if finding.object.is_empty() {
                String::new()
            } else {
                format!(" {}", finding.object)
            };
            parts.push(format!(
                "{} {}{object}: {}",
                finding.level, finding.check, finding.title
            ));
        }
        for group in unseen(evaluation) {
            parts.push(format!(
                "unknown {}: {}",
                group.checks.join(", "),
                group.sentence
            ));
        }
    }
    let total = parts.len();
    parts.truncate(MEASURES_MAX);
    if total > parts.len() {
        parts.push(format!("and {} more", total - parts.len()));
    }
    if parts.is_empty() {
        parts.push(if judged == 0 {
            "no check applies here".to_owned()
        } else {
            format!(
                "{judged} {} ok",
                if judged == 1 { "check" } else { "checks" }
            )
        });
    }
    parts
}

/// Returns `'label'=value[unit];warning;critical` for the measures of each check.
fn perfdata(evaluation: &Evaluation, several: bool) -> Vec<String> {
    let judged = evaluation
        .verdicts
        .iter()
        .filter(|verdict| verdict.outcome != Outcome::NotApplicable);
    judged
        .flat_map(|verdict| measures(evaluation, verdict, several))
        .collect()
}

fn measures(evaluation: &Evaluation, verdict: &Verdict, several: bool) -> Vec<String> {
    let finite = verdict
        .measures
        .iter()
        .filter(|measure| measure.value.is_finite());
    let mut data = Vec::new();
    for measure in finite.take(MEASURES_MAX) {
        let mut label = verdict.check.clone();
        if several {
            label = format!("{}.{label}", evaluation.instance.name);
        }
        if !measure.object.is_empty() {
            let _ = write!(label, ".{}", measure.object);
        }
        let label = one_line(&label).replace(['\'', '='], "_").replace('|', "/");
        let limit = |limit: Option<f64>| limit.map_or(String::new(), number);
        let (warning, critical) = (limit(measure.warning), limit(measure.critical));
        data.push(format!(
            "'{label}'={}{};{warning};{critical}",
            number(measure.value),
            verdict.unit.perfdata()
        ));
    }
    data
}

/// Returns a number without exponent and with at most three decimals.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
