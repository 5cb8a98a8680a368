//! One instance: what is wrong, what is quiet, and its vital signs on one time axis.

use maud::{Markup, html};
use pawang_core::{Evaluation, Facts, Role, Server};
use pawang_store::live::Present;

use super::fleet::role;
use super::verdict::{entries, list, open, quiet};
use super::{Page, PageError, Place, Visit, vitals};
use crate::layout::{Counts, STALE_SECONDS};
use crate::page::parts::shell;
use crate::words::{command, copyable, duration, empty, moment, quantity, seconds_since};

/// Findings that are listed before the rest is folded.
const LISTED_MAX: usize = 12;

/// Draws the page.
pub(crate) fn render(visit: &Visit<'_>, name: &str) -> Result<Page, PageError> {
    let present = visit.instance(name)?;
    let body = html! {
        (about(visit, &present))
        (unreachable(visit, &present))
        @if let Some(evaluation) = present.evaluation.as_deref().filter(|_| !visit.range.frozen) {
            (Counts::of([&*present]).show())
            (verdicts(visit, &present, Some(evaluation))?)
        } @else if visit.range.frozen {
            (verdicts(visit, &present, None)?)
        } @else {
            (empty("Not judged yet: the first look is on its way.", Some(&format!("pawang check -i {}", shell(name)))))
        }
        (vitals::charts(visit, name, &present)?)
        @if !visit.range.frozen { (cost(visit, name, &present)) }
    };
    Ok(Page {
        title: name.to_owned(),
        place: Place::Instance,
        instance: Some(name.to_owned()),
        body,
        seen_at: Some(present.facts.at),
    })
}

/// Says in a line what it is.
fn about(visit: &Visit<'_>, present: &Present) -> Markup {
    html! {
        p .lead {
            @if let Some(group) = &present.instance.group { span .tag { (group) } " " }
            @for (key, value) in &present.labels { span .tag { (key) " " (value) } " " }
            @if let Ok(server) = &present.facts.server { (said(visit, &present.facts, server)) }
        }
    }
}

fn said(visit: &Visit<'_>, facts: &Facts, server: &Server) -> Markup {
    let up = seconds_since(facts.at.min(visit.now), server.epoch.started_at);
    html! {
        "PostgreSQL " b { (server.short_version()) } ", " b { (role(server.role)) } ", up "
        b { (duration(up)) } ", timeline " (server.epoch.timeline) ", seen as " b { (server.user) }
        @if server.superuser { " (a superuser; pg_monitor is enough)" }
        @if server.role == Role::Standby { ", read-only" }
    }
}

/// Says that it does not answer, since when, and what to do.
fn unreachable(visit: &Visit<'_>, present: &Present) -> Markup {
    let blind = present.facts.server.as_ref().err();
    let silent = present
        .answered_at
        .is_none_or(|at| seconds_since(visit.now, at) > STALE_SECONDS);
    if visit.range.frozen || (blind.is_none() && !silent) {
        return html! {};
    }
    html! {
        p .sentence.critical {
            @match present.answered_at {
                Some(at) => { b { "No answer" } " since " (moment(visit.now, at)) },
                None => { b { "No answer" } " yet" }
            }
            @if let Some(blind) = blind { ": " (blind.sentence()) } @else { "; what is below is from before" }
            "."
        }
        @if let Some(blind) = blind { (copyable(&blind.remedy())) }
    }
}

/// Draws findings, worst first, and what is quiet.
fn verdicts(
    visit: &Visit<'_>,
    present: &Present,
    evaluation: Option<&Evaluation>,
) -> Result<Markup, PageError> {
    let findings = open(visit, [present])?;
    let lines = entries(&findings);
    let (first, rest) = lines.split_at(lines.len().min(LISTED_MAX));
    Ok(html! {
        @if visit.range.frozen {
            p .lead { "Open at " (moment(visit.now, visit.range.span.to)) ": " b { (findings.len()) } }
        }
        @if !first.is_empty() { (list(visit, first, false)) }
        @if !rest.is_empty() {
            details #more-findings { summary { (rest.len()) " more" } (list(visit, rest, false)) }
        }
        @if let Some(evaluation) = evaluation {
            (quiet(evaluation))
            (command(&format!("pawang check -i {}", shell(&present.instance.name))))
        }
    })
}

/// Says what looking costs the server.
fn cost(visit: &Visit<'_>, name: &str, present: &Present) -> Markup {
    let budget = &present.budget;
    let asked = present
        .collectors
        .iter()
        .filter(|status| status.runs > 0)
        .count();
    let setup = super::parts::instance_path(name, "setup");
    html! {
        h2 { "What Pawang costs this server" small { a href=(visit.link(&setup)) { "per collector" } } }
        dl .figures {
            div { dt { "Used of one core" } dd { (quantity(budget.used_percent, "%")) } }
            div { dt { "Budget" } dd { (quantity(budget.limit_percent, "%")) } }
            div { dt { "Collectors" } dd { (asked) } }
            @if budget.stretch > 1.0 {
                div { dt { "Intervals" } dd { "×" (quantity(budget.stretch, "")) " longer" } }
            }
        }
        @if let Some(note) = &budget.note { p .muted { (note) } }
    }
}
