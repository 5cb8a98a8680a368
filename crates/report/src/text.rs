//! Text for a terminal, and tab-separated lines for a pipe.

use std::fmt::Write;

use pawang_core::{Evaluation, Finding, Level, Outcome};

use crate::grouped::{place, seen, unseen};
use crate::style::{Style, cut, one_line};

/// Columns that a sentence needs beside the place; with less it gets a line of its own.
const SENTENCE_COLUMNS: usize = 24;
/// Objects shown per check before the rest is only counted.
const OBJECTS_SHOWN: usize = 5;

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Findings and what was not seen; nothing when all is well.
    Quiet,
    /// Findings, counts and one hint.
    Short,
    /// Also evidence, remedies, healthy checks and what each collector cost.
    Long,
}

/// Returns the findings of one evaluation for a person at a terminal.
pub fn text(evaluation: &Evaluation, style: &Style, detail: Detail) -> String {
    let mut out = String::new();
    let findings = seen(evaluation);
    let widths = (
        width(findings.iter().map(|f| f.check.as_str())),
        width(findings.iter().map(|f| place(evaluation, f))),
    );
    let mut hidden = 0;
    for (index, finding) in findings.iter().enumerate() {
        let earlier = findings[..index]
            .iter()
            .filter(|f| f.check == finding.check && f.level == finding.level)
            .count();
        if detail != Detail::Long && earlier >= OBJECTS_SHOWN {
            hidden += 1;
            continue;
        }
        line(&mut out, evaluation, finding, widths, style);
        if detail == Detail::Long {
            proof(&mut out, finding);
        }
    }
    if hidden > 0 {
        let _ = writeln!(
            out,
            "      and {hidden} more of the same checks (-v shows them)"
        );
    }
    blind(&mut out, evaluation, style, detail);
    if detail == Detail::Quiet {
        return out;
    }
    healthy(&mut out, evaluation, style, detail);
    for note in &evaluation.notes {
        let _ = writeln!(out, "note: {}", one_line(note));
    }
    if let Some(first) = findings.first() {
        let _ = writeln!(out, "\nhint: pawang explain {}", first.check);
    }
    out
}

fn line(
    out: &mut String,
    evaluation: &Evaluation,
    finding: &Finding,
    widths: (usize, usize),
    style: &Style,
) {
    let since = finding.since.map_or(String::new(), |at| {
        format!("  since {}", style.instant(at, evaluation.at))
    });
    let place = one_line(&place(evaluation, finding));
    let sentence = format!("{}{since}", one_line(&finding.title));
    let (w0, w1) = widths;
    let columns = style.width.map(|width| width.saturating_sub(6));
    let level = style.level(finding.level);
    if columns.is_some_and(|columns| columns < w0 + w1 + 4 + SENTENCE_COLUMNS) {
        let head = cut(&format!("{}  {place}", finding.check), columns);
        let _ = writeln!(out, "{level}  {head}\n      {}", cut(&sentence, columns));
        return;
    }
    let rest = format!("{:<w0$}  {place:<w1$}  {sentence}", finding.check);
    let _ = writeln!(out, "{level}  {}", cut(&rest, columns));
}

/// Evidence and remedy below a finding.
fn proof(out: &mut String, finding: &Finding) {
    let evidence: Vec<String> = finding
        .evidence
        .iter()
        .map(|(name, value)| format!("{}={}", one_line(name), one_line(value)))
        .collect();
    if !evidence.is_empty() {
        let _ = writeln!(out, "      evidence  {}", evidence.join("  "));
    }
    let _ = writeln!(out, "      remedy    {}", one_line(&finding.remedy));
}

/// What could not be seen, once per reason.
fn blind(out: &mut String, evaluation: &Evaluation, style: &Style, detail: Detail) {
    for group in unseen(evaluation) {
        let count = group.checks.len();
        let names = match (detail, count) {
            (Detail::Short | Detail::Quiet, 4..) => {
                format!("{count} checks ({}, ...)", group.checks[..2].join(", "))
            }
            _ => group.checks.join(", "),
        };
        let line = format!("{names}: {}", one_line(&group.sentence));
        let _ = writeln!(
            out,
            "{}  {}",
            style.level(Level::Unknown),
            cut(&line, style.width.map(|width| width.saturating_sub(6)))
        );
        let _ = writeln!(out, "      remedy    {}", one_line(&group.remedy));
    }
}

