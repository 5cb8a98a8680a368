//! Makes a plan of what the kill guard decided.

use pawang_core::Timestamp;
use pawang_core::plan::{Plan, Task, World};

use super::guard::Decision;
use super::signal::expected;
use super::view::View;
use crate::Error;

/// Makes a plan of a decision, with the exact statements and what must still be true when they are sent.
///
/// # Errors
/// As [`crate::draft()`].
pub fn draft(
    title: &str,
    world: World,
    decision: Decision,
    view: &View,
    made_by: &str,
    now: Timestamp,
) -> Result<Plan, Error> {
    let Decision { proposals, left } = decision;
    let mut plan = crate::draft(title, world, proposals, left, made_by, now)?;
    for action in &mut plan.actions {
        // What was seen when it was decided, not what is there by now.
        action.expected = expected(view, &action.task).unwrap_or_default();
    }
    Ok(plan)
}

/// Returns what must hold after a task about a session.
pub(crate) fn verify(task: &Task) -> &'static str {
    match task {
        Task::CancelBackend { .. } => "the statement does not run any more",
        _ => "there is no such session any more",
    }
}

/// Returns how a task about a session is taken back: not at all.
pub(crate) fn undo(task: &Task) -> &'static str {
    match task {
        Task::CancelBackend { .. } => "none: the client must run its statement again",
        _ => "none: the client must reconnect; its open transaction is rolled back",
    }
}
