//! Maintenance: what is due and why, what would be done, what is being done, and what was done with its cost to others.

use maud::{Markup, html};
use pawang_act::{Told, Waited};
use pawang_core::Level;
use pawang_core::plan::{Action, Cost, Left, Outcome, Plan, Risk};
use pawang_store::live::{PolicyStatus, Running, Upkeep};
use pawang_store::state::JournalRecord;

use super::parts::{dash, figure, known_at, or_dash, shell, without_secrets};
use super::{Page, PageError, Place, Visit};
use crate::words;

/// Actions that are drawn; the command shows all.
const ACTIONS_MAX: usize = 200;
/// Objects left alone that are drawn.
const LEFT_MAX: usize = 200;
/// Journal records that are searched for the instance's history, and those that are drawn.
const SEARCHED_MAX: usize = 1_000;
const HISTORY_MAX: usize = 50;

/// Draws the page.
///
/// # Errors
/// There is no such instance, or the store does not answer.
pub(crate) fn render(visit: &Visit<'_>, name: &str) -> Result<Page, PageError> {
    let present = visit.instance(name)?;
    let upkeep = visit.site.live.upkeep(name);
    let mut records = visit.site.store.state().journal_page(None, SEARCHED_MAX)?;
    records.retain(|record| of_instance(record, name));
    records.truncate(HISTORY_MAX);
    let body = html! {
        @match upkeep.as_deref() {
            None => p .muted { "Nothing was planned yet: that takes a minute from the start of pawang serve." },
            Some(upkeep) => (now(visit, upkeep)),
        }
        (history(visit, &records))
        (words::command(&format!("pawang maintain plan -i {}", shell(name))))
    };
    Ok(Page {
        title: "Maintenance".to_owned(),
        place: Place::Maintenance,
        instance: Some(name.to_owned()),
        body,
        seen_at: known_at(&present),
    })
}

/// Says whether a record tells of the end of a change to this instance.
fn of_instance(record: &JournalRecord, name: &str) -> bool {
    Told::read(&record.entry).is_some_and(|told| told.instance == name)
}

fn now(visit: &Visit<'_>, upkeep: &Upkeep) -> Markup {
    let plan = upkeep.plan.as_deref();
    let blind = plan.map_or(0, |plan| plan.left.iter().filter(|left| left.blind).count());
    let open = upkeep
        .policies
        .iter()
        .filter(|policy| policy.open_until.is_some())
        .count();
    html! {
        dl .figures {
            (figure("due", or_dash(plan.map(|plan| plan.actions.len().to_string()), "not planned yet"), "actions that would be done now"))
            (figure("left alone", or_dash(plan.map(|plan| (plan.left.len() - blind).to_string()), "not planned yet"), "looked at, with a reason"))
            (figure("not seen", or_dash(plan.map(|_| blind.to_string()), "not planned yet"), "what could not be judged"))
            (figure("windows open", html! { (open) }, "policies that may work now"))
        }
        @if let Some(trouble) = &upkeep.trouble {
            div .notice.warning { (words::glyph(Level::Unknown)) div {
                p { b { "Nothing could be planned: " } (trouble.primary) }
                @if let Some(detail) = &trouble.detail { p .muted { (without_secrets(detail)) } }
                @if let Some(hint) = &trouble.hint { (words::command(hint)) }
            } }
        }
        @if let Some(running) = &upkeep.running { (under_way(visit, running)) }
        (policies(visit, &upkeep.policies))
        @if let Some(plan) = plan { (due(visit, plan)) (left(&plan.left)) }
    }
}

fn under_way(visit: &Visit<'_>, running: &Running) -> Markup {
    html! {
        section #running {
            h2 { "Running" }
            p { "Policy " b { (running.policy) } " since " (words::moment(visit.now, running.since)) ": "
                (running.ended) " of " (running.actions) " actions ended. Plan " code { (short(&running.plan)) } "." }
            progress max=(running.actions.max(1)) value=(running.ended) { (running.ended) " of " (running.actions) }
            div .wide { table {
                thead { tr { th scope="col" { "Action" } th scope="col" { "How far" } } }
                tbody { @for (action, progress) in &running.now { tr { td { code { (action) } } td { (progress) } } } }
            } }
        }
    }
}

fn policies(visit: &Visit<'_>, policies: &[PolicyStatus]) -> Markup {
    html! {
        section #policies {
            h2 { "Policies" }
            @if policies.is_empty() {
                (words::empty("No policy of pawang.toml concerns this instance: only people maintain it.", Some("pawang config schema")))
            } @else {
                div .wide { table {
                    thead { tr {
                        th scope="col" { "Policy" } th scope="col" { "Window" } th scope="col" { "Opens" }
                        th scope="col" { "Last" } th scope="col" { "Outcome" }
                    } }
                    tbody { @for policy in policies { tr {
                        td { b { (policy.name) } }
                        td { @match &policy.window { Some(window) => (window), None => (dash("only people apply it")) } }
                        td { @match (policy.open_until, policy.opens_at) {
                            (Some(until), _) => { span .pill.ok { "open" } " until " (words::moment(visit.now, until)) },
                            (None, Some(at)) => (words::moment(visit.now, at)),
                            (None, None) => (dash("never")),
                        } }
                        td { @match policy.applied_at { Some(at) => (words::moment(visit.now, at)), None => (dash("not since the start")) } }
                        td { (outcome(policy)) }
                    } } }
                } }
            }
        }
    }
}

