//! `pawang token remove`: nothing comes in with it any more.

use pawang_core::{Kind, Report};
use serde_json::json;

use crate::cli::Global;
use crate::cli::account::state;
use crate::environment;
use crate::output::{self, Exit};

/// Remove a token, which is refused at once
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let state = state::open(global)?;
    let removed = state
        .remove_token(&args.name)
        .map_err(|error| error.report())?;
    if !removed {
        return Err(Report::new(
            Kind::Usage,
            format!("there is no token \"{}\"", args.name.escape_debug()),
        )
        .with_hint("pawang token list"));
    }
    state::journal(
        &state,
        environment::now(),
        "token.remove",
        &args.name,
        json!({}),
    )?;
    if global.json {
        output::json("pawang.token.remove/1", &json!({ "name": args.name }))?;
    } else if !global.quiet {
        output::talk(&format!(
            "token \"{}\" was removed; a new one of that name is another one",
            args.name
        ));
    }
    Ok(Exit::Good)
}
