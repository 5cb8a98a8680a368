//! From proposals to a plan that can be agreed to, kept and named; and a plan file read again.

use std::collections::BTreeSet;

use jiff::Timestamp;
use pawang_core::plan::{Action, Left, PLAN_FORMAT, Plan, Proposal, Task, World};
use sha2::{Digest, Sha256};

use crate::{Error, task};

/// Makes a plan of what duties propose: exact statements, locks, guards, risks, and how each is verified and taken back.
///
/// What is refused on this version of the server moves to what is left alone.
///
/// # Errors
/// None yet: a plan that cannot be made says so in what is left.
pub fn draft(
    title: &str,
    world: World,
    proposals: Vec<Proposal>,
    mut left: Vec<Left>,
    made_by: &str,
    now: Timestamp,
) -> Result<Plan, Error> {
    let mut ids = BTreeSet::new();
    let mut actions = Vec::with_capacity(proposals.len());
    for proposal in proposals {
        let object = proposal.task.object();
        match task::recipe(&proposal.task, world.version) {
            Ok(recipe) => {
                let id = identity(&proposal, &object, &mut ids);
                actions.push(action(id, object, proposal, recipe));
            }
            Err(why) => left.push(Left {
                database: proposal.database,
                object,
                why,
                blind: false,
            }),
        }
    }
    Ok(Plan {
        format: PLAN_FORMAT,
        title: title.to_owned(),
        world,
        made_at: now,
        made_by: made_by.to_owned(),
        actions,
        left,
    })
}

/// Returns the SHA-256 of a plan, which names it.
pub fn hash(plan: &Plan) -> String {
    // The order of fields is that of the struct, and that of maps is sorted: the text of a plan is always the same.
    let text = serde_json::to_string(plan).expect("a plan is texts, numbers and instants");
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a plan file.
///
/// # Errors
/// It is no plan, of another format, or its statements are not those of its tasks.
pub fn read_plan(text: &str) -> Result<Plan, Error> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(Error::PlanText)?;
    if let Some(found) = value.get("format").and_then(serde_json::Value::as_u64)
        && found != u64::from(PLAN_FORMAT)
    {
        return Err(Error::PlanFormat {
            found,
            wanted: PLAN_FORMAT,
        });
    }
    let plan: Plan = serde_json::from_value(value).map_err(Error::PlanText)?;
    // Its statements hold words of another catalogue: nobody could tell them from words that somebody put into the file.
    let copies = |action: &&Action| matches!(action.task, Task::CopyTables { .. });
    if let Some(action) = plan.actions.iter().find(copies) {
        return Err(Error::PlanChanged {
            problem: format!(
                "\"{}\" is only applied by the command that reads the tables: pawang restore --table",
                action.id
            ),
        });
    }
    verify(&plan)?;
    Ok(plan)
}

/// Refuses a plan whose statements, locks, guards or risks are not those of its tasks.
pub(crate) fn verify(plan: &Plan) -> Result<(), Error> {
    let changed = |problem: String| Err(Error::PlanChanged { problem });
    let mut ids = BTreeSet::new();
    for action in &plan.actions {
        let id = &action.id;
        if !ids.insert(id) {
            return changed(format!("two actions are named \"{id}\""));
        }
        let sql = task::recipe(&action.task, plan.world.version).map(|recipe| recipe.sql);
        if sql.as_ref() != Ok(&action.sql) {
            return changed(format!(
                "the statements of \"{id}\" are not those of its task"
            ));
        }
        if action.object != action.task.object()
            || action.lock != action.task.lock()
            || action.guard != action.task.guard()
            || action.risk != action.task.risk()
        {
            return changed(format!(
                "object, lock, guard or risk of \"{id}\" are not those of its task"
            ));
        }
    }
    Ok(())
}

fn action(id: String, object: String, proposal: Proposal, recipe: task::Recipe) -> Action {
    Action {
        id,
        database: proposal.database,
        object,
        sql: recipe.sql,
        reason: proposal.reason,
        evidence: proposal.evidence,
        lock: proposal.task.lock(),
        guard: proposal.task.guard(),
        risk: proposal.task.risk(),
        cost: proposal.cost,
        expected: task::Facts::new(),
        verify: recipe.verify,
        undo: recipe.undo,
        task: proposal.task,
    }
}

/// Returns a name that no other action of the plan has.
fn identity(proposal: &Proposal, object: &str, ids: &mut BTreeSet<String>) -> String {
    let name = format!("{}:{}:{object}", proposal.task.name(), proposal.database);
    let mut id = name.clone();
    let mut number = 2_u32;
    while !ids.insert(id.clone()) {
        id = format!("{name}#{number}");
        number += 1;
    }
    id
}
