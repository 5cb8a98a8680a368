//! Open findings: of the present, or of the time that is shown; and how they look in a list.

use maud::{Markup, html};
use pawang_check::CHECKS;
use pawang_core::{Evaluation, Finding, Level, Outcome, Timestamp, Verdict};
use pawang_store::live::Present;
use pawang_store::state::FindingQuery;

use super::{PageError, Visit};
use crate::words::{age, encode, glyph, moment, seconds_since};

/// Findings that are read from the history at most.
const FINDINGS_MAX: usize = 2_000;

/// A finding that is open.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    /// Where.
    pub instance: String,
    /// What.
    pub finding: Finding,
    /// Since when, as far as it is known.
    pub since: Option<Timestamp>,
}

/// Returns the open findings of some instances, worst and newest first; of a frozen range, those of its end.
///
/// # Errors
/// The history does not answer.
pub(crate) fn open<'a>(
    visit: &Visit<'_>,
    instances: impl IntoIterator<Item = &'a Present>,
) -> Result<Vec<Open>, PageError> {
    let mut all = Vec::new();
    for present in instances {
        if visit.range.frozen {
            all.extend(then(visit, &present.instance.name)?);
        } else if let Some(evaluation) = &present.evaluation {
            all.extend(now(present, evaluation));
        }
    }
    all.sort_by(|a, b| {
        let worst = b.finding.level.cmp(&a.finding.level);
        worst.then_with(|| b.since.cmp(&a.since))
    });
    Ok(all)
}

fn now(present: &Present, evaluation: &Evaluation) -> Vec<Open> {
    let findings = evaluation.findings().into_iter();
    findings
        .map(|finding| Open {
            instance: present.instance.name.clone(),
            since: finding
                .since
                .or_else(|| present.since.get(&finding.fingerprint).copied()),
            finding: finding.clone(),
        })
        .collect()
}

fn then(visit: &Visit<'_>, instance: &str) -> Result<Vec<Open>, PageError> {
    let records = visit.reader.findings(&FindingQuery {
        instance: Some(instance),
        open_at: Some(visit.range.span.to),
        limit: FINDINGS_MAX,
        ..FindingQuery::default()
    })?;
    let open = records.into_iter().map(|record| Open {
        instance: record.instance,
        since: record.finding.since.or(Some(record.opened_at)),
        finding: record.finding,
    });
    Ok(open.collect())
}

/// Draws findings as a list, one line each.
pub(crate) fn list(visit: &Visit<'_>, findings: &[Open], with_instance: bool) -> Markup {
    html! {
        ul .findings .across[with_instance] { @for open in findings { (item(visit, open, with_instance)) } }
    }
}

fn item(visit: &Visit<'_>, open: &Open, with_instance: bool) -> Markup {
    let finding = &open.finding;
    let place = place(finding);
    html! {
        li .(finding.level.as_str()) {
            (glyph(finding.level))
            @if with_instance {
                a .where href=(visit.link(&format!("/instances/{}", encode(&open.instance)))) { (open.instance) }
            }
            span .title {
                a href=(visit.link(&address(finding))) { b { (finding.check) } " " (finding.title) }
                @if !place.is_empty() { " " small { (place) } }
            }
            (since(visit, open.since))
        }
    }
}

/// Shows since when a finding is open, and how long that is.
pub(crate) fn since(visit: &Visit<'_>, since: Option<Timestamp>) -> Markup {
    html! {
        span .since { @if let Some(at) = since {
            "since " (moment(visit.now, at)) " (" (age(seconds_since(visit.now, at))) ")"
        } }
    }
}

/// Returns the address of a finding's page.
pub(crate) fn address(finding: &Finding) -> String {
    format!("/findings/{}", encode(&finding.fingerprint))
}

/// Returns what a check is called, for people: its title, else its id.
pub(crate) fn name(finding: &Finding) -> &str {
    let known = CHECKS.iter().find(|check| check.id == finding.check);
    known.map_or(finding.check.as_str(), |check| check.title)
}

/// Returns what a finding is about, below its instance: database and object.
pub(crate) fn place(finding: &Finding) -> String {
    match (&finding.database, finding.object.as_str()) {
        (Some(database), "") => database.clone(),
        (Some(database), object) if object.starts_with(&format!("{database}.")) => {
            object.to_owned()
        }
        (Some(database), object) => format!("{database} · {object}"),
        (None, object) => object.to_owned(),
    }
}

/// Draws the checks that found nothing, and those that do not apply, folded but counted.
pub(crate) fn quiet(evaluation: &Evaluation) -> Markup {
    let judged = |verdict: &&Verdict| {
        verdict.outcome == Outcome::Judged
            && verdict.level == Level::Ok
            && verdict.findings.is_empty()
    };
    let ok: Vec<&Verdict> = evaluation.verdicts.iter().filter(judged).collect();
    let not: Vec<&Verdict> = evaluation
        .verdicts
        .iter()
        .filter(|verdict| verdict.outcome == Outcome::NotApplicable)
        .collect();
    html! {
        @if !ok.is_empty() {
            details #ok .quiet {
                summary { (glyph(Level::Ok)) " " (ok.len()) " ok" (told(&ok)) }
                ul { @for verdict in &ok { li {
                    span title=(verdict.check) { (verdict.title) }
                    span { (measured(verdict)) }
                } } }
            }
        }
        @if !not.is_empty() {
            details #not-applicable .quiet {
                summary { (not.len()) " do not apply here" }
                ul { @for verdict in &not { li {
                    span title=(verdict.note.as_deref().unwrap_or("")) { (verdict.title) }
                } } }
            }
        }
    }
}

/// Returns the few quiet checks that people look for first, with their values.
fn told(ok: &[&Verdict]) -> Markup {
    const FIRST: [&str; 5] = [
        "connections",
        "cache-hit-ratio",
        "xid-wraparound",
        "archiver-failing",
        "disk-space",
    ];
    let told = FIRST.iter().filter_map(|id| {
        let verdict = ok.iter().find(|verdict| verdict.check == *id)?;
        let measure = measured(verdict);
        (!measure.is_empty()).then(|| format!("{} {measure}", verdict.title))
    });
    let told: Vec<String> = told.collect();
    html! { @if !told.is_empty() { small { ": " (told.join(", ")) ", ..." } } }
}

/// Returns the worst value of a check that found nothing.
fn measured(verdict: &Verdict) -> String {
    if verdict.unit == pawang_core::Unit::State {
        return String::new();
    }
    let worst = verdict.measures.first();
    worst.map_or_else(String::new, |measure| verdict.unit.show(measure.value))
}
