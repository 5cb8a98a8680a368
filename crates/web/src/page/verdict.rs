//! Open findings: of the present, or of the time that is shown; and how they look in a list.

use std::collections::HashMap;
use std::sync::Arc;

use maud::{Markup, html};
use pawang_check::{CHECKS, Group};
use pawang_core::alert::{Alert, Priority};
use pawang_core::{Blind, Evaluation, Finding, Level, Outcome, Timestamp, Verdict};
use pawang_store::live::Present;
use pawang_store::state::FindingQuery;

use super::parts::{alerts_of, condition, handling, urgency, without_secrets};
use super::{PageError, Visit};
use crate::words::{age, copyable, encode, glyph, moment, seconds_since};

/// Findings that are read from the history at most.
const FINDINGS_MAX: usize = 2_000;
/// From so many on, checks that are blind for the same reason share a line.
const SAME_MIN: usize = 3;

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

/// Returns the open findings of some instances, worst first, then by chapter of the catalogue, the newest first; of a
/// frozen range, those of its end.
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
    all.sort_by_cached_key(|open| {
        let worst = std::cmp::Reverse(open.finding.level);
        (worst, chapter(&open.finding), std::cmp::Reverse(open.since))
    });
    Ok(all)
}

/// Returns the place of a finding's check in the catalogue, whose chapters are in the order in which a DBA looks.
fn chapter(finding: &Finding) -> Option<Group> {
    let known = CHECKS.iter().find(|check| check.id == finding.check);
    known.map(|check| check.group)
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

/// One line of a list: a finding, or several checks of an instance that are blind for the same reason.
pub(crate) enum Entry<'a> {
    /// One finding.
    One(&'a Open),
    /// Checks that could not see, all for the same reason; at least [`SAME_MIN`].
    Same(Vec<&'a Open>),
}

/// Returns the lines of a list, in the order of the findings.
pub(crate) fn entries(findings: &[Open]) -> Vec<Entry<'_>> {
    let mut alike: HashMap<(&str, &Blind), Vec<&Open>> = HashMap::new();
    for open in findings {
        if let Some(blind) = &open.finding.blind {
            alike.entry((&open.instance, blind)).or_default().push(open);
        }
    }
    let entry = |open| match reason(open).map(|key| alike.get_mut(&key).map(std::mem::take)) {
        Some(Some(same)) if same.len() >= SAME_MIN => vec![Entry::Same(same)],
        // The others of the group went with the first one.
        Some(Some(same)) => same.into_iter().map(Entry::One).collect(),
        _ => vec![Entry::One(open)],
    };
    findings.iter().flat_map(entry).collect()
}

fn reason(open: &Open) -> Option<(&str, &Blind)> {
    let blind = open.finding.blind.as_ref()?;
    Some((open.instance.as_str(), blind))
}

/// Draws findings as a list, one line each.
pub(crate) fn list(visit: &Visit<'_>, entries: &[Entry<'_>], with_instance: bool) -> Markup {
    let present = visit.site.live.alerts();
    let alerts = alerts_of(visit, &present);
    html! {
        ul .findings .across[with_instance] {
            @for entry in entries {
                @match entry {
                    Entry::One(open) => (item(visit, open, alerts.get(open.finding.fingerprint.as_str()).copied(), with_instance)),
                    Entry::Same(all) => (same(visit, all, with_instance)),
                }
            }
        }
    }
}

/// Draws checks that are blind for the same reason: the reason, what would make them see, and folded which they are.
fn same(visit: &Visit<'_>, all: &[&Open], with_instance: bool) -> Markup {
    let Some((first, blind)) = all
        .first()
        .and_then(|open| Some((*open, open.finding.blind.as_ref()?)))
    else {
        return html! {};
    };
    let oldest = all.iter().filter_map(|open| open.since).min();
    html! {
        li .unknown {
            (glyph(Level::Unknown))
            @if with_instance { (instance(visit, &first.instance, None)) }
            details .title id={ "blind-" (first.finding.fingerprint) } {
                summary { b { (all.len()) " checks" } " " (blind.sentence()) }
                (copyable(&blind.remedy()))
                ul .names { @for open in all {
                    li { a href=(visit.link(&address(&open.finding))) { (open.finding.check) }
                        @if let Some(database) = &open.finding.database { " " small { (database) } } }
                } }
            }
            (since(visit, oldest))
        }
    }
}

