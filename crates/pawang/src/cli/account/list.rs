//! `pawang account list`: who may sign in.

use std::fmt::Write;

use pawang_core::Report;
use serde_json::json;

use super::state;
use crate::cli::Global;
use crate::output::{self, Exit};

/// Runs the command.
pub(super) fn run(global: &Global) -> Result<Exit, Report> {
    let accounts = match state::open_to_read(global)? {
        Some(state) => {
            if state.accounts_lost().map_err(|error| error.report())? {
                output::talk(
                    "warning: accounts were lost with a damaged file; nobody comes in before there is one again",
                );
            }
            state.accounts().map_err(|error| error.report())?
        }
        None => Vec::new(),
    };
    if global.json {
        let list: Vec<_> = accounts
            .iter()
            .map(|account| {
                json!({
                    "name": account.name,
                    "permission": account.permission,
                    "created_at": account.created_at,
                })
            })
            .collect();
        output::json("pawang.account.list/1", &list)?;
        return Ok(Exit::Good);
    }
    let mut out = String::new();
    for account in accounts {
        let (name, permission, created_at) = (account.name, account.permission, account.created_at);
        let _ = if output::terminal() {
            writeln!(out, "{name:<24}  {permission:<8}  {created_at:.0}")
        } else {
            writeln!(out, "{name}\t{permission}\t{created_at:.0}")
        };
    }
    output::data(&out)?;
    Ok(Exit::Good)
}
