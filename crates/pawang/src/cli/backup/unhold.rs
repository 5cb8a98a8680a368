//! `pawang backup unhold`: the policy decides about a backup again.

use pawang_core::Report;
use serde_json::json;

use super::find::{Which, find, only};
use crate::cli::Global;
use crate::each::each;
use crate::estate::{Estate, told};
use crate::output::{self, Exit};

/// Take the hold of a backup away: the policy decides about it again
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let job = only(&estate, global)?;
    let done = each(&estate, std::slice::from_ref(&job), async |job| {
        let found = find(&estate, job, &args.which).await?;
        let released = found.repository.unhold(&found.cluster, found.id()).await;
        let was_held = released.map_err(|error| error.report())?;
        Ok::<_, Report>((found.name.clone(), found.id().clone(), was_held))
    })?;
    let Some(mut done) = done else {
        return Ok(Exit::Interrupted);
    };
    let (repository, id, was_held) = done
        .pop()
        .unwrap_or_else(|| unreachable!("one instance was asked"))?;
    if global.json {
        let data = json!({ "instance": job.instance.name, "repository": repository, "backup": id, "was_held": was_held });
        output::json("pawang.backup.unhold/1", &data)?;
    } else {
        output::talk(&format!(
            "{id} in \"{repository}\" {}; what becomes of it: pawang backup expire -i {} --dry-run",
            if was_held {
                "is not held any more"
            } else {
                "was not held"
            },
            job.instance.name
        ));
    }
    Ok(Exit::Good)
}
