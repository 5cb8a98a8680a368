//! The plan about sessions: what would be done to whom and why, the agreement, and what came of it.

use maud::{Markup, html};
use pawang_core::plan::{Done, Plan};

use crate::page::parts::{instance_path, one_line, path, shell};
use crate::page::{Page, Place, Visit};
use crate::site::{Applied, Planned};
use crate::words;

/// Characters of a fact in its line.
const FACT_CHARS: usize = 300;

/// Draws a plan with the form by which somebody agrees to it.
pub(crate) fn render(visit: &Visit<'_>, name: &str, planned: &Planned) -> Page {
    let plan = &planned.plan;
    let body = html! {
        p .muted { "Made " (words::ago(visit.now, plan.made_at)) " for " (name) ". Each session is read again before it is touched; whoever is not the one that was seen is left alone." }
        (actions(plan, None))
        (left(plan))
        @if plan.actions.is_empty() {
            p { "There is nothing to do." }
        } @else {
            (form(visit, name, planned))
        }
        (words::command(&format!("pawang {} -i {}", command(plan), shell(name))))
        p { (back(visit, name)) }
    };
    page("Plan", name, body)
}

/// Draws what came of a plan.
pub(crate) fn outcome(visit: &Visit<'_>, name: &str, applied: &Applied) -> Page {
    let plan = &applied.planned.plan;
    let body = html! {
        @if applied.waited > 0 {
            p { b { (applied.waited) " sessions waited, " (applied.waiting) " wait still." } }
        }
        (actions(plan, Some(&applied.outcome.actions)))
        (left(plan))
        p .muted { "Plan " code { (applied.planned.hash) } ", written to the " a href=(visit.link("/journal")) { "journal" } "." }
        p { (back(visit, name)) }
    };
    page("What came of it", name, body)
}

/// Says why nothing can be done on a dashboard where nobody signs in.
pub(crate) fn closed(visit: &Visit<'_>, name: &str) -> Page {
    let body = html! {
        p { "Nobody has signed in: an open dashboard shows everything and changes no server." }
        p .muted { "With an account, operators can cancel and terminate sessions here; the command line can without one." }
        (words::copyable("pawang account create NAME --permission operator"))
        (words::command(&format!("pawang session terminate --blockers -i {}", shell(name))))
        p { (back(visit, name)) }
    };
    page("Plan", name, body)
}

/// Says what somebody lacks who may only look.
pub(crate) fn forbidden(visit: &Visit<'_>, name: &str) -> Page {
    let body = html! {
        p { "Cancelling and terminating sessions needs the permission \"operator\"." }
        p { (back(visit, name)) }
    };
    page("Plan", name, body)
}

fn page(title: &str, name: &str, body: Markup) -> Page {
    Page {
        title: title.to_owned(),
        place: Place::Activity,
        instance: Some(name.to_owned()),
        body,
        seen_at: None,
    }
}

fn back(visit: &Visit<'_>, name: &str) -> Markup {
    html! { a href=(path(visit, &instance_path(name, "activity"), &[])) { "back to the sessions" } }
}

/// Returns the command that makes the same plan.
fn command(plan: &Plan) -> String {
    let session = plan.actions.first().and_then(|action| {
        let mut facts = action.evidence.iter();
        facts.find(|(name, _)| name == "session")
    });
    match session {
        Some((_, session)) if !plan.title.ends_with("--blockers") => {
            format!("{} {session}", plan.title)
        }
        _ => plan.title.clone(),
    }
}

fn actions(plan: &Plan, done: Option<&[Done]>) -> Markup {
    html! {
        @for (index, action) in plan.actions.iter().enumerate() {
            section .step {
                h2 { (index + 1) ". " (action.task.name()) " " (action.object)
                    @if let Some(done) = done.and_then(|done| done.get(index)) { " " span .pill { (done.state) } } }
                @if let Some(done) = done.and_then(|done| done.get(index)) {
                    @if !done.detail.is_empty() { p { (done.detail) "." } }
                    @if let Some(hint) = &done.hint { (words::copyable(hint)) }
                }
                p { (action.reason) "." }
                dl { @for (name, value) in &action.evidence { dt { (name) } dd { (one_line(value, FACT_CHARS)) } } }
                p .muted { "Risk " (format!("{:?}", action.risk).to_lowercase()) ", takes no lock. Undo: " (action.undo) "." }
                @if done.is_none() { @for sql in &action.sql { (words::copyable(sql)) } }
            }
        }
    }
}

fn left(plan: &Plan) -> Markup {
    html! {
        @if !plan.left.is_empty() {
            h2 { "Left alone" }
            ul { @for left in &plan.left { li { b { (left.object) } ": " (left.why) } } }
        }
    }
}

fn form(visit: &Visit<'_>, name: &str, planned: &Planned) -> Markup {
    html! {
        @if let Some(csrf) = visit.csrf {
            form method="post" action=(format!("{}/apply", instance_path(name, "activity"))) {
                input type="hidden" name="csrf" value=(csrf);
                input type="hidden" name="plan" value=(planned.hash);
                @if planned.production {
                    label { "Production: type the name of the instance, " b { (name) } " "
                        input name="name" required autocomplete="off" spellcheck="false"; }
                }
                button type="submit" { "Apply this plan" }
            }
        } @else {
            p .muted { "Programs apply a plan by its hash: " code { (planned.hash) } }
        }
    }
}
