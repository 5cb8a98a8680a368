//! Makes a plan of what the kill guard decided.

use pawang_core::Timestamp;
use pawang_core::plan::{Action, PLAN_FORMAT, Plan, Task, World};

use sha2::{Digest, Sha256};

use super::guard::Decision;
use super::signal::{expected, statement};
use super::view::View;

/// Makes a plan of a decision, with the exact statements and what must still be true when they are sent.
pub fn draft(
    title: &str,
    world: World,
    decision: Decision,
    view: &View,
    made_by: &str,
    now: Timestamp,
) -> Plan {
    let proposals = decision.proposals.into_iter();
    let actions = proposals.filter_map(|proposal| {
        let task = proposal.task;
        let object = task.object();
        Some(Action {
            id: format!("{}:{}:{object}", task.name(), proposal.database),
            database: proposal.database,
            object,
            sql: vec![statement(&task)?],
            reason: proposal.reason,
            evidence: proposal.evidence,
            lock: task.lock(),
            guard: task.guard(),
            risk: task.risk(),
            cost: proposal.cost,
            expected: expected(view, &task)?,
            verify: verify(&task).to_owned(),
            undo: undo(&task).to_owned(),
            task,
        })
    });
    Plan {
        format: PLAN_FORMAT,
        title: title.to_owned(),
        world,
        made_at: now,
        made_by: made_by.to_owned(),
        actions: actions.collect(),
        left: decision.left,
    }
}

/// Returns the SHA-256 of a plan, which names it.
pub fn hash(plan: &Plan) -> String {
    let text = serde_json::to_string(plan).expect("a plan is texts, numbers and instants");
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns what must hold after a task about a session.
pub fn verify(task: &Task) -> &'static str {
    match task {
        Task::CancelBackend { .. } => "the statement does not run any more",
        _ => "there is no such session any more",
    }
}

/// Returns how a task about a session is taken back: not at all.
pub fn undo(task: &Task) -> &'static str {
    match task {
        Task::CancelBackend { .. } => "none: the client must run its statement again",
        _ => "none: the client must reconnect; its open transaction is rolled back",
    }
}