/// Shows where something is: an instance, what somebody else named, or Pawang itself.
fn instance(visit: &Visit<'_>, name: &str, alert: Option<&Alert>) -> Markup {
    html! {
        @if name.is_empty() { span .where { (alert.map_or("Pawang", where_of)) } }
        @else { a .where href=(visit.link(&format!("/instances/{}", encode(name)))) { (name) } }
    }
}

/// Returns where an alert is that is at no instance: what its sender names, or Pawang itself.
pub(crate) fn where_of(alert: &Alert) -> &str {
    match (alert.label("instance"), &alert.source) {
        (_, None) => "Pawang",
        ("", Some(source)) => source,
        (named, Some(_)) => named,
    }
}

fn item(visit: &Visit<'_>, open: &Open, alert: Option<&Arc<Alert>>, with_instance: bool) -> Markup {
    let finding = &open.finding;
    let place = place(finding);
    html! {
        li .(finding.level.as_str()) data-alert=[alert.map(|alert| &alert.fingerprint)] {
            (glyph(finding.level))
            @if with_instance { (instance(visit, &open.instance, alert.map(AsRef::as_ref))) }
            span .title {
                a href=(visit.link(&address(finding))) { b { (finding.check) } " " (title(finding)) }
                @if !place.is_empty() { " " small { (place) } }
                @if let Some(alert) = alert {
                    @if alert.priority < Priority::P4 { " " (urgency(alert.priority)) }
                    " " (condition(visit, alert)) " " (handling(visit, alert))
                }
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

/// Returns what a finding says, without passwords of what it was read from.
pub(crate) fn title(finding: &Finding) -> String {
    without_secrets(&finding.title)
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

#[cfg(test)]
mod tests {
    use pawang_core::{Unit, fingerprint};

    use super::*;

    fn open(instance: &str, check: &str, blind: Option<Blind>) -> Open {
        Open {
            instance: instance.to_owned(),
            since: None,
            finding: Finding {
                check: check.to_owned(),
                object: String::new(),
                database: None,
                level: blind.as_ref().map_or(Level::Warning, |_| Level::Unknown),
                title: "title".to_owned(),
                value: None,
                unit: Unit::Count,
                threshold: None,
                since: None,
                evidence: Vec::new(),
                remedy: String::new(),
                blind,
                fingerprint: fingerprint(check, instance, None, ""),
            },
        }
    }

    #[test]
    fn titles_hold_no_passwords() {
        let mut open = open("a", "c", None);
        open.finding.title = "host=h password=hunter2 does not answer".to_owned();
        assert_eq!(
            title(&open.finding),
            "host=h password=[redacted] does not answer"
        );
    }

    #[test]
    fn checks_that_are_blind_for_the_same_reason_share_a_line_and_none_is_lost() {
        let gone = || {
            Some(Blind::Unreachable {
                what: "gone".to_owned(),
                hint: None,
            })
        };
        let local = || {
            Some(Blind::NotLocal {
                what: "/proc".to_owned(),
            })
        };
        let findings = [
            open("a", "fsync", None),
            open("a", "c1", gone()),
            open("b", "c1", gone()),
            open("a", "c2", local()),
            open("a", "c3", gone()),
            open("b", "c2", gone()),
            open("a", "c4", gone()),
        ];
        let shown: Vec<Vec<&str>> = entries(&findings)
            .iter()
            .map(|entry| match entry {
                Entry::One(open) => vec![open.finding.check.as_str()],
                Entry::Same(all) => all.iter().map(|open| open.finding.check.as_str()).collect(),
            })
            .collect();
        assert_eq!(
            shown,
            [
                vec!["fsync"],
                vec!["c1", "c3", "c4"],
                vec!["c1"],
                vec!["c2"],
                vec!["c2"]
            ]
        );
    }
}