/// Healthy checks, counted; named when details are wanted.
fn healthy(out: &mut String, evaluation: &Evaluation, style: &Style, detail: Detail) {
    let applies = |level: Level| {
        evaluation
            .verdicts
            .iter()
            .filter(move |v| v.outcome == Outcome::Judged && v.level == level)
    };
    let slowest = evaluation.costs.iter().max_by_key(|(_, cost)| cost.elapsed);
    let slowest = slowest.map_or(String::new(), |(name, cost)| {
        let name = one_line(name);
        format!("  slowest collector {name} {} ms", cost.elapsed.as_millis())
    });
    let count = applies(Level::Ok).count();
    let absent = evaluation
        .verdicts
        .iter()
        .filter(|v| v.outcome == Outcome::NotApplicable)
        .count();
    let absent = if absent > 0 {
        format!("  {absent} do not apply")
    } else {
        String::new()
    };
    let plural = if count == 1 { "check" } else { "checks" };
    let _ = writeln!(
        out,
        "{}  {count} {plural}{absent}{slowest}",
        style.level(Level::Ok)
    );
    if detail == Detail::Short {
        return;
    }
    for verdict in applies(Level::Ok) {
        let worst = verdict.measures.first().map_or(String::new(), |measure| {
            let object = if measure.object.is_empty() {
                String::new()
            } else {
                format!("  {}", one_line(&measure.object))
            };
            format!("  {}{object}", verdict.unit.show(measure.value))
        });
        let _ = writeln!(out, "      {:<32}{worst}", verdict.check);
    }
    for verdict in evaluation
        .verdicts
        .iter()
        .filter(|v| v.outcome == Outcome::NotApplicable)
    {
        let _ = writeln!(
            out,
            "n/a   {:<32}  {}",
            verdict.check,
            one_line(verdict.note.as_deref().unwrap_or_default())
        );
    }
    for (name, cost) in &evaluation.costs {
        let name = one_line(name);
        let _ = writeln!(
            out,
            "cost  {name:<32}  {:>7.1} ms  {} rows",
            cost.elapsed.as_secs_f64() * 1e3,
            cost.rows
        );
    }
}

/// Returns one tab-separated line per finding and per healthy check, never cut.
///
/// Columns: level, check, instance, database, object, value, unit, threshold, since, title.
pub fn tsv(evaluation: &Evaluation) -> String {
    let mut out = String::new();
    let clean = |text: &str| one_line(text);
    for finding in evaluation.findings() {
        let unit = serde_json::to_value(finding.unit).unwrap_or_default();
        let fields = [
            finding.level.to_string(),
            finding.check.clone(),
            clean(&evaluation.instance.name),
            clean(finding.database.as_deref().unwrap_or_default()),
            clean(&finding.object),
            finding
                .value
                .map_or(String::new(), |value| value.to_string()),
            unit.as_str().unwrap_or_default().to_owned(),
            finding
                .threshold
                .map_or(String::new(), |limit| limit.to_string()),
            finding.since.map_or(String::new(), |at| at.to_string()),
            clean(&finding.title),
        ];
        let _ = writeln!(out, "{}", fields.join("\t"));
    }
    for verdict in evaluation
        .verdicts
        .iter()
        .filter(|v| v.outcome == Outcome::Judged && v.level == Level::Ok)
    {
        let _ = writeln!(
            out,
            "ok\t{}\t{}\t\t\t\t\t\t\t{}",
            verdict.check,
            clean(&evaluation.instance.name),
            clean(&verdict.title)
        );
    }
    out
}

fn width<T: AsRef<str>>(items: impl Iterator<Item = T>) -> usize {
    items
        .map(|item| item.as_ref().chars().count())
        .max()
        .unwrap_or(0)
        .min(48)
}
