//! `pawang account remove`: nobody signs in with it any more.

use pawang_core::{Kind, Report};
use serde_json::json;

use super::state;
use crate::cli::Global;
use crate::environment;
use crate::output::{self, Exit};

/// Remove an account and sign it out everywhere
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let state = state::open(global)?;
    let before = state.account(&args.name).map_err(|error| error.report())?;
    let Some(before) = before else {
        return Err(Report::new(
            Kind::Usage,
            format!("there is no account \"{}\"", args.name.escape_debug()),
        )
        .with_hint("pawang account list"));
    };
    state
        .remove_account(&args.name)
        .map_err(|error| error.report())?;
    let detail = json!({ "permission": before.permission });
    state::journal(
        &state,
        environment::now(),
        "account.remove",
        &args.name,
        detail,
    )?;
    if global.json {
        output::json("pawang.account.remove/1", &json!({ "name": args.name }))?;
    } else if !global.quiet {
        output::talk(&format!(
            "account \"{}\" was removed; undo: pawang account create {} --permission {}",
            args.name, args.name, before.permission
        ));
    }
    Ok(Exit::Good)
}
