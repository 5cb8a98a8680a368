//! The daily operations log: the page that operators used to fill in by hand (document 000, "Operational Log Template").

use std::fmt::Write;

use maud::html;
use pawang_core::{Evaluation, Level, Outcome, Verdict};

use crate::grouped::{place, seen, unseen};
use crate::html::page;
use crate::markdown::{about, escape};
use crate::style::Style;

/// The page in both forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationsLog {
    /// Markdown.
    pub markdown: String,
    /// One HTML file.
    pub html: String,
}

/// A chapter of the page: its title, and its questions with the checks that answer them.
type Chapter = (
    &'static str,
    &'static [(&'static str, &'static [&'static str])],
);

/// The chapters of the template; each line is a question and the checks that answer it, worst answer first.
const CHAPTERS: &[Chapter] = &[
    (
        "Startup checklist",
        &[
            ("Database connectivity", &["connection"]),
            ("Disk space", &["disk-space"]),
            (
                "Error log review",
                &[
                    "log-errors",
                    "logs-panic",
                    "logs-crash",
                    "logs-corruption",
                    "logs-disk-full",
                    "logs-out-of-memory",
                    "logs-wraparound",
                    "logs-slot-lost",
                    "logs-archive-failed",
                    "logs-login-failures",
                    "logs-deadlock",
                    "logs-fatal",
                    "logs-forged",
                ],
            ),
        ],
    ),
    (
        "ETL pipeline execution",
        &[
            ("Last load", &["load-failed", "load-age"]),
            ("Errors encountered", &["load-error-rate"]),
        ],
    ),
    (
        "System status",
        &[
            ("Connections active", &["connections"]),
            ("Query performance", &["oldest-query", "slow-statements"]),
            ("Lock waits", &["blocking"]),
            ("Cache hit ratio", &["cache-hit-ratio"]),
            ("Dead rows", &["dead-tuples"]),
            (
                "Replication",
                &["replication-lag", "standby-lag", "expected-standbys"],
            ),
            ("Backups", &["backup-failed", "backup-age"]),
        ],
    ),
];

/// Returns every check id that the page asks for; a test compares them with the catalogue.
pub fn operations_log_checks() -> Vec<&'static str> {
    let lines = CHAPTERS.iter().flat_map(|(_, lines)| lines.iter());
    lines
        .flat_map(|(_, checks)| checks.iter().copied())
        .collect()
}

/// One answered line of the page.
struct Answer {
    question: &'static str,
    word: &'static str,
    level: Level,
    facts: String,
}

/// Returns the page for one evaluation; what was not seen says so and is never "OK".
pub fn operations_log(evaluation: &Evaluation, style: &Style) -> OperationsLog {
    let chapters: Vec<(&str, Vec<Answer>)> = CHAPTERS
        .iter()
        .map(|(title, lines)| {
            (
                *title,
                lines
                    .iter()
                    .map(|(question, ids)| answer(evaluation, question, ids))
                    .collect(),
            )
        })
        .collect();
    OperationsLog {
        markdown: as_markdown(evaluation, &chapters, style),
        html: as_html(evaluation, &chapters, style),
    }
}

/// Answers one line from the worst of its checks.
fn answer(evaluation: &Evaluation, question: &'static str, ids: &[&str]) -> Answer {
    let verdicts = evaluation
        .verdicts
        .iter()
        .filter(|verdict| ids.contains(&verdict.check.as_str()));
    let applies: Vec<&Verdict> = verdicts
        .filter(|verdict| verdict.outcome != Outcome::NotApplicable)
        .collect();
    let Some(worst) = applies.iter().max_by_key(|verdict| verdict.level) else {
        let note = evaluation
            .verdicts
            .iter()
            .find(|v| ids.contains(&v.check.as_str()))
            .and_then(|v| v.note.clone());
        let (word, facts) = match note {
            Some(note) => ("not applicable", note),
            None => ("not checked", "not part of this run".to_owned()),
        };
        return Answer {
            question,
            word,
            level: Level::Unknown,
            facts,
        };
    };
    let word = match worst.level {
        Level::Ok | Level::Info => "OK",
        Level::Unknown => "NOT SEEN",
        Level::Warning => "LOOK TODAY",
        Level::Critical => "ACT NOW",
    };
    let facts = match (worst.findings.first(), worst.measures.first()) {
        (Some(finding), _) => finding.title.clone(),
        (None, Some(measure)) => format!("{} {}", worst.unit.show(measure.value), measure.object)
            .trim()
            .to_owned(),
        (None, None) => "nothing found".to_owned(),
    };
    Answer {
        question,
        word,
        level: worst.level,
        facts,
    }
}

fn as_markdown(evaluation: &Evaluation, chapters: &[(&str, Vec<Answer>)], style: &Style) -> String {
    let mut out = format!(
        "# Daily operations log: {}\n\n{}\n",
        escape(&evaluation.instance.name),
        about(evaluation, style)
    );
    for (title, answers) in chapters {
        let _ = writeln!(
            out,
            "\n## {title}\n\n| item | result | facts |\n|---|---|---|"
        );
        for answer in answers {
            let _ = writeln!(
                out,
                "| {} | {} | {} |",
                answer.question,
                answer.word,
                escape(&answer.facts)
            );
        }
    }
    out.push_str("\n## Notes\n\n");
    for finding in seen(evaluation)
        .into_iter()
        .filter(|finding| finding.level >= Level::Warning)
    {
        let _ = writeln!(
            out,
            "- {} {}: {}",
            finding.level,
            escape(&place(evaluation, finding)),
            escape(&finding.title)
        );
    }
    for group in unseen(evaluation) {
        let _ = writeln!(
            out,
            "- not seen ({}): {}",
            group.checks.join(", "),
            escape(&group.sentence)
        );
    }
    out.push_str("\nOperator: ____________________   Signature: ____________________\n");
    out
}

fn as_html(evaluation: &Evaluation, chapters: &[(&str, Vec<Answer>)], style: &Style) -> String {
    let title = format!("Daily operations log: {}", evaluation.instance.name);
    page(
        &title,
        html! {
            h1 { (title) }
            p.about { (about(evaluation, style)) }
            @for (title, answers) in chapters {
                h2 { (title) }
                div.wide { table.log { tbody { @for answer in answers {
                    tr {
                        td { (answer.question) }
                        td class=(answer.level.as_str()) { b { (answer.word) } }
                        td { (answer.facts) }
                    }
                } } } }
            }
            h2 { "Notes" }
            ul {
                @for finding in seen(evaluation).into_iter().filter(|finding| finding.level >= Level::Warning) {
                    li { b class=(finding.level.as_str()) { (finding.level) } " " (place(evaluation, finding)) ": " (finding.title) }
                }
                @for group in unseen(evaluation) {
                    li { b.unknown { "not seen" } " (" (group.checks.join(", ")) "): " (group.sentence) }
                }
            }
            p { "Operator: ____________________   Signature: ____________________" }
        },
    )
}
