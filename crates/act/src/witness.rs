//! Reads what is true of each object when a plan is made, so that apply can tell that nothing changed.

use pawang_core::plan::{Action, Left, Plan};
use pawang_postgres::{Target, Writer};

use crate::{Error, draft, look, task};

/// Reads `expected` of every action; what vanished or must not be done moves to what is left alone.
///
/// # Errors
/// The server cannot be reached, is a standby, or is not the one of the plan.
pub async fn witness(plan: &mut Plan, target: &Target) -> Result<(), Error> {
    let mut databases: Vec<String> = plan.actions.iter().map(|a| a.database.clone()).collect();
    databases.sort_unstable();
    databases.dedup();
    let mut kept: Vec<Option<Action>> = Vec::new();
    let mut left = Vec::new();
    let actions = std::mem::take(&mut plan.actions);
    kept.resize_with(actions.len(), || None);
    for database in databases {
        let writer = Writer::connect(&target.with_database(&database), "witness").await?;
        crate::hold::same_world(&plan.world, &writer.server)?;
        for (at, action) in actions.iter().enumerate() {
            if action.database != database {
                continue;
            }
            let earlier = &actions[..at];
            match one(action, earlier, &writer).await? {
                Ok(action) => kept[at] = Some(action),
                Err(why) => left.push(Left {
                    database: action.database.clone(),
                    object: action.object.clone(),
                    why,
                    blind: false,
                }),
            }
        }
    }
    plan.actions = kept.into_iter().flatten().collect();
    plan.left.extend(left);
    draft::verify(plan)
}

/// Returns the action with what is expected of its object, or why it is left alone.
async fn one(
    action: &Action,
    earlier: &[Action],
    writer: &Writer,
) -> Result<Result<Action, String>, Error> {
    let Some(mut facts) = look::facts(writer, &action.task).await? else {
        return Ok(Err("it is gone".to_owned()));
    };
    for before in earlier.iter().filter(|a| a.database == action.database) {
        task::foresee(&action.task, &before.task, &mut facts);
    }
    if look::needless(writer, &action.task).await? {
        return Ok(Err("it is already as wanted".to_owned()));
    }
    if let Some(why) = task::refusal(&action.task, &facts) {
        return Ok(Err(why));
    }
    let mut action = action.clone();
    if let Some(undo) = task::undo(&action.task, &facts) {
        action.undo = undo;
    }
    action.evidence.extend(task::evidence(&action.task, &facts));
    action.expected = facts;
    Ok(Ok(action))
}
