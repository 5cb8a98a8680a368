//! Markdown for a ticket or a wiki.

use std::fmt::Write;

use pawang_core::{Evaluation, Level, Outcome};

use crate::grouped::{place, seen, unseen};
use crate::style::{Style, one_line};

/// Returns a report with a heading, the findings, what was not seen, and the healthy checks.
pub fn markdown(evaluation: &Evaluation, style: &Style) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "# {}: {}\n",
        escape(&evaluation.instance.name),
        summary(evaluation)
    );
    let _ = writeln!(out, "{}\n", about(evaluation, style));
    let findings = seen(evaluation);
    if !findings.is_empty() {
        out.push_str("## Findings\n\n| level | check | where | what | since | what to do |\n|---|---|---|---|---|---|\n");
        for finding in findings {
            let since = finding
                .since
                .map_or(String::new(), |at| style.instant(at, evaluation.at));
            let _ = writeln!(
                out,
                "| {} | `{}` | {} | {} | {since} | {} |",
                finding.level,
                finding.check,
                escape(&place(evaluation, finding)),
                escape(&finding.title),
                escape(&finding.remedy)
            );
        }
        out.push('\n');
    }
    let groups = unseen(evaluation);
    if !groups.is_empty() {
        out.push_str("## Not seen\n\n| checks | why | what would help |\n|---|---|---|\n");
        for group in groups {
            let _ = writeln!(
                out,
                "| {} | {} | {} |",
                group.checks.join(", "),
                escape(&group.sentence),
                escape(&group.remedy)
            );
        }
        out.push('\n');
    }
    out.push_str("## Healthy\n\n| check | worst value |\n|---|---|\n");
    for verdict in evaluation
        .verdicts
        .iter()
        .filter(|v| v.outcome == Outcome::Judged && v.level == Level::Ok)
    {
        let worst = verdict.measures.first().map_or(String::new(), |measure| {
            format!(
                "{} {}",
                verdict.unit.show(measure.value),
                escape(&measure.object)
            )
        });
        let _ = writeln!(out, "| {} | {} |", escape(&verdict.title), worst.trim());
    }
    for note in &evaluation.notes {
        let _ = writeln!(out, "\nNote: {}", escape(note));
    }
    out
}

/// Returns the counts in words: `2 critical, 1 warning, 3 unknown, 120 ok`.
pub(crate) fn summary(evaluation: &Evaluation) -> String {
    let levels = [
        Level::Critical,
        Level::Warning,
        Level::Unknown,
        Level::Info,
        Level::Ok,
    ];
    let counts = levels.map(|level| (evaluation.count(level), level));
    let words: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, level)| format!("{count} {level}"))
        .collect();
    if words.is_empty() {
        "nothing was checked".to_owned()
    } else {
        words.join(", ")
    }
}

/// Returns one line about the server and the time.
pub(crate) fn about(evaluation: &Evaluation, style: &Style) -> String {
    let server = match &evaluation.server {
        Some(server) => {
            let role = if server.role == pawang_core::Role::Primary {
                "primary"
            } else {
                "standby"
            };
            format!(
                "PostgreSQL {}, {role}, seen as role {}",
                server.short_version(),
                server.user
            )
        }
        None => "the server could not be reached".to_owned(),
    };
    let profile = evaluation
        .profile
        .as_ref()
        .map_or(String::new(), |name| format!(", profile {name}"));
    format!("{}{profile}, {server}.", style.full(evaluation.at))
}

/// Makes text safe inside a Markdown table cell.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::new();
    for c in one_line(text).chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' => {
                safe.push('\\');
                safe.push(c);
            }
            _ => safe.push(c),
        }
    }
    safe
}
