//! One HTML file without any other file: readable on a phone, in the dark, and on paper.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use pawang_core::{Evaluation, Finding, Level, Outcome};

use crate::grouped::{place, seen, unseen};
use crate::markdown::{about, summary};
use crate::style::Style;

const CSS: &str = include_str!("report.css");

/// Returns a page with all evaluations, worst findings first.
pub fn html(evaluations: &[Evaluation], style: &Style) -> String {
    let title = match evaluations {
        [one] => format!("{}: {}", one.instance.name, summary(one)),
        many => format!("{} instances", many.len()),
    };
    page(
        &title,
        html! {
            @for evaluation in evaluations { (section(evaluation, style)) }
        },
    )
}

/// Returns a whole page around a body.
pub(crate) fn page(title: &str, body: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(CSS)) }
            }
            body { (body) }
        }
    };
    // A page may be printed on a terminal.
    let control = |c: char| c.is_control() && c != '\n';
    page.into_string().replace(control, " ")
}

fn section(evaluation: &Evaluation, style: &Style) -> Markup {
    let findings = seen(evaluation);
    let groups = unseen(evaluation);
    html! {
        section {
            h1 { (evaluation.instance.name) }
            p.counts {
                @for level in [Level::Critical, Level::Warning, Level::Unknown, Level::Info, Level::Ok] {
                    @let count = evaluation.count(level);
                    @if count > 0 { span class=(level.as_str()) { (glyph(level)) " " (count) " " (level) } " " }
                }
            }
            p.about { (about(evaluation, style)) }
            @for finding in findings { (article(evaluation, finding, style)) }
            @if !groups.is_empty() {
                h2 { "Not seen" }
                @for group in groups {
                    div.finding.unknown {
                        p { b { (glyph(Level::Unknown)) " " (group.checks.join(", ")) } }
                        p { (group.sentence) }
                        pre { (group.remedy) }
                    }
                }
            }
            details {
                summary { "Healthy checks: " (evaluation.count(Level::Ok)) }
                div.wide { table {
                    thead { tr { th { "check" } th { "worst value" } th { "object" } } }
                    tbody {
                        @for verdict in evaluation.verdicts.iter().filter(|v| v.outcome == Outcome::Judged && v.level == Level::Ok) {
                            tr {
                                td { (verdict.title) }
                                td.number { @if let Some(m) = verdict.measures.first() { (verdict.unit.show(m.value)) } }
                                td { @if let Some(m) = verdict.measures.first() { (m.object) } }
                            }
                        }
                    }
                } }
            }
            @for note in &evaluation.notes { p.about { "Note: " (note) } }
        }
    }
}

fn article(evaluation: &Evaluation, finding: &Finding, style: &Style) -> Markup {
    html! {
        article class={ "finding " (finding.level.as_str()) } {
            p {
                b { (glyph(finding.level)) " " (finding.level) " " code { (finding.check) } }
                " " (place(evaluation, finding))
                @if let Some(at) = finding.since { span.about { " since " (style.instant(at, evaluation.at)) } }
            }
            p.what { (finding.title) }
            @if !finding.evidence.is_empty() {
                dl { @for (name, value) in &finding.evidence { dt { (name) } dd { (value) } } }
            }
            pre { (finding.remedy) }
        }
    }
}

/// A sign beside the word, so that colour never carries the meaning alone.
pub(crate) fn glyph(level: Level) -> &'static str {
    match level {
        Level::Ok => "\u{2713}",
        Level::Info => "i",
        Level::Unknown => "?",
        Level::Warning => "!",
        Level::Critical => "!!",
    }
}
