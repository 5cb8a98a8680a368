//! All instances, one row each, worst first: what is wrong, since when, and whether it works.

use std::collections::BTreeMap;

use maud::{Markup, html};
use pawang_core::{Evaluation, Facts, Level, Outcome, Role};
use pawang_store::history::Series;
use pawang_store::live::Present;

use super::parts::{Ask, dash, single, summed};
use super::verdict::{Open, address, entries, list, name, open, place, title};
use super::{Page, PageError, Place, Visit};
use crate::layout::{Counts, STALE_SECONDS};
use crate::words::{
    address as again, age, ago, copyable, encode, glyph, moment, quantity, seconds_since,
};
use pawang_chart::sparkline;

/// Rows of the page before "show more".
const ROWS_SHOWN: usize = 100;
/// Rows of the page at most.
const ROWS_MAX: usize = 2_000;
/// Rows with the shape of their load: each costs a look into the history.
const SHAPES_MAX: usize = 60;
/// Findings that a search shows.
const FOUND_MAX: usize = 100;

/// One instance.
struct Line<'a> {
    present: &'a Present,
    findings: Vec<Open>,
    level: Level,
}

/// Draws the page.
pub(crate) fn render(visit: &Visit<'_>) -> Result<Page, PageError> {
    let instances = visit.site.live.instances();
    let presents: Vec<&Present> = instances.iter().map(AsRef::as_ref).collect();
    let findings = open(visit, presents.iter().copied())?;
    let searched = visit
        .parameter("search")
        .unwrap_or("")
        .trim()
        .to_lowercase();
    let mut lines = lines(visit, &presents, &findings);
    lines.retain(|line| searched.is_empty() || found(line, &searched));
    let total = lines.len();
    let shown = match visit.parameter("show") {
        Some("all") => ROWS_MAX,
        _ => ROWS_SHOWN,
    };
    lines.truncate(shown);
    let body = html! {
        @if !visit.range.frozen { (Counts::of(presents.iter().copied()).show()) }
        @if !searched.is_empty() {
            p .lead { "Search for " b { (searched) } ": " (total) " instances. " a href="/" { "All instances" } }
        }
        @if presents.is_empty() { (nobody()) } @else if !lines.is_empty() { (table(visit, &lines)?) }
        @if total > shown {
            p { a href=(again(visit.query, &[("show", Some("all"))])) { "Show all " (total) " instances" } }
        }
        @if !searched.is_empty() { (matching(visit, &findings, &searched)) }
    };
    Ok(Page {
        title: "Fleet".to_owned(),
        place: Place::Fleet,
        instance: None,
        body,
        seen_at: presents.iter().map(|present| present.facts.at).max(),
    })
}

/// Returns the rows, worst first.
fn lines<'a>(visit: &Visit<'_>, presents: &[&'a Present], findings: &[Open]) -> Vec<Line<'a>> {
    let mut of: BTreeMap<&str, Vec<Open>> = BTreeMap::new();
    for open in findings {
        of.entry(&open.instance).or_default().push(open.clone());
    }
    let line = |present: &&'a Present| {
        let findings = of
            .remove(present.instance.name.as_str())
            .unwrap_or_default();
        let worst = findings
            .first()
            .map_or(Level::Ok, |open| open.finding.level);
        let blind = !visit.range.frozen && (present.evaluation.is_none() || stale(visit, present));
        let level = if blind {
            worst.max(Level::Unknown)
        } else {
            worst
        };
        Line {
            present,
            findings,
            level,
        }
    };
    let mut lines: Vec<Line<'a>> = presents.iter().map(line).collect();
    lines.sort_by(|a, b| {
        let key = |line: &Line<'_>| {
            (
                std::cmp::Reverse(line.level),
                line.present.instance.name.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    lines
}

fn stale(visit: &Visit<'_>, present: &Present) -> bool {
    let seen = present.answered_at.map(|at| seconds_since(visit.now, at));
    !visit.range.frozen && seen.is_none_or(|seconds| seconds > STALE_SECONDS)
}

fn found(line: &Line<'_>, searched: &str) -> bool {
    let present = line.present;
    let has = |text: &str| text.to_lowercase().contains(searched);
    has(&present.instance.name)
        || present.instance.group.as_deref().is_some_and(has)
        || present
            .labels
            .iter()
            .any(|(key, value)| has(key) || has(value))
        || present
            .facts
            .server
            .as_ref()
            .is_ok_and(|server| has(&server.version_text))
}

fn matching(visit: &Visit<'_>, findings: &[Open], searched: &str) -> Markup {
    let has = |text: &str| text.to_lowercase().contains(searched);
    let matching = findings.iter().filter(|open| {
        has(&open.finding.check)
            || has(&title(&open.finding))
            || has(name(&open.finding))
            || has(&place(&open.finding))
    });
    let matching: Vec<Open> = matching.take(FOUND_MAX).cloned().collect();
    html! {
        h2 { "Findings" small { (matching.len()) } }
        @if matching.is_empty() { p .muted { "No open finding says that." } } @else { (list(visit, &entries(&matching), true)) }
    }
}

fn table(visit: &Visit<'_>, lines: &[Line<'_>]) -> Result<Markup, PageError> {
    let mut rows = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let load = if index < SHAPES_MAX {
            load(visit, line.present)?
        } else {
            None
        };
        rows.push(row(visit, line, load.as_ref()));
    }
    Ok(html! {
        div .wide .fleet {
            table {
                thead { tr {
                    th .sign { span .unseen { "State" } }
                    th { "Instance" }
                    th { "Server" }
                    th .what { "Worst finding" }
                    th .number { "Transactions" }
                    th .number { "Lag" }
                    th .number { "Backup" }
                    th .number { "Seen" }
                } }
                tbody { @for row in &rows { (row) } }
            }
        }
    })
}

fn row(visit: &Visit<'_>, line: &Line<'_>, load: Option<&Series>) -> Markup {
    let present = line.present;
    let evaluation = present
        .evaluation
        .as_deref()
        .filter(|_| !visit.range.frozen);
    let instance = &present.instance;
    html! {
        tr .stale[stale(visit, present)] {
            td .sign { (glyph(line.level)) }
            td .name {
                a href=(visit.link(&format!("/instances/{}", encode(&instance.name)))) { (instance.name) }
                @if let Some(group) = &instance.group { " " span .tag { (group) } }
            }
            td .about { (server(&present.facts)) }
            td .what { (worst(visit, line)) }
            td .rate .number data-label="tps" { (rate(load)) }
            td .lag .number data-label="lag" { (lag(present, evaluation)) }
            td .backup .number data-label="backup" { (backup(evaluation)) }
            td .seen .number data-label="seen" { (seen(visit, present)) }
        }
    }
}

fn server(facts: &Facts) -> Markup {
    match &facts.server {
        Ok(server) => html! { (server.short_version()) " " (role(server.role)) },
        Err(_) => html! { span .none { "does not answer" } },
    }
}

/// Returns what a server is, in PostgreSQL's words.
pub(super) fn role(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Standby => "standby",
    }
}

