//! A plan about sessions as people read it before they agree, and what came of it.

use std::fmt::Write;

use pawang_act::session::Freed;
use pawang_core::plan::{Plan, State};

/// Returns a plan as text: every action with its reason, facts, statement, risk, and how it is taken back.
pub(super) fn text(plan: &Plan) -> String {
    let mut out = String::new();
    let count = plan.actions.len();
    let _ = writeln!(
        out,
        "plan: {} on {}, {count} actions",
        plan.title, plan.world.instance
    );
    for (number, action) in (1..).zip(&plan.actions) {
        let risk = format!("{:?}", action.risk).to_lowercase();
        let _ = writeln!(
            out,
            "\n{number}. {} {} of {}: risk {risk}, takes no lock\n   {}",
            action.task.name(),
            action.object,
            action.database,
            action.reason
        );
        for (name, value) in &action.evidence {
            let value = pawang_report::one_line(value);
            let _ = writeln!(out, "   {name}: {value}");
        }
        for sql in &action.sql {
            let _ = writeln!(out, "   {}", sql.replace('\n', "\n   "));
        }
        let _ = writeln!(out, "   undo: {}", action.undo);
    }
    if !plan.left.is_empty() {
        let _ = writeln!(out, "\nleft alone:");
    }
    for left in &plan.left {
        let _ = writeln!(out, "   {}: {}", left.object, left.why);
    }
    out
}

/// Returns what came of a plan, one line for each action.
pub(super) fn outcome(plan: &Plan, freed: &Freed) -> String {
    let mut out = String::new();
    for (action, done) in plan.actions.iter().zip(&freed.outcome.actions) {
        let state = match done.state {
            State::Done => "done",
            State::DryRun => "dry run",
            State::Needless => "not needed",
            State::Refused => "refused",
            State::Skipped => "skipped",
            State::Stale => "stale",
            State::Cancelled => "cancelled",
            State::Failed => "not done",
        };
        let _ = write!(out, "{state}\t{} {}", action.task.name(), action.object);
        if !done.detail.is_empty() {
            let _ = write!(out, "\t{}", done.detail);
        }
        if let Some(hint) = &done.hint {
            let _ = write!(out, "\thint: {hint}");
        }
        out.push('\n');
    }
    out
}