fn outcome(policy: &PolicyStatus) -> Markup {
    match (&policy.trouble, policy.outcome.as_deref()) {
        (Some(trouble), _) => html! { span .pill.warning { "not applied" } " " (trouble.primary) },
        (None, Some(outcome)) => counts(outcome),
        (None, None) => dash("nothing yet"),
    }
}

fn counts(outcome: &Outcome) -> Markup {
    let good = outcome
        .actions
        .iter()
        .filter(|done| done.state.good())
        .count();
    let bad = outcome.actions.len() - good;
    html! {
        span .pill.ok[bad == 0].warning[bad > 0] { (good) " of " (outcome.actions.len()) " done" }
        @if let Some(first) = outcome.actions.iter().find(|done| !done.state.good()) {
            " " code { (first.id) } ": " (without_secrets(&first.detail))
        }
    }
}

fn due(visit: &Visit<'_>, plan: &Plan) -> Markup {
    let more = plan.actions.len().saturating_sub(ACTIONS_MAX);
    html! {
        section #due {
            h2 { "Due now" }
            @if plan.actions.is_empty() { p { "Nothing is due." } }
            @else {
                p .muted { "A preview of " (words::moment(visit.now, plan.made_at)) ", from what was seen last: each object is looked at again before anything is done to it." }
                div .wide { table {
                    thead { tr {
                        th scope="col" { "Action" } th scope="col" { "Object" } th scope="col" { "Why" } th scope="col" { "Lock" }
                        th scope="col" { "Risk" } th .number scope="col" { "Time" } th .number scope="col" { "WAL" }
                        th .number scope="col" { "Gives back" }
                    } }
                    tbody { @for action in plan.actions.iter().take(ACTIONS_MAX) { (row(action)) } }
                } }
                @if more > 0 { p .muted { (more) " more; the command below shows all" } }
            }
        }
    }
}

fn row(action: &Action) -> Markup {
    let Cost {
        wal,
        freed,
        duration,
        ..
    } = action.cost;
    html! {
        tr {
            td { (action.task.name()) }
            td { (action.database) " " code { (action.object) } }
            td {
                (action.reason)
                details {
                    summary { "statements, proof, undo" }
                    @for sql in &action.sql { (words::copyable(sql)) }
                    dl .facts {
                        @for (name, value) in &action.evidence { dt { (name) } dd { (value) } }
                        dt { "guard" } dd { (action.guard.words()) }
                        dt { "afterwards" } dd { (action.verify) }
                        dt { "undo" } dd { (action.undo) }
                    }
                }
            }
            td { (action.lock) }
            td { span .pill.warning[action.risk == Risk::High] { (action.risk) } }
            td .number { (or_dash(duration.map(|time| words::duration(time.as_secs_f64())), "not known")) }
            td .number { (or_dash(wal.map(|size| size.to_string()), "not known")) }
            td .number { (or_dash(freed.map(|size| size.to_string()), "nothing, or not known")) }
        }
    }
}

fn left(left: &[Left]) -> Markup {
    let more = left.len().saturating_sub(LEFT_MAX);
    let mut shown: Vec<&Left> = left.iter().collect();
    shown.sort_by_key(|left| !left.blind);
    html! {
        @if !left.is_empty() { section #left {
            h2 { "Left alone" }
            details open[shown.first().is_some_and(|left| left.blind)] {
                summary { (left.len()) " objects were looked at and are left alone" }
                div .wide { table {
                    thead { tr { th scope="col" { "" } th scope="col" { "Object" } th scope="col" { "Why" } } }
                    tbody { @for left in shown.into_iter().take(LEFT_MAX) { tr {
                        td { @if left.blind { (words::badge(Level::Unknown)) } }
                        td { (left.database) " " code { (left.object) } }
                        td { (left.why) }
                    } } }
                } }
                @if more > 0 { p .muted { (more) " more" } }
            }
        } }
    }
}

fn history(visit: &Visit<'_>, records: &[JournalRecord]) -> Markup {
    html! {
        section #history {
            h2 { "What was done" }
            @if records.is_empty() { p .muted { "Pawang has not changed anything on this server." } }
            @else {
                div .wide { table {
                    thead { tr {
                        th .number scope="col" { "No." } th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" }
                        th scope="col" { "To what" } th scope="col" { "Outcome" } th scope="col" { "Before and after" }
                        th scope="col" { "Others waited" }
                    } }
                    tbody { @for record in records { (done(visit, record)) } }
                } }
            }
        }
    }
}

fn done(visit: &Visit<'_>, record: &JournalRecord) -> Markup {
    let entry = &record.entry;
    let Some(told) = Told::read(entry) else {
        return html! {};
    };
    html! { tr {
        td .number { (record.id) }
        td { (words::moment(visit.now, entry.at)) }
        td { (entry.actor) }
        td { (told.task) }
        td { code { (told.object) } }
        td { span .pill.warning[!told.good()] { (told.state) }
            @if !told.detail.is_empty() { " " (without_secrets(told.detail)) } }
        td { @match &told.changes {
            Some(changes) => @for change in changes { div { (change.name) " " (change.before) " → " (change.after) } },
            None => (dash("not told")),
        } }
        td { (waited(told.waited)) }
    } }
}

fn waited(waited: Waited) -> Markup {
    match waited {
        Waited::Longest(longest) => html! { (words::duration(longest.as_secs_f64())) },
        Waited::Nobody(resolution) => {
            html! { span title="no wait was seen between two samples" { "less than " (words::duration(resolution.as_secs_f64())) } }
        }
        Waited::NotMeasured => dash("not measured"),
    }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