fn worst(visit: &Visit<'_>, line: &Line<'_>) -> Markup {
    let Some(open) = line
        .findings
        .first()
        .filter(|open| open.finding.level > Level::Info)
    else {
        return match (&line.present.evaluation, visit.range.frozen) {
            (None, false) => {
                html! { span .none { "not judged yet: the first look is on its way" } }
            }
            _ => html! { span .none { "-" } },
        };
    };
    let more = line
        .findings
        .iter()
        .filter(|open| open.finding.level > Level::Info)
        .count()
        - 1;
    html! {
        a href=(visit.link(&address(&open.finding))) { b { (open.finding.check) } " " (title(&open.finding)) }
        @if let Some(at) = open.since { " " small { "since " (moment(visit.now, at)) } }
        @if more > 0 { " " small { "+" (more) " more" } }
    }
}

/// Returns transactions per second, commits and rollbacks, over the range.
fn load(visit: &Visit<'_>, present: &Present) -> Result<Option<Series>, PageError> {
    let ask = Ask {
        collector: "database",
        columns: &["xact_commit", "xact_rollback"],
        ..Ask::default()
    };
    let both = single(visit, &present.instance.name, &ask)?;
    let sum = summed("transactions", both);
    Ok((!sum.points.is_empty()).then_some(sum))
}

fn rate(load: Option<&Series>) -> Markup {
    let Some(load) = load else {
        return dash("not seen twice yet");
    };
    // The newest step may not be complete; the one before it is.
    let newest = load
        .points
        .iter()
        .rev()
        .take(3)
        .find_map(|point| point.reading);
    html! {
        @match newest {
            Some(reading) => { (quantity(reading.mean, "/s")) },
            None => { (dash("not seen in the last steps")) }
        }
        (sparkline(load))
    }
}

/// Shows how far standbys are behind this primary, or this standby behind its primary: the worst that checks measured.
fn lag(present: &Present, evaluation: Option<&Evaluation>) -> Markup {
    let standby = present
        .facts
        .server
        .as_ref()
        .is_ok_and(|server| server.role == Role::Standby);
    let checks: &[&str] = if standby {
        &["replay-backlog", "standby-lag"]
    } else {
        &["replication-lag-bytes", "replication-lag"]
    };
    let shown =
        evaluation.and_then(|evaluation| checks.iter().find_map(|id| measured(evaluation, id)));
    shown.unwrap_or_else(|| dash("nothing follows, or it was not measured"))
}

fn backup(evaluation: Option<&Evaluation>) -> Markup {
    let shown = evaluation.and_then(|evaluation| measured(evaluation, "backup-age"));
    shown
        .unwrap_or_else(|| dash("no backup place is configured: add [[repository]] to pawang.toml"))
}

/// Shows the worst value of a check, in the colour of its level.
fn measured(evaluation: &Evaluation, check: &str) -> Option<Markup> {
    let verdict = evaluation
        .verdicts
        .iter()
        .find(|verdict| verdict.check == check)?;
    if verdict.outcome == Outcome::Unknown {
        return Some(html! { span .badge.unknown { (glyph(Level::Unknown)) } });
    }
    let measure = verdict
        .measures
        .iter()
        .max_by_key(|measure| measure.level)?;
    let text = match verdict.unit {
        pawang_core::Unit::Seconds => age(measure.value),
        unit => unit.show(measure.value),
    };
    Some(html! { span .level.(measure.level.as_str()) { (text) } })
}

fn seen(visit: &Visit<'_>, present: &Present) -> Markup {
    match present.answered_at {
        _ if visit.range.frozen => moment(visit.now, present.facts.at),
        Some(at) => html! { span .level.critical[stale(visit, present)] { (ago(visit.now, at)) } },
        None => html! { span .level.critical { "never" } },
    }
}

fn nobody() -> Markup {
    html! {
        div .empty {
            p { "No instance is observed yet. Name one in " code { "pawang.toml" } " and tell the daemon:" }
            (copyable("[[instance]]\nname = \"dwh-1\"\nurl = \"postgresql://pawang@db.example.org/postgres\""))
            (copyable("pawang serve reload"))
            p { "Without a file, Pawang observes the server that " code { "PGHOST" } ", " code { "PGSERVICE" } " and " code { ".pgpass" } " lead to." }
        }
    }
}
