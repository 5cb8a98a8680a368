//! `pawang backup hold`: a backup is kept, whatever the policy says.

use jiff::tz::TimeZone;
use pawang_backup::repository::{FORMAT, Hold};
use pawang_core::{Kind, Report};
use serde_json::json;

use super::find::{Which, find, only};
use crate::cli::Global;
use crate::each::each;
use crate::environment;
use crate::estate::{Estate, told};
use crate::output::{self, Exit};
use crate::when;

/// Keep a backup, whatever the policy says
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// What for
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Until when, such as 30d or "2027-01-31 00:00"; until it is taken away when not given
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let job = only(&estate, global)?;
    let now = environment::now();
    let until = args.until.as_deref();
    let until = until.map(|until| when::coming(until, now, &TimeZone::system()));
    let until = until.transpose()?;
    let held = each(&estate, std::slice::from_ref(&job), async |job| {
        let found = find(&estate, job, &args.which).await?;
        let hold = Hold {
            format: FORMAT,
            backup: found.id().clone(),
            by: environment::person(),
            why: args.why.clone(),
            at: now,
            until,
        };
        let held = found.repository.hold(&found.cluster, &hold).await;
        held.map_err(|error| match error.report() {
            held if held.kind == Kind::Refused => {
                let (id, name) = (found.id(), &job.instance.name);
                held.with_hint(format!("pawang backup unhold {id} -i {name}"))
            }
            other => other,
        })?;
        Ok::<_, Report>((found.name, hold))
    })?;
    let Some(mut held) = held else {
        return Ok(Exit::Interrupted);
    };
    let (repository, hold) = held
        .pop()
        .unwrap_or_else(|| unreachable!("one instance was asked"))?;
    if global.json {
        let data = json!({ "instance": job.instance.name, "repository": repository, "hold": hold });
        output::json("pawang.backup.hold/1", &data)?;
    } else {
        let id = &hold.backup;
        output::talk(&format!(
            "{id} in \"{repository}\" is held, and what it stands on with it; undo: pawang backup unhold {id} -i {}",
            job.instance.name
        ));
    }
    Ok(Exit::Good)
}
