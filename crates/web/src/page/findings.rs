//! All findings: what is open, worst first, and what was closed lately.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use maud::{Markup, html};
use pawang_core::alert::{Alert, HandlingState, Priority};
use pawang_core::{Level, Timestamp};
use pawang_store::live::Present;
use pawang_store::state::{FindingQuery, FindingRecord};

use super::alert::as_finding;
use super::parts::{Field, Here, alerts_of, filter, matches, rank};
use super::verdict::{Open, address, entries, list, open, place, title};
use super::{Page, PageError, Place, Visit};
use crate::layout::Counts;
use crate::words::{age, empty, encode, glyph, moment};

/// Findings of one page; the rest is reached by filters.
const SHOWN_MAX: usize = 300;
/// Findings closed lately.
const CLOSED_MAX: usize = 50;
const PARAMETERS: [&str; 4] = ["level", "instance", "check", "handling"];

/// How alerts can be handled.
const HANDLINGS: [HandlingState; 7] = [
    HandlingState::New,
    HandlingState::Escalated,
    HandlingState::Acknowledged,
    HandlingState::Snoozed,
    HandlingState::Silenced,
    HandlingState::Inhibited,
    HandlingState::InMaintenance,
];

/// Draws the page.
pub(crate) fn render(visit: &Visit<'_>) -> Result<Page, PageError> {
    let instances = visit.site.live.instances();
    let presents = || instances.iter().map(AsRef::as_ref);
    let mut all = open(visit, presents())?;
    let kept = visit.site.live.alerts();
    let alerts = alerts_of(visit, &kept);
    all.extend(only_alerts(&all, &alerts));
    all.sort_by_cached_key(|open| {
        let alert = alerts.get(open.finding.fingerprint.as_str());
        let rank = alert.map_or((0, Priority::P4), |alert| rank(alert));
        (Reverse(open.finding.level), rank)
    });
    let here = Here {
        visit,
        path: "/findings".to_owned(),
        keeps: &PARAMETERS,
    };
    let chosen: Vec<Open> = all
        .iter()
        .filter(|open| {
            wanted(
                &here,
                open,
                alerts.get(open.finding.fingerprint.as_str()).copied(),
            )
        })
        .cloned()
        .collect();
    let closed = closed(visit, &here)?;
    let all_entries = entries(&chosen);
    let shown = &all_entries[..all_entries.len().min(SHOWN_MAX)];
    let body = html! {
        @if !visit.range.frozen { (Counts::of(presents()).and_alerts(&kept).show()) }
        (filter(&here, &fields(&all, presents())))
        @if shown.is_empty() { (nothing(&all, presents().count())) } @else { (list(visit, shown, true)) }
        @if all_entries.len() > shown.len() {
            p .muted { (all_entries.len() - shown.len()) " more: choose a level, an instance or a check." }
        }
        h2 { "Closed lately" small { "in the stretch of time that is shown" } }
        (ended(visit, &closed))
    };
    Ok(Page {
        title: "Findings".to_owned(),
        place: Place::Findings,
        instance: None,
        body,
        seen_at: presents().filter_map(|present| present.answered_at).max(),
    })
}

/// Returns alerts that are no open finding, the oldest first: those that may come back, that cannot be seen any
/// more, of Pawang itself, and of others.
fn only_alerts(all: &[Open], alerts: &HashMap<&str, &Arc<Alert>>) -> Vec<Open> {
    let known: HashSet<&str> = all
        .iter()
        .map(|open| open.finding.fingerprint.as_str())
        .collect();
    let mut found: Vec<&Arc<Alert>> = alerts
        .values()
        .copied()
        .filter(|alert| alert.firing().is_some() && !known.contains(alert.fingerprint.as_str()))
        .collect();
    found.sort_by_key(|alert| (alert.opened_at, &alert.fingerprint));
    found.into_iter().map(|alert| as_finding(alert)).collect()
}

fn wanted(here: &Here<'_>, open: &Open, alert: Option<&Arc<Alert>>) -> bool {
    let handling = alert.map_or("none", |alert| alert.handling.state().as_str());
    matches(here, "handling", handling)
        && matches(here, "level", open.finding.level.as_str())
        && matches(here, "instance", &open.instance)
        && matches(here, "check", &open.finding.check)
}

fn fields<'a>(all: &[Open], instances: impl Iterator<Item = &'a Present>) -> [Field; 4] {
    let levels = [Level::Critical, Level::Warning, Level::Unknown, Level::Info];
    let checks: BTreeSet<String> = all.iter().map(|open| open.finding.check.clone()).collect();
    [
        Field::Choice {
            key: "level",
            title: "Level",
            values: levels
                .iter()
                .map(|level| level.as_str().to_owned())
                .collect(),
        },
        Field::Choice {
            key: "instance",
            title: "Instance",
            values: instances
                .map(|present| present.instance.name.clone())
                .collect(),
        },
        Field::Choice {
            key: "check",
            title: "Check",
            values: checks,
        },
        Field::Choice {
            key: "handling",
            title: "Handling",
            values: HANDLINGS.map(|state| state.as_str().to_owned()).into(),
        },
    ]
}

fn nothing(all: &[Open], instances: usize) -> Markup {
    match (all.len(), instances) {
        (_, 0) => empty("No instance is observed yet.", Some("pawang serve")),
        (0, _) => empty(
            "Nothing is open: every check that could see found nothing to do.",
            None,
        ),
        _ => empty("No open finding is like that.", None),
    }
}

fn closed(visit: &Visit<'_>, here: &Here<'_>) -> Result<Vec<FindingRecord>, PageError> {
    let records = visit.reader.findings(&FindingQuery {
        instance: visit.parameter("instance").filter(|name| !name.is_empty()),
        since: Some(visit.range.span.from),
        limit: CLOSED_MAX * 4,
        ..FindingQuery::default()
    })?;
    let ended = records.into_iter().filter(|record| {
        record.closed_at.is_some_and(|at| at <= visit.range.span.to)
            && matches(here, "level", record.worst.as_str())
            && matches(here, "check", &record.finding.check)
    });
    let mut ended: Vec<FindingRecord> = ended.collect();
    ended.sort_by_key(|record| Reverse(record.closed_at));
    ended.truncate(CLOSED_MAX);
    Ok(ended)
}

/// Draws findings that are over.
fn ended(visit: &Visit<'_>, records: &[FindingRecord]) -> Markup {
    if records.is_empty() {
        return html! { p .muted { "None." } };
    }
    html! {
        ul .findings .across .over {
            @for record in records {
                @let place = place(&record.finding);
                li {
                    (glyph(record.worst))
                    a .where href=(visit.link(&format!("/instances/{}", encode(&record.instance)))) { (record.instance) }
                    span .title {
                        a href=(visit.link(&address(&record.finding))) { b { (record.finding.check) } " " (title(&record.finding)) }
                        @if !place.is_empty() { " " small { (place) } }
                    }
                    (until(visit.now, record))
                }
            }
        }
    }
}

fn until(now: Timestamp, record: &FindingRecord) -> Markup {
    html! {
        span .since { @if let Some(closed) = record.closed_at {
            "until " (moment(now, closed)) ", lasted "
            (age(closed.duration_since(record.opened_at).as_secs_f64()))
        } }
    }
}
